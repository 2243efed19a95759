//! What changed between two recordings: folded stacks with two columns, and a flame graph of them.

use super::flame_graph::{self, Frame};
use super::folded::{self, Unit};
use super::profile::{Source, finish};
use crate::comparison::have_same_clock;
use crate::error::AnalyzerError;
use crate::output::Output;
use crate::symbols::Symbols;
use inferno::differential;
use std::io::Write;
use std::path::Path;
use trapline_formats::{PriceList, Trace};

/// A recording, and what is known of it.
pub struct Recording<'a> {
    /// The trace.
    pub trace: &'a Trace,
    /// Names for its functions.
    pub symbols: Symbols,
    /// The price list of its host.
    pub prices: Option<&'a PriceList>,
}

/// A form of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// A stack a line, with its cost before and its cost now.
    Folded,
    /// An SVG: as wide as now, red where it was less before, blue where it was more.
    FlameGraph,
}

/// Writes what changed from `before` to `now`, as [`super::profile`] writes one recording: in nanoseconds between recordings of one
/// host, and in exits otherwise, which the second of what it gives back says.
pub fn difference(
    now: Recording<'_>,
    before: Recording<'_>,
    form: Difference,
    path: &Path,
    replace: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<String>, AnalyzerError> {
    let output = Output::create(path, replace)?;
    let now = Source::read(now.trace, now.symbols, now.prices, progress)?;
    let before = Source::read(before.trace, before.symbols, before.prices, &mut |_| {})?;
    let are_timed = [&now, &before].iter().all(|source| Unit::of(source) == Unit::Nanoseconds);
    let have_costs = are_timed && have_same_clock(&now.report, &before.report);
    let unit = if have_costs { Unit::Nanoseconds } else { Unit::Exits };
    let mut warnings = now.report.warnings();
    warnings.extend(
        before.report.warnings().iter().map(|warning| format!("{} before, {warning}", before.name())),
    );
    if !have_costs {
        warnings.push(
            "EXITS COUNTED: the recordings are of two hosts, or have no times; costs are not compared."
                .into(),
        );
    }
    let folded = two_columns(&folded::lines(&before, unit), &folded::lines(&now, unit));
    let title = format!("{} against {}", now.name(), before.name());
    let subtitle = format!(
        "As wide as {} now; red: more than before, blue: less. What is gone has no width",
        unit.in_words()
    );
    finish(output, |out| match form {
        Difference::Folded => Ok(folded.and_then(|text| out.write_all(text.as_bytes()))),
        Difference::FlameGraph => match folded {
            Ok(text) => flame_graph::draw(&text, &Frame { title, subtitle, unit, warnings: &warnings }, out),
            Err(error) => Ok(Err(error)),
        },
    })?;
    Ok(warnings)
}

/// The stacks of both in the order of their names: inferno gives them in any.
fn two_columns(before: &str, now: &str) -> std::io::Result<String> {
    let mut both = Vec::new();
    differential::from_readers(
        differential::Options::default(),
        before.as_bytes(),
        now.as_bytes(),
        &mut both,
    )?;
    let text = String::from_utf8_lossy(&both);
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    Ok(lines.iter().flat_map(|line| [*line, "\n"]).collect())
}
