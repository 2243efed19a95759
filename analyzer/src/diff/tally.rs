//! How many exits each site has, and how long they took.

use crate::aggregate::SiteTime;
use std::collections::BTreeMap;
use trapline_formats::Timing;

/// The exits of one site.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SiteTally {
    pub(super) exits: u64,
    pub(super) time: SiteTime,
}

impl SiteTally {
    #[inline]
    pub(super) fn add(&mut self, timing: Option<Timing>) {
        self.exits += 1;
        if let Some(timing) = timing {
            self.time.timed += 1;
            self.time.guest += u128::from(timing.guest);
            self.time.vmm += u128::from(timing.vmm);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.exits += other.exits;
        self.time.timed += other.time.timed;
        self.time.guest += other.time.guest;
        self.time.vmm += other.time.vmm;
    }
}

/// Of some exits, by common site.
pub(super) type FewSites = BTreeMap<u32, SiteTally>;

/// Adds some exits to all.
pub(super) fn merge(all: &mut [SiteTally], some: &FewSites) {
    for (site, tally) in some {
        if let Some(place) = all.get_mut(*site as usize) {
            place.merge(tally);
        }
    }
}
