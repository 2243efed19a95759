//! Where the time of a recording went.

use crate::aggregate::Aggregate;
use crate::groups::Groups;
use crate::pricing::{Pricing, SiteCost};
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

/// Divides the time of a recording among the rows, so that the rows add up to the totals to the nanosecond.
pub(crate) fn divide(
    aggregate: &Aggregate,
    groups: &Groups,
    sites: &[Site],
    pricing: &Pricing,
    ticks: Option<Ticks>,
) -> (Totals, Vec<RowTime>) {
    let is_idle =
        |group: usize| groups.members[group].iter().any(|&s| sites[s as usize].kind == ExitKind::Halt);
    let idle_exits =
        (0..groups.members.len()).filter(|&g| is_idle(g)).map(|g| aggregate.tallies[g].count).sum();
    let mut totals = Totals {
        exits: aggregate.exits,
        timed_exits: aggregate.timed,
        idle_exits,
        interrupts: aggregate.interrupts,
        ..Totals::default()
    };
    let Some(ticks) = ticks else {
        let rows = (0..groups.members.len()).map(|g| RowTime { idle: is_idle(g), ..RowTime::default() });
        return (totals, rows.collect());
    };
    let [mut vmm, mut waiting, mut guest, mut path, mut recorder] = [Apportion::new(ticks); 5];
    let row = |(group, tally): (usize, &crate::tally::Tally)| {
        let idle = is_idle(group);
        let (vmm_ticks, guest_ticks) = (tally.vmm.total(), tally.guest.total());
        let costs: SiteCosts = groups.members[group]
            .iter()
            .map(|&s| pricing.of_site(sites[s as usize].kind, aggregate.sites[s as usize]))
            .collect();
        totals.bounded_sites += costs.bounded;
        let [low, high] = costs.all.path_interval;
        let path_ns = path.next(costs.all.path);
        RowTime {
            idle,
            // The rows' own rounding may move the path by a nanosecond: it stays in its interval.
            path_interval_ns: [ticks.ns(low).min(path_ns), ticks.ns(high).max(path_ns)],
            path_ns,
            vmm_ns: if idle { waiting.next(vmm_ticks) } else { vmm.next(vmm_ticks) },
            guest_ns: guest.next(guest_ticks),
            recorder_ns: recorder.next(costs.all.recorder),
            cost: costs.all.cost,
            time: if idle { 0 } else { vmm_ticks + guest_ticks },
        }
    };
    let rows = aggregate.tallies.iter().enumerate().map(row).collect();
    totals.vmm_ns = vmm.total();
    totals.recorder_ns = recorder.total();
    totals.path_ns = path.total();
    totals.guest_ns = guest.total().saturating_sub(path.total());
    totals.idle_ns = waiting.total();
    let exits_ns = totals.vmm_ns.saturating_add(totals.path_ns);
    totals.cost_ns = exits_ns.saturating_sub(totals.recorder_ns);
    totals.total_ns = exits_ns.saturating_add(totals.guest_ns).saturating_add(totals.idle_ns);
    (totals, rows)
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
