//! The aggregated rows as a data frame.

use crate::aggregate::Aggregate;
use crate::disassembly::{Disassembler, Disassembly};
use crate::durations::Durations;
use crate::groups::Groups;

use crate::names::{Names, space_name};
use crate::pricing::Pricing;
use crate::ranking::What;
use crate::stack_columns;
use crate::stack_costs::StackCost;
use crate::symbols::{Symbol, Symbols};
use crate::tally::Tally;
use crate::ticks::Ticks;
use crate::totals::{Division, RowTime};
use polars::prelude::*;
use trapline_formats::{Header, Site};

/// Durations of one row, in the order of their columns: mean, min, p50, p90, p99, max.
const DURATIONS: [&str; 6] = ["mean", "min", "p50", "p90", "p99", "max"];
const PERCENTS: [u64; 3] = [50, 90, 99];

/// Everything that rows are made of.
pub(crate) struct Source<'a> {
    pub(crate) header: &'a Header,
    pub(crate) sites: &'a [Site],
    pub(crate) names: &'a Names,
    pub(crate) symbols: &'a Symbols,
    pub(crate) groups: &'a Groups,
    pub(crate) aggregate: &'a Aggregate,
    pub(crate) division: &'a Division,
    pub(crate) pricing: &'a Pricing,
    pub(crate) ticks: Option<Ticks>,
    /// What each stack cost; of a report by site.
    pub(crate) stacks: &'a [StackCost],
}

/// One row: a group that had exits, or several that share it.
#[derive(Clone, Copy)]
struct Row<'a> {
    group: Option<u32>,
    sites: u64,
    tally: &'a Tally,
    time: RowTime,
}

/// Builds the table, the dearest rows first, idleness last.
pub(crate) fn build(source: &Source<'_>) -> PolarsResult<DataFrame> {
    let rows: Vec<_> = source
        .division
        .rows
        .iter()
        .map(|r| match &r.what {
            What::Group(group) => Row {
                group: Some(*group),
                sites: source.groups.members(*group as usize).count() as u64,
                tally: &source.aggregate.tallies[*group as usize],
                time: r.time,
            },
            What::Others(others) => {
                Row { group: None, sites: others.sites, tally: &others.tally, time: r.time }
            }
        })
        .collect();
    let mut columns = source.who(&rows);
    columns.extend(counts(&rows));
    columns.extend(source.costs(&rows));
    columns.extend(source.durations(&rows, "vmm", |tally| &tally.vmm));
    columns.extend(source.durations(&rows, "guest", |tally| &tally.guest));
    if let Some(stacks) = source.symbols.stacks().filter(|_| !source.stacks.is_empty()) {
        columns.extend(stack_columns::columns(rows.iter().map(|row| row.group), stacks, source.stacks));
    }
    DataFrame::new(rows.len(), columns)
}

fn column<T, Phantom: ?Sized>(name: &str, values: Vec<T>) -> Column
where
    Series: NamedFrom<Vec<T>, Phantom>,
{
    Series::new(name.into(), values).into()
}

/// The value that all sites of a row share.
fn common<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|v| v == first).then_some(first)
}

