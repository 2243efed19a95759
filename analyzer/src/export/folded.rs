//! Folded stacks: "function;instruction;target cost".

use super::profile::Source;
use crate::cells::Cells;
use crate::labels::Label;
use crate::stacks::Stacks;
use std::fmt::Write as _;
use std::io::Write;

/// Writes a line per site: the cost in nanoseconds, or where the trace has no times, the exits. Idleness is no cost.
pub(super) fn write(source: &Source<'_>, out: &mut impl Write) -> std::io::Result<()> {
    let mut text = String::new();
    if let Some(stacks) = source.report.symbols().stacks() {
        with_callers(source, stacks, &mut text);
        return out.write_all(text.as_bytes());
    }
    let table = source.report.table();
    let cells = Cells(table);
    for row in (0..table.height()).filter(|&r| cells.bool("idle", r) == Some(false)) {
        let weight = cells.u64("cost_ns", row).or_else(|| cells.u64("count", row)).unwrap_or(0);
        let label =
            cells.u32("site", row).map_or_else(|| source.labels.of_others(), |site| source.labels.of(site));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} {weight}", stack(label));
    }
    out.write_all(text.as_bytes())
}

/// A line per site and stack: its callers stand before the three frames of the site.
fn with_callers(source: &Source<'_>, stacks: &Stacks, text: &mut String) {
    let has_times = source.report.totals().timed_exits > 0;
    for row in source.report.stacks().iter().filter(|row| !row.idle) {
        let label = source.labels.of(row.site);
        let weight = if has_times { row.cost_ns } else { row.count };
        let callers = row.stack.into_iter().flat_map(|s| stacks.callers(s).rev());
        for caller in callers {
            let _ = write!(text, "{};", caller.function().replace(';', ":"));
        }
        let _ = writeln!(text, "{} {weight}", stack(label));
    }
}

/// A semicolon inside a name would be taken for the end of a frame.
fn stack(label: &Label) -> String {
    [&label.function, &label.instruction, &label.target].map(|frame| frame.replace(';', ":")).join(";")
}
