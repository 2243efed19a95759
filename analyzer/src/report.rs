//! A trace, aggregated.

use crate::aggregate::Aggregate;
use crate::by::By;
use crate::error::AnalyzerError;
use crate::floor::PathFloor;
use crate::groups::Groups;
use crate::labels::Labeler;
use crate::names::Names;
use crate::pci::ConfigAccesses;
use crate::pricing::{ExitPath, Pricing};
use crate::stack_costs::{self, StackCost};
use crate::stream::Cut;
use crate::suggestions::{Suggestion, suggestions};
use crate::symbols::Symbols;
use crate::table::{self, Source};
use crate::tally::Tally;
use crate::ticks::Ticks;
use crate::totals::{Totals, divide};
use polars::frame::DataFrame;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trapline_formats::{Damage, End, Header, PriceList, Trace};

/// What a recording cost, one row per site, instruction, reason, device or address.
#[derive(Debug, Clone)]
pub struct Report {
    pub(crate) by: By,
    pub(crate) path: PathBuf,
    pub(crate) file_bytes: u64,
    pub(crate) header: Header,
    pub(crate) end: Option<End>,
    pub(crate) damage: Option<Damage>,
    pub(crate) timing_damage: Option<Damage>,
    pub(crate) names: Names,
    pub(crate) symbols: Symbols,
    pub(crate) totals: Totals,
    pub(crate) floors: Vec<PathFloor>,
    pub(crate) pricing: Pricing,
    pub(crate) pci: ConfigAccesses,
    pub(crate) table: DataFrame,
    /// By site: the median VMM time and its interval of confidence, in nanoseconds; in a report by site.
    pub(crate) medians: BTreeMap<u32, [f64; 3]>,
    pub(crate) suggestions: Vec<Suggestion>,
    /// The call stacks, the sites in their order and the dearest first; in a report by site whose stacks are known.
    pub(crate) stacks: Vec<StackCost>,
}

impl Report {
    /// Reads all exits of a trace once. `progress` is told now and then how many have been read. A trace with a damaged
    /// tail is reported up to the damage, see [`Report::damage`].
    pub fn from_trace(trace: &Trace, by: By, progress: &mut dyn FnMut(u64)) -> Result<Self, AnalyzerError> {
        Self::with_symbols(trace, by, Symbols::none(), progress)
    }

    /// The same, with names for functions.
    pub fn with_symbols(
        trace: &Trace,
        by: By,
        symbols: Symbols,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, AnalyzerError> {
        Self::with_prices(trace, by, symbols, None, progress)
    }

    /// The same, exits priced by the price list of the trace's host. A list of another host is an error.
    pub fn with_prices(
        trace: &Trace,
        by: By,
        symbols: Symbols,
        prices: Option<&PriceList>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, AnalyzerError> {
        if let Some(list) = prices {
            list.check().map_err(AnalyzerError::Prices)?;
            let differences = list.differences(&trace.header().host);
            if !differences.is_empty() {
                return Err(AnalyzerError::OtherHost { differences: differences.join("; ") });
            }
        }
        let names = Names::new(&trace.header().names);
        let groups = Groups::new(by, trace.sites(), &names, &symbols);
        let ticks = Ticks::new(trace.header().tick_hz);
        let aggregate = Aggregate::of(trace, &groups, &names, ticks.is_some(), symbols.stacks(), progress)?;
        let floors = aggregate.intervals.floors();
        let timed = trace.sites().iter().zip(&aggregate.sites).filter(|(_, time)| time.timed > 0);
        let kinds = timed.map(|(site, _)| site.kind).collect();
        let pricing = Pricing::new(prices, &floors, &kinds, ticks);
        let (totals, times) = divide(&aggregate, &groups, trace.sites(), &pricing, ticks);
        let labeler = Labeler::new(trace, &names, &symbols, &aggregate.pci);
        let suggestions = suggestions(trace.sites(), &aggregate, &pricing, ticks, &labeler);
        let stacks = if by == By::Site { stack_costs::divide(&aggregate.stacks, &times) } else { Vec::new() };
        let source = Source {
            header: trace.header(),
            sites: trace.sites(),
            names: &names,
            symbols: &symbols,
            groups: &groups,
            aggregate: &aggregate,
            times: &times,
            pricing: &pricing,
            ticks,
            stacks: &stacks,
        };
        let medians = if by == By::Site { medians(&aggregate, ticks) } else { BTreeMap::new() };
        let table = table::build(&source).map_err(AnalyzerError::table("build the table"))?;
        let (Cut { inputs, timings }, pci) = (aggregate.cut, aggregate.pci);
        Ok(Self {
            by,
            path: trace.path().to_owned(),
            file_bytes: trace.bytes(),
            header: trace.header().clone(),
            end: trace.end().cloned(),
            damage: inputs.or_else(|| trace.damage().cloned()),
            timing_damage: timings,
            names,
            symbols,
            totals,
            suggestions,
            pricing,
            pci,
            floors: floors.into_iter().filter(|f| f.samples > 0).collect(),
            table,
            medians,
            stacks,
        })
    }

    /// What a row stands for.
    pub fn by(&self) -> By {
        self.by
    }

    /// The trace.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All rows, the dearest first, idleness (HLT) last. SCHEMA.md describes the columns.
    pub fn table(&self) -> &DataFrame {
        &self.table
    }

    /// Sums over the whole recording.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The estimated exit path by kind of exit; empty where the trace holds no timing.
    pub fn floors(&self) -> &[PathFloor] {
        &self.floors
    }

    /// The exit path that exits are priced by, for every kind of exit.
    pub fn paths(&self) -> &[ExitPath] {
        &self.pricing.paths
    }

    /// What could be changed at dear sites, the most promising first.
    pub fn suggestions(&self) -> &[Suggestion] {
        &self.suggestions
    }

    /// What each call stack of each site cost; empty where no stacks are known, and in a report that is not by site.
    pub fn stacks(&self) -> &[StackCost] {
        &self.stacks
    }

    /// The names of functions.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// What is wrong with the tail of the trace: the report covers the exits before it.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Whether the whole recording is covered: nothing is damaged, and the end is there with as many exits as were read.
    pub fn is_whole(&self) -> bool {
        let all_there = self.end.as_ref().is_some_and(|end| end.exits == self.totals.exits);
        self.damage.is_none() && self.timing_damage.is_none() && all_there
    }
}

/// The medians of sites that had enough exits. A group of a report by site is a site.
fn medians(aggregate: &Aggregate, ticks: Option<Ticks>) -> BTreeMap<u32, [f64; 3]> {
    let Some(ticks) = ticks else { return BTreeMap::new() };
    let of = |(site, tally): (u32, &Tally)| {
        Some((site, tally.vmm.median_interval()?.map(|t| ticks.tenths(t as f64))))
    };
    (0..).zip(&aggregate.tallies).filter_map(of).collect()
}
