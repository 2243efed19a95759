//! What could be changed.

use super::Page;
use super::numbers::{count, counted, percent};
use crate::suggestions::Suggestion;

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
        let (recorders, others): (Vec<_>, Vec<_>) = all.iter().partition(|s| s.is_recorders());
        for suggestion in others.iter().take(FEW) {
            self.blank();
            let cost = suggestion.cost_percent.map_or(String::new(), |(least, most)| {
                format!("{} % of the cost, ", range(&percent(least), &percent(most)))
            });
            let exits = range(&count(suggestion.exits.least), &count(suggestion.exits.most));
            self.paragraph(&format!("{cost}{exits} exits: {}", suggestion.what));
            self.paragraph(&format!("{} {}", suggestion.advice, suggestion.because));
        }
        if others.len() > FEW {
            self.blank();
            self.line(&format!("({} more: --format json has them)", count((others.len() - FEW) as u64)));
        }
        self.recorders(&recorders);
    }

    /// Clock reads: many sites, and one thing to say of them.
    fn recorders(&mut self, sites: &[&Suggestion]) {
        let Some(first) = sites.first() else { return };
        let cost: Option<f64> = sites.iter().map(|s| Some(s.cost_percent?.1)).sum();
        let cost = cost.map_or(String::new(), |cost| format!("{} % of the cost, ", percent(cost)));
        let exits = counted(sites.iter().map(|s| s.exits.most).sum(), "exit");
        let sites = counted(sites.len() as u64, "site");
        self.blank();
        self.paragraph(&format!("{cost}{exits} at {sites}: clock reads that the recorder made trap"));
        self.paragraph(&first.advice);
    }
}

fn range(least: &str, most: &str) -> String {
    if least == most { least.to_owned() } else { format!("{least} to {most}") }
}
