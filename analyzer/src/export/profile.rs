//! Profiles: where the cost of a recording went, for the viewers that people already have.

use super::flame_graph::{self, Frame};
use super::folded::{self, Unit};
use super::{firefox, perfetto, pprof};
use crate::cells::Cells;
use crate::error::AnalyzerError;
use crate::labels::Labels;
use crate::output::Output;
use crate::report::{Options, Report};
use crate::stacks::Stacks;
use crate::symbols::Symbols;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use trapline_formats::{PriceList, Trace};

/// A format of profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The Firefox Profiler's processed profile: profiler.firefox.com.
    Firefox,
    /// Perfetto track events: ui.perfetto.dev, trace_processor.
    Perfetto,
    /// pprof, compressed: `go tool pprof`, Pyroscope, Grafana.
    Pprof,
    /// Folded stacks, one a line with its cost in nanoseconds: flamegraph.pl, inferno, speedscope.
    Folded,
    /// An interactive flame graph, as SVG for a browser.
    FlameGraph,
}

impl Profile {
    /// Whether it shows exits in time, not only what they cost.
    fn is_in_time(self) -> bool {
        matches!(self, Self::Firefox | Self::Perfetto)
    }
}

/// What all profiles are made of.
pub(super) struct Source<'a> {
    pub(super) trace: &'a Trace,
    pub(super) report: Report,
    pub(super) labels: Labels,
}

impl<'a> Source<'a> {
    pub(super) fn read(
        trace: &'a Trace,
        symbols: Symbols,
        prices: Option<&PriceList>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, AnalyzerError> {
        let report = Report::with(trace, Options { symbols, prices, ..Options::default() }, progress)?;
        let cells = Cells(report.table());
        let sites = (0..report.table().height()).filter_map(|row| cells.u32("site", row));
        let labels = Labels::new(trace, report.symbols(), &report.pci, sites);
        Ok(Self { trace, report, labels })
    }

    /// What the trace's file is called, printable.
    pub(super) fn name(&self) -> String {
        let name = self.report.path.file_name().unwrap_or_default();
        trapline_formats::printable(name.as_encoded_bytes(), false)
    }

    /// The stack of an exit, where stacks are known.
    pub(super) fn callers(&self, exit: u64) -> Option<(u32, &Stacks)> {
        let stacks = self.report.symbols().stacks()?;
        Some((stacks.of(exit)?, stacks))
    }
}

/// Writes a profile; gives back what a reader must know before believing it, safe for a terminal. An existing file is an error
/// unless `replace` is set. SCHEMA.md says what is in each.
pub fn profile(
    trace: &Trace,
    symbols: Symbols,
    prices: Option<&PriceList>,
    kind: Profile,
    path: &Path,
    replace: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<String>, AnalyzerError> {
    let output = Output::create(path, replace)?;
    let source = Source::read(trace, symbols, prices, progress)?;
    let totals = source.report.totals();
    // Exits in time: without times the picture would be empty, and look like that of a guest that did nothing.
    if kind.is_in_time() && totals.exits > 0 && totals.timed_exits == 0 {
        return Err(AnalyzerError::NoTimes);
    }
    let warnings = source.report.warnings();
    let unit = Unit::of(&source);
    finish(output, |out| match kind {
        Profile::Firefox => firefox::write(&source, out),
        Profile::Perfetto => perfetto::write(&source, out),
        Profile::Pprof => Ok(pprof::write(&source, out)),
        Profile::Folded => Ok(out.write_all(folded::lines(&source, unit).as_bytes())),
        Profile::FlameGraph => {
            let subtitle = format!("As wide as {}", unit.in_words());
            let frame = &Frame { title: source.name(), subtitle, unit, warnings: &warnings };
            flame_graph::draw(&folded::lines(&source, unit), frame, out)
        }
    })?;
    Ok(warnings)
}

/// Writes an output, and gives it its name.
pub(super) fn finish(
    output: Output,
    write: impl FnOnce(&mut BufWriter<&File>) -> Written,
) -> Result<(), AnalyzerError> {
    let mut out = BufWriter::new(output.file());
    let error = |source| AnalyzerError::Output { action: "write", path: output.path().to_owned(), source };
    write(&mut out)?.and_then(|()| out.flush()).map_err(error)?;
    drop(out);
    output.finish()
}

/// What a profile's writer says: the first error is the trace's, the second one the disk's.
pub(super) type Written = Result<std::io::Result<()>, AnalyzerError>;
