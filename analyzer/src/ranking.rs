//! The rows of a report in their order: the dearest ones each by itself, and what is beyond their number together in one.
//!
//! A trace may have millions of sites. Nobody reads so many rows, and a table of them would take gigabytes.

use crate::tally::Tally;
use crate::totals::RowTime;
use std::cmp::Reverse;

/// Rows of costs, and of idleness, that a report has unless told otherwise.
pub(crate) const MOST_ROWS: usize = 1 << 18;

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) time: RowTime,
    pub(crate) what: What,
}

impl Row {
    /// The group that it is of alone; in a report by site, the site.
    pub(crate) fn site(&self) -> Option<u32> {
        match self.what {
            What::Group(group) => Some(group),
            What::Others(_) => None,
        }
    }
}

/// What a row stands for.
#[derive(Debug)]
pub(crate) enum What {
    /// One group.
    Group(u32),
    /// All groups that have no row of their own.
    Others(Box<Others>),
}

/// Groups that share a row.
#[derive(Debug, Default)]
pub(crate) struct Others {
    pub(crate) groups: u64,
    pub(crate) sites: u64,
    pub(crate) tally: Tally,
}

/// Descending by what is dear, and what came first before what came later; what has no times last.
type Key = (Reverse<(bool, u64, u64, u64)>, u64);

fn key(time: &RowTime, tally: &Tally) -> Key {
    let is_timed = tally.vmm.count() > 0;
    (Reverse((is_timed, time.cost_ns(), time.vmm_ns, tally.count)), tally.first)
}

/// The dearest of the rows that come along.
pub(crate) struct Ranking {
    most: usize,
    rows: Vec<(Key, u32, RowTime)>,
    others: Option<(RowTime, Others)>,
}

/// The counts and the number of sites of a group.
pub(crate) type Counts<'a> = &'a dyn Fn(u32) -> (&'a Tally, u64);

impl Ranking {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, rows: Vec::new(), others: None }
    }

    /// Adds a group that had exits.
    pub(crate) fn add(&mut self, group: u32, time: RowTime, counts: Counts<'_>) {
        // Twice as many, so that the rest is parted seldom.
        if self.rows.len() >= self.most.saturating_mul(2).max(1) {
            self.cut(counts);
        }
        self.rows.push((key(&time, counts(group).0), group, time));
    }

    fn cut(&mut self, counts: Counts<'_>) {
        if self.rows.len() <= self.most {
            return;
        }
        self.rows.select_nth_unstable_by_key(self.most, |row| row.0);
        let (sum, others) = self.others.get_or_insert_default();
        for (_, group, time) in self.rows.drain(self.most..) {
            let (tally, sites) = counts(group);
            sum.add(&time);
            others.groups += 1;
            others.sites += sites;
            others.tally.merge(tally);
        }
    }

    /// The rows in their order; the others last.
    pub(crate) fn finish(mut self, counts: Counts<'_>) -> impl Iterator<Item = Row> {
        self.cut(counts);
        self.rows.sort_unstable_by_key(|row| row.0);
        let rows = self.rows.into_iter().map(|(_, group, time)| Row { time, what: What::Group(group) });
        let others = self.others.map(|(time, others)| Row { time, what: What::Others(Box::new(others)) });
        rows.chain(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use trapline_formats::{CpuMode, Gva, Instruction};
    use trapline_formats::{Exit, ExitKind, Site};

    proptest! {
        #[test]
        fn the_dearest_rows_stay_and_nothing_of_the_others_is_lost(costs in prop::collection::vec(0u64..50, 0..60), most in 0usize..20) {
            let instruction = Instruction { address: Gva(0), bytes: Vec::new(), mode: CpuMode::Long64, cpl: 0 };
            let site = Site { kind: ExitKind::PortRead, address: 0, size: 1, rep: false, instruction };
            let tallies: Vec<_> = (0..costs.len() as u64).map(|index| {
                let mut tally = Tally::default();
                tally.add(&site, &Exit { index, site: 0, data: &[0], fault: false });
                tally
            }).collect();
            let counts = |group: u32| (&tallies[group as usize], 2);
            let mut ranking = Ranking::new(most);
            for (group, &cost) in (0..).zip(&costs) {
                ranking.add(group, RowTime { vmm_ns: cost, ..RowTime::default() }, &counts);
            }
            let rows: Vec<_> = ranking.finish(&counts).collect();
            let mut sorted = costs.clone();
            sorted.sort_unstable_by_key(|c| Reverse(*c));
            let own = costs.len().min(most);
            let shown: Vec<_> = rows.iter().map(|row| row.time.vmm_ns).collect();
            prop_assert_eq!(&shown[..own], &sorted[..own]);
            prop_assert_eq!(shown.iter().sum::<u64>(), costs.iter().sum::<u64>());
            prop_assert_eq!(rows.len(), own + usize::from(costs.len() > most));
            if let Some(Row { what: What::Others(others), .. }) = rows.last() {
                let left = (costs.len() - own) as u64;
                prop_assert_eq!((others.groups, others.sites, others.tally.count), (left, 2 * left, left));
            }
        }
    }
}
