//! Counts accesses that no device answered.

use std::collections::BTreeMap;
use trapline_formats::{Space, Unclaimed};

/// Addresses kept; a guest that probes more has its later ones counted under none.
const KEPT: usize = 4096;

/// Counts by address.
#[derive(Debug, Default)]
pub(crate) struct UnclaimedCounts(BTreeMap<(Space, u64), (u64, u64)>);

impl UnclaimedCounts {
    #[cold]
    pub(crate) fn count(&mut self, space: Space, address: u64, is_write: bool) {
        let is_full = self.0.len() >= KEPT;
        if is_full && !self.0.contains_key(&(space, address)) {
            return;
        }
        let (reads, writes) = self.0.entry((space, address)).or_default();
        *(if is_write { writes } else { reads }) += 1;
    }

    pub(crate) fn into_list(self) -> Vec<Unclaimed> {
        self.0
            .into_iter()
            .map(|((space, address), (reads, writes))| Unclaimed { space, address, reads, writes })
            .collect()
    }
}
