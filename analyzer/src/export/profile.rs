//! Profiles: where the cost of a recording went, for the viewers that people already have.

use super::{firefox, folded, perfetto, pprof};
use crate::cells::Cells;
use crate::error::AnalyzerError;
use crate::labels::Labels;
use crate::output::Output;
use crate::report::{Options, Report};
use crate::stacks::Stacks;
use crate::symbols::Symbols;
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

impl Source<'_> {
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
    let report = Report::with(trace, Options { symbols, prices, ..Options::default() }, progress)?;
    // Exits in time: without times the picture would be empty, and look like that of a guest that did nothing.
    if kind.is_in_time() && report.totals().exits > 0 && report.totals().timed_exits == 0 {
        return Err(AnalyzerError::NoTimes);
    }
    let cells = Cells(report.table());
    let sites = (0..report.table().height()).filter_map(|row| cells.u32("site", row));
    let labels = Labels::new(trace, report.symbols(), &report.pci, sites);
    let source = Source { trace, report, labels };
    let mut out = BufWriter::new(output.file());
    let written = match kind {
        Profile::Firefox => firefox::write(&source, &mut out),
        Profile::Perfetto => perfetto::write(&source, &mut out),
        Profile::Pprof => Ok(pprof::write(&source, &mut out)),
        Profile::Folded => Ok(folded::write(&source, &mut out)),
    };
    let error = |source| AnalyzerError::Output { action: "write", path: path.to_owned(), source };
    written?.and_then(|()| out.flush()).map_err(error)?;
    drop(out);
    output.finish()?;
    Ok(source.report.warnings())
}

/// What a profile's writer says: the first error is the trace's, the second one the disk's.
pub(super) type Written = Result<std::io::Result<()>, AnalyzerError>;
