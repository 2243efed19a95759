//! Where the time of a recording went.

use crate::aggregate::Aggregate;
use crate::groups::Groups;
use crate::pricing::{Pricing, SiteCost};
use crate::ranking::{Ranking, Row};
use crate::tally::Tally;
use crate::ticks::{Apportion, Ticks};
use serde::Serialize;
use trapline_formats::{ExitKind, Site};

/// Sums over a whole recording. Times are 0 where the trace holds no timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Exits, all of them.
    pub exits: u64,
    /// Exits with a timing: all, or those before the timing stream ends.
    pub timed_exits: u64,
    /// HLT exits.
    pub idle_exits: u64,
    /// Interrupts and NMIs queued by the platform.
    pub interrupts: u64,
    /// The whole recording: the sum of the next four.
    pub total_ns: u64,
    /// In our process, after exits other than HLT. Measured.
    pub vmm_ns: u64,
    /// Of `vmm_ns`, what recording added: no cost. Estimated; 0 where no price list tells it.
    pub recorder_ns: u64,
    /// In kernel and hardware, for exits other than HLT. Measured elsewhere on the host, or estimated.
    pub path_ns: u64,
    /// The guest's own computing: guest intervals less the path. Estimated.
    pub guest_ns: u64,
    /// Waiting after HLT. Measured.
    pub idle_ns: u64,
    /// `vmm_ns - recorder_ns + path_ns`: what shares are shares of.
    pub cost_ns: u64,
    /// Sites at which the price list's path is more than KVM_RUN took in all: their path is what it took.
    pub bounded_sites: u64,
}

/// The times of one row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowTime {
    pub(crate) idle: bool,
    pub(crate) vmm_ns: u64,
    pub(crate) guest_ns: u64,
    pub(crate) path_ns: u64,
    pub(crate) path_interval_ns: [u64; 2],
    pub(crate) recorder_ns: u64,
    /// VMM time without the recorder, and path, in ticks.
    pub(crate) cost: u128,
    /// VMM time and guest interval, in ticks.
    pub(crate) time: u128,
}

impl RowTime {
    /// VMM time without the recorder's share, and the path; none of idleness.
    pub(crate) fn cost_ns(&self) -> u64 {
        let vmm_ns = if self.idle { 0 } else { self.vmm_ns };
        vmm_ns.saturating_add(self.path_ns).saturating_sub(self.recorder_ns)
    }

    /// Adds another row of the same sort.
    pub(crate) fn add(&mut self, other: &Self) {
        self.idle = other.idle;
        let [low, high] = &mut self.path_interval_ns;
        for (sum, part) in [
            (&mut self.vmm_ns, other.vmm_ns),
            (&mut self.guest_ns, other.guest_ns),
            (&mut self.path_ns, other.path_ns),
            (&mut self.recorder_ns, other.recorder_ns),
            (low, other.path_interval_ns[0]),
            (high, other.path_interval_ns[1]),
        ] {
            *sum = sum.saturating_add(part);
        }
        self.cost += other.cost;
        self.time += other.time;
    }
}

/// The time of a recording, divided among its rows.
pub(crate) struct Division {
    pub(crate) totals: Totals,
    /// Costs, the dearest first; then idleness.
    pub(crate) rows: Vec<Row>,
    /// All cost and all time of rows that are no idleness, in ticks.
    pub(crate) cost: u128,
    pub(crate) time: u128,
}

