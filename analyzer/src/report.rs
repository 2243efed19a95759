//! A trace, aggregated.

use crate::aggregate::Aggregate;
use crate::by::By;
use crate::error::AnalyzerError;
use crate::floor::PathFloor;
use crate::groups::Groups;
use crate::histograms::RowTimes;
use crate::labels::Labeler;
use crate::names::Names;
use crate::pci::ConfigAccesses;
use crate::pricing::{ExitPath, Pricing};
use crate::ranking::{self, MOST_ROWS, What};
use crate::stack_costs::{self, StackCost};
use crate::stream::Cut;
use crate::suggestions::{Suggestion, suggestions};
use crate::symbols::Symbols;
use crate::table::{self, Source};
use crate::ticks::Ticks;
use crate::totals::{Division, Totals, divide};
use polars::frame::DataFrame;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trapline_formats::{Damage, End, Header, PriceList, Trace};

/// How a report is made.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// What a row stands for.
    pub by: By,
    /// Names for functions.
    pub symbols: Symbols,
    /// The price list of the trace's host. A list of another host is an error.
    pub prices: Option<&'a PriceList>,
    /// Rows of costs, and of idleness, that stand for one group each: the dearest. All others share one row, so that the memory
    /// of a table is bounded.
    pub most_rows: usize,
    /// Whether the histograms of the rows are kept, for [`Report::histograms`] and what is made of them.
    pub histograms: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { by: By::Site, symbols: Symbols::none(), prices: None, most_rows: MOST_ROWS, histograms: false }
    }
}

/// Groups that have no row of their own, because there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shared {
    /// Those that share the last row of costs.
    pub(crate) costs: u64,
    /// Those that share the last row of idleness.
    pub(crate) idle: u64,
}

impl Shared {
    fn of(rows: &[ranking::Row]) -> Self {
        let groups = |idle: bool| {
            let others = rows.iter().filter(|row| row.time.idle == idle).filter_map(|row| match &row.what {
                What::Group(_) => None,
                What::Others(others) => Some(others.groups),
            });
            others.sum()
        };
        Self { costs: groups(false), idle: groups(true) }
    }
}

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
    pub(crate) shared: Shared,
    /// The times of each row of the table; none unless they were asked for.
    pub(crate) times: Vec<RowTimes>,
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
        Self::with(trace, Options { by, symbols, ..Options::default() }, progress)
    }

    /// The same, as it is asked for.
    pub fn with(
        trace: &Trace,
        options: Options<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, AnalyzerError> {
        let Options { by, symbols, prices, most_rows, histograms } = options;
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
        let mut aggregate =
            Aggregate::of(trace, &groups, &names, ticks.is_some(), symbols.stacks(), progress)?;
        let floors = aggregate.intervals.floors();
        let timed = (0..).zip(trace.sites()).filter(|(id, _)| aggregate.site(*id).timed > 0);
        let kinds = timed.map(|(_, site)| site.kind).collect();
        let pricing = Pricing::new(prices, &floors, &kinds, ticks);
        let division = divide(&aggregate, &groups, trace.sites(), &pricing, ticks, most_rows);
        let labeler = Labeler::new(trace, &names, &symbols, &aggregate.pci);
        let suggestions = suggestions(trace.sites(), &aggregate, &pricing, ticks, &labeler);
        let stacks = match by {
            By::Site => stack_costs::divide(&aggregate.stacks, &division.rows),
            _ => Vec::new(),
        };
        let source = Source {
            header: trace.header(),
            sites: trace.sites(),
            names: &names,
            symbols: &symbols,
            groups: &groups,
            aggregate: &aggregate,
            division: &division,
            pricing: &pricing,
            ticks,
            stacks: &stacks,
        };
        let table = table::build(&source).map_err(AnalyzerError::table("build the table"))?;
        let medians =
            if by == By::Site { medians(&aggregate, &division.rows, ticks) } else { BTreeMap::new() };
        let Division { totals, rows, .. } = division;
        let shared = Shared::of(&rows);
        let times = if histograms { RowTimes::take(rows, &mut aggregate.tallies) } else { Vec::new() };
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
            shared,
            times,
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

    /// All rows, the dearest first, idleness (HLT) last. Beyond [`Options::most_rows`], groups share one. SCHEMA.md describes the
    /// columns.
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

/// The medians of sites that have a row and had enough exits. A group of a report by site is a site.
fn medians(aggregate: &Aggregate, rows: &[ranking::Row], ticks: Option<Ticks>) -> BTreeMap<u32, [f64; 3]> {
    let Some(ticks) = ticks else { return BTreeMap::new() };
    let of = |site: u32| {
        let tally = &aggregate.tallies[site as usize];
        Some((site, tally.vmm.median_interval()?.map(|t| ticks.tenths(t as f64))))
    };
    rows.iter().filter_map(|row| of(row.site()?)).collect()
}
