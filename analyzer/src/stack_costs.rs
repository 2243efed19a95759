//! What each call stack of a site cost.

use crate::ranking::Row;
use crate::stacks::Stacks;
use crate::stream::Batch;
use std::collections::BTreeMap;
use trapline_formats::Timing;

/// The exits of one site with one stack.
#[derive(Debug, Clone, Copy, Default)]
struct StackTime {
    count: u64,
    timed: u64,
    /// VMM time in ticks.
    vmm: u128,
}

/// Exits and times by site and stack. Exits that the replay did not come to have none.
#[derive(Debug, Default)]
pub(crate) struct StackTimes(BTreeMap<(u32, Option<u32>), StackTime>);

impl StackTimes {
    pub(crate) fn add(&mut self, batch: &Batch, stacks: &Stacks, use_timings: bool) {
        let timings = if use_timings { batch.timings.as_slice() } else { &[] };
        let timings = timings.iter().map(Some).chain(std::iter::repeat(None));
        for (exit, timing) in batch.inputs.exits().zip(timings) {
            let time = self.0.entry((exit.site, stacks.of(exit.index))).or_default();
            time.count += 1;
            if let Some(Timing { vmm, .. }) = timing {
                time.timed += 1;
                time.vmm += u128::from(*vmm);
            }
        }
    }
}

/// The exits of one site that were called the same way. Times are 0 where the trace holds none, and add up to those of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackCost {
    /// The site.
    pub site: u32,
    /// The stack, by its number in [`Stacks`]; `None` where the replay did not come to these exits.
    pub stack: Option<u32>,
    /// Whether it is idleness.
    pub idle: bool,
    /// Exits.
    pub count: u64,
    /// VMM time; of HLT, waiting.
    pub vmm_ns: u64,
    /// The estimated exit path.
    pub path_ns: u64,
    /// VMM time without the recorder's share, and path; none of HLT.
    pub cost_ns: u64,
}

/// Divides the times of each site that has a row among its stacks, in the order of the sites: measured VMM time as it was measured, the recorder's share by it, the exit path
/// by exits.
pub(crate) fn divide(stacks: &StackTimes, rows: &[Row]) -> Vec<StackCost> {
    let mut all = Vec::with_capacity(stacks.0.len());
    let mut sites: Vec<_> = rows.iter().filter_map(|row| Some((row.site()?, row.time))).collect();
    sites.sort_unstable_by_key(|(id, _)| *id);
    for (id, site) in sites {
        let of_site = || stacks.0.range((id, None)..=(id, Some(u32::MAX)));
        let mut vmm = Shares::of(site.vmm_ns, of_site().map(|(_, t)| t.vmm).sum());
        let mut recorder = Shares::of(site.recorder_ns, of_site().map(|(_, t)| t.vmm).sum());
        let mut path = Shares::of(site.path_ns, of_site().map(|(_, t)| u128::from(t.timed)).sum());
        let mut rows: Vec<_> = of_site()
            .map(|(&(_, stack), time)| {
                let (vmm_ns, path_ns) = (vmm.next(time.vmm), path.next(time.timed.into()));
                let ours = vmm_ns.saturating_sub(recorder.next(time.vmm));
                let cost_ns = if site.idle { 0 } else { ours.saturating_add(path_ns) };
                StackCost { site: id, stack, idle: site.idle, count: time.count, vmm_ns, path_ns, cost_ns }
            })
            .collect();
        rows.sort_by_key(|r| (std::cmp::Reverse((r.cost_ns, r.vmm_ns, r.count)), r.stack));
        all.extend(rows);
    }
    all
}

/// Divides a number so that the parts add up to it.
struct Shares {
    total: u64,
    whole: u128,
    sum: u128,
    given: u64,
}

impl Shares {
    fn of(total: u64, whole: u128) -> Self {
        Self { total, whole: whole.max(1), sum: 0, given: 0 }
    }

    fn next(&mut self, part: u128) -> u64 {
        self.sum += part;
        // Ticks of a recording have far less than 64 bits more than its nanoseconds: this saturates for no real trace.
        let until = (u128::from(self.total).saturating_mul(self.sum) / self.whole) as u64;
        let before = std::mem::replace(&mut self.given, until);
        until.saturating_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_add_up_to_the_whole(total in 0u64..1 << 60, parts in prop::collection::vec(0u64..1 << 50, 1..50)) {
            let whole: u128 = parts.iter().map(|&p| u128::from(p)).sum();
            let mut shares = Shares::of(total, whole);
            let given: u64 = parts.iter().map(|&p| shares.next(p.into())).sum();
            prop_assert_eq!(given, if whole == 0 { 0 } else { total });
        }
    }
}