impl Source<'_> {
    /// The numbers of the sites of a row; none, where it is for several groups.
    fn members(&self, row: &Row<'_>) -> impl Iterator<Item = u32> {
        row.group.into_iter().flat_map(|group| self.groups.members(group as usize))
    }

    fn sites_of(&self, row: &Row<'_>) -> impl Iterator<Item = &Site> {
        self.members(row).map(|s| &self.sites[s as usize])
    }

    /// What a row is about. A column holds what all sites of the row have in common.
    fn who(&self, rows: &[Row<'_>]) -> Vec<Column> {
        let disassembler = Disassembler::new(&self.header.rewrites);
        let code: Vec<Option<Disassembly>> =
            rows.iter().map(|row| common(self.sites_of(row).map(|s| disassembler.of(s)))).collect();
        let name = |s: &Site| s.kind.space().and_then(|space| self.names.of(space, s.address));
        let device = |s: &Site| name(s).map(|n| n.device.into_owned());
        let register = |id: u32| {
            let named = || name(&self.sites[id as usize]).map(|n| n.register.into_owned());
            self.aggregate.pci.of(id).or_else(named).filter(|r| !r.is_empty())
        };
        vec![
            column("site", rows.iter().map(|row| common(self.members(row))).collect()),
            column("sites", rows.iter().map(|row| row.sites as u32).collect()),
            column("idle", rows.iter().map(|row| row.time.idle).collect()),
            column(
                "kind",
                rows.iter().map(|row| common(self.sites_of(row).map(|s| s.kind.name()))).collect(),
            ),
            column(
                "instruction_address",
                rows.iter().map(|row| common(self.sites_of(row).map(|s| s.instruction.address.0))).collect(),
            ),
            column("symbol", rows.iter().map(|row| self.common_symbol(row, |s| s.name.as_str())).collect()),
            column(
                "symbol_offset",
                rows.iter()
                    .map(|row| {
                        let offset = |s: u32| {
                            Some(self.sites[s as usize].instruction.address.0 - self.symbols.of(s)?.start)
                        };
                        common(self.members(row).map(offset)).flatten()
                    })
                    .collect(),
            ),
            column(
                "source_line",
                rows.iter()
                    .map(|row| {
                        common(self.members(row).map(|s| self.symbols.of(s)?.line.as_deref())).flatten()
                    })
                    .collect(),
            ),
            column("bytes", code.iter().map(|c| c.as_ref().map(|c| c.bytes.as_str())).collect()),
            column("disassembly", code.iter().map(|c| c.as_ref().and_then(|c| c.text.as_deref())).collect()),
            column(
                "mode",
                rows.iter()
                    .map(|row| common(self.sites_of(row).map(|s| &s.instruction)).map(|i| i.mode.name()))
                    .collect(),
            ),
            column(
                "cpl",
                rows.iter()
                    .map(|row| common(self.sites_of(row).map(|s| &s.instruction)).map(|i| i.cpl))
                    .collect(),
            ),
            column("rep", rows.iter().map(|row| common(self.sites_of(row).map(|s| s.rep))).collect()),
            column(
                "space",
                rows.iter()
                    .map(|row| common(self.sites_of(row).map(|s| s.kind.space())).flatten().map(space_name))
                    .collect(),
            ),
            column(
                "address",
                rows.iter().map(|row| common(self.sites_of(row).map(address)).flatten()).collect(),
            ),
            column("size", rows.iter().map(|row| common(self.sites_of(row).map(size)).flatten()).collect()),
            column(
                "device",
                rows.iter().map(|row| common(self.sites_of(row).map(device)).flatten()).collect(),
            ),
            column(
                "register",
                rows.iter().map(|row| common(self.members(row).map(register)).flatten()).collect(),
            ),
        ]
    }

    /// What the functions of all sites of a row share; sites without one share nothing.
    fn common_symbol<'b, T: PartialEq>(&'b self, row: &Row<'_>, of: impl Fn(&'b Symbol) -> T) -> Option<T> {
        common(self.members(row).map(|s| self.symbols.of(s).map(&of))).flatten()
    }

    /// What a row costs.
    fn costs(&self, rows: &[Row<'_>]) -> Vec<Column> {
        let Division { cost, time, .. } = *self.division;
        let timed = |row: &&Row<'_>| self.ticks.is_some() && row.tally.vmm.count() > 0;
        let priced = |row: &&Row<'_>| timed(row) && !row.time.idle;
        let percent = |part: u128, whole: u128| (whole > 0).then(|| part as f64 * 100.0 / whole as f64);
        let each = |value: &dyn Fn(&RowTime) -> u64| -> Vec<Option<u64>> {
            rows.iter().map(|row| Some(row).filter(priced).map(|row| value(&row.time))).collect()
        };
        let each_known =
            |value: &dyn Fn(&RowTime) -> u64, known: &dyn Fn(&Row<'_>) -> bool| -> Vec<Option<u64>> {
                let known = |row: &&Row<'_>| priced(row) && known(row);
                rows.iter().map(|row| Some(row).filter(known).map(|row| value(&row.time))).collect()
            };
        let has_interval = |row: &Row<'_>| {
            row.group.is_some() && self.sites_of(row).all(|s| self.pricing.path(s.kind).interval.is_some())
        };
        let interval = |end: usize| each_known(&|t| t.path_interval_ns[end], &has_interval);
        let share = |value: &dyn Fn(&RowTime) -> u128, whole| -> Vec<Option<f64>> {
            rows.iter()
                .map(|row| Some(row).filter(priced).and_then(|row| percent(value(&row.time), whole)))
                .collect()
        };
        vec![
            column("timed", rows.iter().map(|row| row.tally.vmm.count()).collect()),
            column("cost_percent", share(&|t| t.cost, cost)),
            column("cost_ns", each(&RowTime::cost_ns)),
            column("path_ns", each(&|t| t.path_ns)),
            column("path_source", self.path_sources(rows, priced)),
            column("path_low_ns", interval(0)),
            column("path_high_ns", interval(1)),
            // Tracepoints measure it one day.
            column("tracepoint_ns", vec![None::<u64>; rows.len()]),
            column("time_percent", share(&|t| t.time, time)),
            column(
                "vmm_ns",
                rows.iter().map(|row| Some(row).filter(timed).map(|row| row.time.vmm_ns)).collect(),
            ),
            column("recorder_ns", each_known(&|t| t.recorder_ns, &|_| self.pricing.recorder > 0)),
            column(
                "guest_ns",
                rows.iter().map(|row| Some(row).filter(timed).map(|row| row.time.guest_ns)).collect(),
            ),
        ]
    }

    /// Where the paths of a row come from.
    fn path_sources(
        &self,
        rows: &[Row<'_>],
        priced: impl Fn(&&Row<'_>) -> bool,
    ) -> Vec<Option<&'static str>> {
        let source =
            |row: &Row<'_>| common(self.sites_of(row).map(|s| self.pricing.path(s.kind).source.name()));
        rows.iter().map(|row| Some(row).filter(&priced).and_then(source)).collect()
    }

    /// How long single exits of a row took.
    fn durations(&self, rows: &[Row<'_>], what: &str, of: impl Fn(&Tally) -> &Durations) -> Vec<Column> {
        let values: Vec<_> =
            rows.iter().map(|row| self.ticks.map_or([None; 6], |t| durations(of(row.tally), t))).collect();
        let each = |(i, name): (usize, &&str)| {
            column(&format!("{what}_{name}_ns"), values.iter().map(|v| v[i]).collect())
        };
        DURATIONS.iter().enumerate().map(each).collect()
    }
}

fn address(site: &Site) -> Option<u64> {
    site.kind.space().map(|_| site.address)
}

fn size(site: &Site) -> Option<u8> {
    site.kind.has_data().then_some(site.size)
}

fn counts(rows: &[Row<'_>]) -> Vec<Column> {
    let each =
        |value: &dyn Fn(&Tally) -> u64| -> Vec<u64> { rows.iter().map(|row| value(row.tally)).collect() };
    vec![
        column("count", each(&|t| t.count)),
        column("elements", each(&|t| t.elements)),
        column("data_bytes", each(&|t| t.bytes)),
        column("faults", each(&|t| t.faults)),
        column("distinct_values", rows.iter().map(|row| row.tally.values.distinct()).collect()),
        column("constant_value", rows.iter().map(|row| row.tally.values.constant()).collect()),
        column("first_exit", each(&|t| t.first)),
        column("last_exit", each(&|t| t.last)),
    ]
}

/// The numbers of [`DURATIONS`], in nanoseconds. A quantile of fewer than 10/(1-q) exits is none.
fn durations(durations: &Durations, ticks: Ticks) -> [Option<f64>; 6] {
    let quantiles = durations.quantiles(PERCENTS);
    let quantile = |i: usize| {
        let enough = u128::from(durations.count()) * u128::from(100 - PERCENTS[i]) >= 1000;
        quantiles[i].filter(|_| enough).map(|q| ticks.tenths(q as f64))
    };
    let exact = |value: Option<u64>| value.map(|v| ticks.tenths(v as f64));
    [
        durations.mean().map(|m| ticks.tenths(m)),
        exact(durations.min()),
        quantile(0),
        quantile(1),
        quantile(2),
        exact(durations.max()),
    ]
}
