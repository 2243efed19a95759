//! Sets of pages of one guest, a bit for each page that it has.

use trapline_formats::MemoryRegion;
use trapline_formats::memory::PAGE_BYTES;

const WORD: u64 = u64::BITS as u64;

/// Pages of one guest's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSet {
    /// By region: the number of its first page, of how many, and a bit for each.
    regions: Vec<(u64, u64, Vec<u64>)>,
}

impl PageSet {
    /// No page of these regions, which ascend.
    pub fn empty(regions: &[MemoryRegion]) -> Self {
        let of = |r: &MemoryRegion| {
            let pages = r.bytes / PAGE_BYTES as u64;
            (r.gpa / PAGE_BYTES as u64, pages, vec![0; pages.div_ceil(WORD) as usize])
        };
        Self { regions: regions.iter().map(of).collect() }
    }

    /// Adds pages of a region, given as bits. Those behind its end count for nothing.
    pub(crate) fn add(&mut self, region: usize, bits: &[u64]) {
        let Some((_, pages, words)) = self.regions.get_mut(region) else { return };
        for (word, more) in words.iter_mut().zip(bits) {
            *word |= more;
        }
        if let (Some(last), rest @ 1..) = (words.last_mut(), *pages % WORD) {
            *last &= (1 << rest) - 1;
        }
    }

    /// Adds all pages of a region.
    pub(crate) fn add_all(&mut self, region: usize) {
        let words = self.regions.get(region).map_or(0, |(_, _, words)| words.len());
        self.add(region, &vec![u64::MAX; words]);
    }

    /// Adds a page; one that the guest has not counts for nothing.
    pub fn insert(&mut self, page: u64) {
        let region = self.regions.iter_mut().find(|(first, pages, _)| page.wrapping_sub(*first) < *pages);
        if let Some((first, _, words)) = region {
            words[((page - *first) / WORD) as usize] |= 1 << ((page - *first) % WORD);
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.regions.iter_mut().for_each(|(_, _, words)| words.fill(0));
    }

    /// Their numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.regions.iter().flat_map(|(first, _, words)| {
            words
                .iter()
                .zip(0u64..)
                .flat_map(move |(word, i)| bits(*word).map(move |bit| first + i * WORD + bit))
        })
    }
}

fn bits(mut word: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros());
        word &= word.wrapping_sub(1);
        bit.map(u64::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions() -> Vec<MemoryRegion> {
        let region =
            |page: u64, pages: u64| MemoryRegion { gpa: page << 12, bytes: pages << 12, readonly: false };
        vec![region(0, 70), region(0x100, 3)]
    }

    #[test]
    fn pages_come_out_ascending_and_once() {
        let mut set = PageSet::empty(&regions());
        for page in [0x102, 69, 0, 64, 63, 0, 70, 0x103, 0xff, u64::MAX] {
            set.insert(page);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 69, 0x102]);
        set.clear();
        assert_eq!(set, PageSet::empty(&regions()));
    }

    #[test]
    fn bits_behind_the_end_of_a_region_are_no_pages() {
        let mut set = PageSet::empty(&regions());
        set.add(0, &[1, u64::MAX]);
        set.add_all(1);
        set.add_all(2);
        let mut full = PageSet::empty(&regions());
        (0..regions().len()).for_each(|region| full.add_all(region));
        assert_eq!(full.iter().count(), 73);
        let expected: Vec<_> = std::iter::once(0).chain(64..70).chain(0x100..0x103).collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), expected);
    }
}
