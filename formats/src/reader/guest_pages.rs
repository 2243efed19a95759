//! The pages that a guest has, by what its trace says of its memory: whatever that is.

use crate::header::MemoryRegion;
use crate::memory::PAGE_BYTES;
use std::ops::Range;

/// Ranges of page numbers, ascending, without an overlap.
#[derive(Debug)]
pub(super) struct GuestPages(Vec<Range<u64>>);

impl GuestPages {
    pub(super) fn of(memory: &[MemoryRegion]) -> Self {
        let page = |gpa: u64| gpa / PAGE_BYTES as u64;
        let mut all: Vec<_> =
            memory.iter().map(|r| page(r.gpa)..page(r.gpa.saturating_add(r.bytes))).collect();
        all.sort_unstable_by_key(|range| range.start);
        let mut end = 0;
        for range in &mut all {
            range.start = range.start.max(end);
            end = end.max(range.end);
        }
        all.retain(|range| !range.is_empty());
        Self(all)
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether this is one.
    pub(super) fn has(&self, page: u64) -> bool {
        let at = self.0.partition_point(|range| range.end <= page);
        self.0.get(at).is_some_and(|range| range.contains(&page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(regions: &[(u64, u64)]) -> GuestPages {
        let region = |&(gpa, bytes)| MemoryRegion { gpa, bytes, readonly: false };
        GuestPages::of(&regions.iter().map(region).collect::<Vec<_>>())
    }

    #[test]
    fn a_guest_has_the_pages_of_its_regions() {
        let pages = pages(&[(0xf_f000, 0x1000), (0, 0x2000)]);
        assert_eq!(pages.len(), 3);
        let found: Vec<_> = (0..0x200).filter(|page| pages.has(*page)).collect();
        assert_eq!(found, [0, 1, 0xff]);
    }

    #[test]
    fn regions_that_overlap_or_end_nowhere_are_counted_once() {
        assert_eq!(pages(&[(0, 0x3000), (0x1000, 0x1000), (0x1000, 0x4000)]).len(), 5);
        let all = pages(&[(0, u64::MAX), (u64::MAX - 10, u64::MAX), (0x1000, u64::MAX)]);
        assert_eq!(all.len(), u64::MAX / PAGE_BYTES as u64);
        assert!(all.has(1 << 40) && !all.has(u64::MAX));
        assert!(!pages(&[]).has(0));
    }
}
