//! Where the time of a recording went.

use crate::aggregate::Aggregate;
use crate::floor::PathFloor;
use crate::groups::Groups;
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
    /// In kernel and hardware, for exits other than HLT. Estimated.
    pub path_ns: u64,
    /// The guest's own computing: guest intervals less the estimated path. Estimated.
    pub guest_ns: u64,
    /// Waiting after HLT. Measured.
    pub idle_ns: u64,
    /// `vmm_ns + path_ns`: what shares are shares of.
    pub cost_ns: u64,
}

/// The times of one row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowTime {
    pub(crate) idle: bool,
    pub(crate) vmm_ns: u64,
    pub(crate) guest_ns: u64,
    pub(crate) path_ns: u64,
    /// VMM time and path, in ticks.
    pub(crate) cost: u128,
    /// VMM time and guest interval, in ticks.
    pub(crate) time: u128,
}

/// Divides the time of a recording among the rows, so that the rows add up to the totals to the nanosecond.
pub(crate) fn divide(
    aggregate: &Aggregate,
    groups: &Groups,
    sites: &[Site],
    floors: &[PathFloor],
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
    let (mut vmm, mut waiting, mut guest, mut path) =
        (Apportion::new(ticks), Apportion::new(ticks), Apportion::new(ticks), Apportion::new(ticks));
    let row = |(group, tally): (usize, &crate::tally::Tally)| {
        let idle = is_idle(group);
        let (vmm_ticks, guest_ticks) = (tally.vmm.total(), tally.guest.total());
        let path_ticks = if idle { 0 } else { path_of(&groups.members[group], aggregate, sites, floors) };
        RowTime {
            idle,
            vmm_ns: if idle { waiting.next(vmm_ticks) } else { vmm.next(vmm_ticks) },
            guest_ns: guest.next(guest_ticks),
            path_ns: path.next(path_ticks),
            cost: if idle { 0 } else { vmm_ticks + path_ticks },
            time: if idle { 0 } else { vmm_ticks + guest_ticks },
        }
    };
    let rows = aggregate.tallies.iter().enumerate().map(row).collect();
    totals.vmm_ns = vmm.total();
    totals.path_ns = path.total();
    totals.guest_ns = guest.total().saturating_sub(path.total());
    totals.idle_ns = waiting.total();
    totals.cost_ns = totals.vmm_ns.saturating_add(totals.path_ns);
    totals.total_ns = totals.cost_ns.saturating_add(totals.guest_ns).saturating_add(totals.idle_ns);
    (totals, rows)
}

/// The estimated exit path of some sites: for each, the floor of its kind times its exits, and not more than was measured.
fn path_of(members: &[u32], aggregate: &Aggregate, sites: &[Site], floors: &[PathFloor]) -> u128 {
    let of_site = |&site: &u32| {
        let time = aggregate.sites[site as usize];
        let floor = floors[sites[site as usize].kind as usize].ticks;
        (u128::from(floor) * u128::from(time.timed)).min(time.guest)
    };
    members.iter().map(of_site).sum()
}