/// Divides the time of a recording among the rows, so that the rows add up to the totals to the nanosecond. At most so many rows
/// of costs, and of idleness, are of one group.
pub(crate) fn divide(
    aggregate: &Aggregate,
    groups: &Groups,
    sites: &[Site],
    pricing: &Pricing,
    ticks: Option<Ticks>,
    most: usize,
) -> Division {
    let mut totals = Totals {
        exits: aggregate.exits,
        timed_exits: aggregate.timed,
        interrupts: aggregate.interrupts,
        ..Totals::default()
    };
    let (mut costs, mut idleness) = (Ranking::new(most), Ranking::new(most));
    let (mut cost, mut time) = (0, 0);
    let mut clock = ticks.map(Clock::new);
    let counts =
        |group: u32| (&aggregate.tallies[group as usize], groups.members(group as usize).count() as u64);
    for group in 0..groups.len() {
        let tally = &aggregate.tallies[group];
        let kinds = || groups.members(group).map(|s| sites[s as usize].kind);
        let idle = kinds().next() == Some(ExitKind::Halt);
        let row = clock.as_mut().map_or(RowTime { idle, ..RowTime::default() }, |clock| {
            let of_site = |s: u32| pricing.of_site(sites[s as usize].kind, aggregate.site(s));
            let costs: SiteCosts = groups.members(group).map(of_site).collect();
            totals.bounded_sites += costs.bounded;
            clock.row(idle, tally, &costs.all)
        });
        if tally.count == 0 {
            continue;
        }
        cost += row.cost;
        time += row.time;
        totals.idle_exits += if idle { tally.count } else { 0 };
        let ranking = if idle { &mut idleness } else { &mut costs };
        ranking.add(group as u32, row, &counts);
    }
    if let Some(clock) = clock {
        clock.total(&mut totals);
    }
    let rows = costs.finish(&counts).chain(idleness.finish(&counts)).collect();
    Division { totals, rows, cost, time }
}

/// Converts ticks of rows, one after another.
struct Clock {
    ticks: Ticks,
    vmm: Apportion,
    waiting: Apportion,
    guest: Apportion,
    path: Apportion,
    recorder: Apportion,
}

impl Clock {
    fn new(ticks: Ticks) -> Self {
        let [vmm, waiting, guest, path, recorder] = [Apportion::new(ticks); 5];
        Self { ticks, vmm, waiting, guest, path, recorder }
    }

    fn row(&mut self, idle: bool, tally: &Tally, costs: &SiteCost) -> RowTime {
        let (vmm_ticks, guest_ticks) = (tally.vmm.total(), tally.guest.total());
        let [low, high] = costs.path_interval;
        let path_ns = self.path.next(costs.path);
        RowTime {
            idle,
            // The rows' own rounding may move the path by a nanosecond: it stays in its interval.
            path_interval_ns: [self.ticks.ns(low).min(path_ns), self.ticks.ns(high).max(path_ns)],
            path_ns,
            vmm_ns: if idle { self.waiting.next(vmm_ticks) } else { self.vmm.next(vmm_ticks) },
            guest_ns: self.guest.next(guest_ticks),
            recorder_ns: self.recorder.next(costs.recorder),
            cost: costs.cost,
            time: if idle { 0 } else { vmm_ticks + guest_ticks },
        }
    }

    fn total(&self, totals: &mut Totals) {
        totals.vmm_ns = self.vmm.total();
        totals.recorder_ns = self.recorder.total();
        totals.path_ns = self.path.total();
        totals.guest_ns = self.guest.total().saturating_sub(self.path.total());
        totals.idle_ns = self.waiting.total();
        let exits_ns = totals.vmm_ns.saturating_add(totals.path_ns);
        totals.cost_ns = exits_ns.saturating_sub(totals.recorder_ns);
        totals.total_ns = exits_ns.saturating_add(totals.guest_ns).saturating_add(totals.idle_ns);
    }
}

/// The costs of the sites of a row.
#[derive(Default)]
struct SiteCosts {
    all: SiteCost,
    bounded: u64,
}

impl FromIterator<SiteCost> for SiteCosts {
    fn from_iter<I: IntoIterator<Item = SiteCost>>(costs: I) -> Self {
        costs.into_iter().fold(Self::default(), |mut sum, cost| {
            sum.all.path += cost.path;
            sum.all.path_interval[0] += cost.path_interval[0];
            sum.all.path_interval[1] += cost.path_interval[1];
            sum.all.recorder += cost.recorder;
            sum.all.cost += cost.cost;
            sum.bounded += u64::from(cost.is_bounded);
            sum
        })
    }
}
