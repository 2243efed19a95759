//! The report for people.

mod comparison;
mod costs;
mod diff;
mod head;
mod layout;
mod numbers;
mod stacks;
mod suggestions;
mod unclaimed;

use crate::report::Report;
pub(crate) use head::truncated;
use layout::fit;
pub(crate) use numbers::count;

/// A report as text.
struct Page<'a> {
    report: &'a Report,
    top: Option<usize>,
    width: usize,
    lines: Vec<String>,
}

impl Report {
    /// The report as text, at most `width` columns wide and with at most `top` rows per table. All text that the guest or
    /// the trace chose is printable; what is too long ends in an ellipsis.
    pub fn to_text(&self, top: Option<usize>, width: usize) -> String {
        let mut page = Page { report: self, top, width, lines: Vec::new() };
        page.title();
        page.warnings();
        page.about();
        page.time();
        page.costs();
        page.stacks();
        page.idle();
        page.suggestions();
        page.unclaimed();
        page.legend();
        let mut text = page.lines.join("\n");
        text.push('\n');
        text
    }
}

impl Page<'_> {
    fn line(&mut self, text: &str) {
        self.lines.push(fit(text.trim_end(), self.width));
    }

    fn blank(&mut self) {
        self.lines.push(String::new());
    }

    /// A paragraph, broken at blanks.
    fn paragraph(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && layout::width(&line) + 1 + layout::width(word) > self.width {
                self.line(&line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
    }
}
