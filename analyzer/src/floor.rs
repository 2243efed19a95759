//! The exit path: what the kernel and the hardware take for an exit, estimated from the trace itself.
//!
//! A recording measures the interval from KVM_RUN entry to return. It holds the exit path *and* what the guest computed
//! before the exit, and only the former is the price of the exit. The guest that polls or prints in a loop computes next
//! to nothing between two exits: its shortest intervals *are* the path. So the path of a kind of exit is taken to be
//! the first percentile of its intervals; where a kind is too rare for that, the first percentile of all.

use crate::durations::Durations;
use trapline_formats::{ExitKind, Site, Timing};

/// A kind needs this many exits for a floor of its own: 10/(1 % from the end), as for a 99th percentile.
const ENOUGH: u64 = 1000;
const PERCENT: u64 = 1;

/// Intervals by kind of exit. Repeating instructions are left out: KVM returns between their batches without having been
/// in the guest. So is HLT, which is no cost.
#[derive(Debug, Default)]
pub(crate) struct Intervals {
    kinds: [Durations; ExitKind::ALL.len()],
}

/// The estimated path of one kind of exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathFloor {
    /// The kind of exit.
    pub kind: ExitKind,
    /// The estimate, in ticks of the trace's clock.
    pub ticks: u64,
    /// Number of exits whose intervals it was estimated from.
    pub samples: u64,
    /// Whether those were exits of this kind; otherwise, of all kinds.
    pub own: bool,
}

impl Intervals {
    /// Adds an exit.
    #[inline]
    pub(crate) fn add(&mut self, site: &Site, timing: Timing) {
        if !site.rep && site.kind != ExitKind::Halt {
            self.kinds[site.kind as usize].add(timing.guest);
        }
    }

    /// The estimates for all kinds, in the order of their discriminants.
    pub(crate) fn floors(&self) -> [PathFloor; ExitKind::ALL.len()] {
        let mut all = Durations::default();
        self.kinds.iter().for_each(|kind| all.merge(kind));
        ExitKind::ALL.map(|kind| {
            let own = &self.kinds[kind as usize];
            let enough = own.count() >= ENOUGH;
            let from = if enough { own } else { &all };
            let ticks = from.quantiles([PERCENT])[0].unwrap_or(0);
            PathFloor { kind, ticks, samples: from.count(), own: enough }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::{CpuMode, Gva, Instruction};

    fn site(kind: ExitKind, rep: bool) -> Site {
        let instruction = Instruction { address: Gva(0), bytes: Vec::new(), mode: CpuMode::Long64, cpl: 0 };
        Site { kind, address: 0, size: 1, rep, instruction }
    }

    #[test]
    fn a_rare_kind_takes_the_floor_of_all_and_repeats_and_halts_do_not_count() {
        let mut intervals = Intervals::default();
        for i in 0..2000u64 {
            intervals.add(&site(ExitKind::PortRead, false), Timing { guest: 1000 + i, vmm: 0 });
            intervals.add(&site(ExitKind::PortRead, true), Timing { guest: 1, vmm: 0 });
            intervals.add(&site(ExitKind::Halt, false), Timing { guest: 1, vmm: 0 });
        }
        intervals.add(&site(ExitKind::MmioRead, false), Timing { guest: 1 << 30, vmm: 0 });
        let floors = intervals.floors();
        let of = |kind: ExitKind| floors[kind as usize];
        assert_eq!(
            of(ExitKind::PortRead),
            PathFloor { kind: ExitKind::PortRead, ticks: 1019, samples: 2000, own: true }
        );
        assert_eq!(
            of(ExitKind::MmioRead),
            PathFloor { kind: ExitKind::MmioRead, ticks: 1020, samples: 2001, own: false }
        );
        assert_eq!(Intervals::default().floors()[0].ticks, 0);
    }
}
