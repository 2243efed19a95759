//! Folded stacks: "function;instruction;target cost".

use super::profile::Source;
use crate::cells::Cells;
use crate::labels::Label;
use crate::stacks::Stacks;
use std::fmt::Write as _;

/// What the number at the end of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Cost. Idleness is none.
    Nanoseconds,
    /// How often, where a trace has no times, or not the same times as the one beside it.
    Exits,
}

impl Unit {
    /// The unit of a recording by itself.
    pub(super) fn of(source: &Source<'_>) -> Self {
        if source.report.totals().timed_exits > 0 { Self::Nanoseconds } else { Self::Exits }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Exits => "exits",
        }
    }

    /// What a picture measures.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Nanoseconds => "the cost of exits, VMM time and exit path",
            Self::Exits => "the number of exits",
        }
    }
}

/// A line per site, without idleness; with stacks one per site and stack, its callers before the three frames of the site.
pub(super) fn lines(source: &Source<'_>, unit: Unit) -> String {
    let mut text = String::new();
    let mut line = |callers: &str, label: &Label, cost_ns: u64, count: u64| {
        let weight = if unit == Unit::Nanoseconds { cost_ns } else { count };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} {weight}", stack(callers, label));
    };
    if let Some(stacks) = source.report.symbols().stacks() {
        for row in source.report.stacks().iter().filter(|row| !row.idle) {
            line(&callers(stacks, row.stack), source.labels.of(row.site), row.cost_ns, row.count);
        }
        return text;
    }
    let table = source.report.table();
    let cells = Cells(table);
    for row in (0..table.height()).filter(|&r| cells.bool("idle", r) == Some(false)) {
        let label =
            cells.u32("site", row).map_or_else(|| source.labels.of_others(), |site| source.labels.of(site));
        line("", label, cells.u64("cost_ns", row).unwrap_or(0), cells.u64("count", row).unwrap_or(0));
    }
    text
}

/// The callers from the outside in, each with its semicolon.
fn callers(stacks: &Stacks, stack: Option<u32>) -> String {
    let callers = stack.into_iter().flat_map(|s| stacks.callers(s).rev());
    callers.map(|caller| frame(&caller.function()) + ";").collect()
}

/// What a line says before its weight, so that nothing in it is taken for something else by those who read it: a line that begins
/// with "# " is a comment, and a number at the end, as in "counter 0", a weight of its own.
fn stack(callers: &str, label: &Label) -> String {
    let frames = [&label.function, &label.instruction, &label.target].map(|name| frame(name)).join(";");
    let mut stack = format!("{callers}{frames}");
    if stack.starts_with('#') {
        stack.insert(0, '\\');
    }
    let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    match stack.rsplit_once(' ') {
        Some((before, last)) if is_number(last) => format!("{before} #{last}"),
        _ => stack,
    }
}

/// A semicolon inside a name would be taken for the end of a frame.
fn frame(name: &str) -> String {
    name.replace(';', ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_taken_for_a_frame_a_comment_or_a_weight() {
        let label = |function: &str, target: &str| Label {
            function: function.into(),
            instruction: "in al, dx".into(),
            target: target.into(),
        };
        assert_eq!(stack("", &label("f;g", "PIT counter 0")), "f:g;in al, dx;PIT counter #0");
        assert_eq!(stack("", &label("# f", "version 1.5")), "\\# f;in al, dx;version #1.5");
        assert_eq!(stack("# g;", &label("f", "COM1 ")), "\\# g;f;in al, dx;COM1 #");
        assert_eq!(stack("g;", &label("f", "0x60 (port)")), "g;f;in al, dx;0x60 (port)");
    }
}
