//! Who called the code that trapped.

use super::Page;
use super::layout;
use super::numbers::{count, counted, percent};
use crate::cells::Cells;
use crate::stack_costs::StackCost;
use crate::stacks::{Caller, Method, Stacks};

/// Sites whose callers are told, and stacks of each.
const SITES: usize = 5;
const STACKS: usize = 3;
/// Columns before a stack.
const MARGIN: usize = 24;

impl Page<'_> {
    pub(super) fn stacks(&mut self) {
        let report = self.report;
        let Some(stacks) = report.symbols.stacks().filter(|_| !report.stacks.is_empty()) else { return };
        let cells = Cells(&report.table);
        let sites: Vec<_> = (0..report.table.height())
            .filter(|&row| cells.bool("idle", row) == Some(false))
            .take(self.top.unwrap_or(SITES).min(SITES))
            .filter_map(|row| Some((row, cells.u32("site", row)?)))
            .collect();
        self.blank();
        self.line("Who called: the stacks of the dearest sites, callers to the right");
        for (row, site) in sites {
            let of_site: Vec<_> = report.stacks.iter().filter(|s| s.site == site).collect();
            self.blank();
            self.site(cells, row);
            of_site.iter().take(STACKS).for_each(|stack| self.stack(stacks, stack, &of_site));
            if of_site.len() > STACKS {
                let more = counted((of_site.len() - STACKS) as u64, "stack");
                self.line(&format!("{:MARGIN$}({more} more: --format json has them)", ""));
            }
        }
        self.how_found(stacks);
    }

    /// "io_serial_in+0xd: in al, dx, 0x3fd COM1 line status".
    fn site(&mut self, cells: Cells<'_>, row: usize) {
        let place = match (cells.str("symbol", row), cells.u64("symbol_offset", row)) {
            (Some(name), Some(offset)) => format!("{name}+{offset:#x}"),
            _ => format!("{:#x}", cells.u64("instruction_address", row).unwrap_or(0)),
        };
        let instruction = cells.str("disassembly", row).unwrap_or("(unreadable)");
        let target = super::costs::target(cells, row);
        self.line(&format!("{place}: {instruction}, {target}"));
    }

    fn stack(&mut self, stacks: &Stacks, stack: &StackCost, of_site: &[&StackCost]) {
        let by_cost = self.report.totals.timed_exits > 0;
        let weight = |s: &StackCost| if by_cost { s.cost_ns as f64 } else { s.count as f64 };
        let sum: f64 = of_site.iter().map(|s| weight(s)).sum();
        let share = percent(weight(stack) * 100.0 / sum.max(1.0));
        let head = format!("{share:>6} % {:>11} x  ", count(stack.count));
        let callers: Vec<_> = match stack.stack {
            None => vec!["(this engine did not make these exits)".into()],
            Some(s) => stacks.callers(s).map(Caller::label).collect(),
        };
        let callers = if callers.is_empty() { vec!["(no caller found)".into()] } else { callers };
        self.hanging(&head, &callers);
    }

    /// Words after a head, broken between them, the next lines below the first word.
    fn hanging(&mut self, head: &str, words: &[String]) {
        let mut line = format!("{head:MARGIN$}");
        for (i, word) in words.iter().enumerate() {
            let word = if i == 0 { word.clone() } else { format!("< {word}") };
            if i > 0 && layout::width(&line) + 1 + layout::width(&word) > self.width {
                self.line(&line);
                line = " ".repeat(MARGIN);
            } else if i > 0 {
                line.push(' ');
            }
            line.push_str(&word);
        }
        self.line(&line);
    }

    /// How callers were found.
    fn how_found(&mut self, stacks: &Stacks) {
        let frames = |s: &StackCost, method: Method| {
            let found = s.stack.into_iter().flat_map(|n| stacks.callers(n)).filter(|c| c.method == method);
            found.count() as u64 * s.count
        };
        let by = |method: Method| self.report.stacks.iter().map(|s| frames(s, method)).sum::<u64>();
        let found: Vec<_> = Method::ALL.map(|m| (m, by(m))).into_iter().filter(|(_, n)| *n > 0).collect();
        if found.is_empty() {
            return;
        }
        let all: f64 = found.iter().map(|(_, n)| *n as f64).sum();
        let share = |(m, n): &(Method, u64)| format!("{} % {}", percent(*n as f64 * 100.0 / all), m.words());
        let told = found.iter().map(share).collect::<Vec<_>>().join(", ");
        let has_guesses = found.iter().any(|(m, _)| *m == Method::Guess);
        let guessed =
            if has_guesses { " (shown with ?: a call stands before the address, no more)" } else { "" };
        self.blank();
        self.paragraph(&format!("Callers of all exits were found {told}{guessed}."));
    }
}
