//! What could be changed.

use super::Page;
use super::numbers::{count, percent};

/// Suggestions shown; JSON has all.
const FEW: usize = 6;

impl Page<'_> {
    pub(super) fn suggestions(&mut self) {
        let all = self.report.suggestions();
        if all.is_empty() {
            return;
        }
        self.blank();
        self.line("What if: estimates from this recording, and no promises");
        for suggestion in all.iter().take(FEW) {
            self.blank();
            let exits = suggestion.exits;
            let range = |least: String, most: String| {
                if least == most { least } else { format!("{least} to {most}") }
            };
            let cost = suggestion.cost_percent.map_or(String::new(), |(least, most)| {
                format!("{} % of the cost, ", range(percent(least), percent(most)))
            });
            let exits = range(count(exits.least), count(exits.most));
            self.paragraph(&format!("{cost}{exits} exits: {}", suggestion.what));
            self.paragraph(&format!("{} {}", suggestion.advice, suggestion.because));
        }
        if all.len() > FEW {
            self.blank();
            self.line(&format!("({} more: --format json has them)", count((all.len() - FEW) as u64)));
        }
    }
}
