//! How often each duration occurred, row by row.

use crate::durations::{Durations, Hdr};
use crate::error::AnalyzerError;
use crate::frame;
use crate::ranking::{Row, What};
use crate::report::Report;
use crate::schema;
use crate::tally::Tally;
use crate::ticks::Ticks;
use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use std::path::Path;

/// The times of one row.
#[derive(Debug, Clone)]
pub(crate) struct RowTimes {
    pub(crate) vmm: Durations,
    pub(crate) guest: Durations,
}

impl RowTimes {
    /// Takes the times out of the counts, in the order of the rows.
    pub(crate) fn take(rows: Vec<Row>, tallies: &mut [Tally]) -> Vec<Self> {
        let of = |row: Row| {
            let tally = match row.what {
                What::Group(group) => std::mem::take(&mut tallies[group as usize]),
                What::Others(others) => others.tally,
            };
            Self { vmm: tally.vmm, guest: tally.guest }
        };
        rows.into_iter().map(of).collect()
    }

    /// Both, by the names that columns have.
    fn both(&self) -> [(&'static str, &Durations); 2] {
        [("vmm", &self.vmm), ("guest", &self.guest)]
    }
}

/// A step of a histogram: from, to (not included), in nanoseconds, and exits.
pub(crate) type Step = (f64, f64, u64);

/// The steps that something fell into, ascending.
fn steps(durations: &Durations, ticks: Ticks) -> impl Iterator<Item = Step> {
    let histogram: Hdr<u64> = durations.histogram();
    let steps: Vec<_> = histogram
        .iter_recorded()
        .map(|v| {
            let from = histogram.lowest_equivalent(v.value_iterated_to());
            let to = histogram.next_non_equivalent(from);
            (ticks.tenths(from as f64), ticks.tenths(to as f64), v.count_at_value())
        })
        .collect();
    steps.into_iter()
}

impl Report {
    /// The times of the rows that [`Report::rows`] has, with their places there.
    pub(crate) fn row_times(&self, top: Option<usize>) -> impl Iterator<Item = (usize, &RowTimes)> {
        self.places(top).into_iter().flatten().filter_map(|place| self.times.get(place)).enumerate()
    }

    /// The steps of the histograms of one row: VMM times, guest intervals.
    pub(crate) fn row_steps(&self, times: &RowTimes) -> [Vec<Step>; 2] {
        let ticks = Ticks::new(self.header.tick_hz);
        times.both().map(|(_, durations)| ticks.map_or(Vec::new(), |t| steps(durations, t).collect()))
    }

    /// One row for each step of the histograms of [`Report::rows`]. A report that was made without has none. SCHEMA.md describes
    /// the columns.
    pub fn histograms(&self, top: Option<usize>) -> Result<DataFrame, AnalyzerError> {
        let sites: Vec<Option<u32>> = {
            let rows = self.rows(top)?;
            let cells = crate::cells::Cells(&rows);
            (0..rows.height()).map(|row| cells.u32("site", row)).collect()
        };
        let (mut row, mut site, mut time) = (Vec::new(), Vec::new(), Vec::new());
        let (mut from, mut to, mut count) = (Vec::new(), Vec::new(), Vec::new());
        for (place, times) in self.row_times(top) {
            let names = times.both().map(|(name, _)| name);
            for (name, steps) in names.into_iter().zip(self.row_steps(times)) {
                for step in steps {
                    row.push(place as u32);
                    site.push(sites[place]);
                    time.push(name);
                    from.push(step.0);
                    to.push(step.1);
                    count.push(step.2);
                }
            }
        }
        let columns: Vec<Column> = vec![
            Series::new("row".into(), row).into(),
            Series::new("site".into(), site).into(),
            Series::new("time".into(), time).into(),
            Series::new("from_ns".into(), from).into(),
            Series::new("to_ns".into(), to).into(),
            Series::new("count".into(), count).into(),
        ];
        DataFrame::new(columns[0].len(), columns)
            .map_err(AnalyzerError::table("build the table of histograms"))
    }

    /// The same as CSV.
    pub fn histograms_to_csv(&self, top: Option<usize>) -> Result<String, AnalyzerError> {
        frame::csv(self.histograms(top)?)
    }

    /// Writes the same as Parquet. An existing file is an error unless `replace` is set.
    pub fn histograms_to_parquet(
        &self,
        path: &Path,
        top: Option<usize>,
        replace: bool,
    ) -> Result<(), AnalyzerError> {
        let metadata = schema::metadata(schema::HISTOGRAMS, &[("trapline.by", self.by.name())]);
        frame::parquet(self.histograms(top)?, metadata, path, replace)
    }
}
