//! Something known of every page of one guest.

use trapline_formats::MemoryRegion;
use trapline_formats::memory::PAGE_BYTES;

/// A value for each page of one guest's memory.
#[derive(Debug, Clone)]
pub struct PageTable<T> {
    /// By region: the number of its first page, and a value for each.
    regions: Vec<(u64, Vec<T>)>,
}

impl<T: Copy> PageTable<T> {
    /// The same for every page of these regions, which ascend.
    pub fn filled(regions: &[MemoryRegion], value: T) -> Self {
        let page = PAGE_BYTES as u64;
        let of = |r: &MemoryRegion| (r.gpa / page, vec![value; (r.bytes / page) as usize]);
        Self { regions: regions.iter().map(of).collect() }
    }

    /// What is known of a page; `None` where the guest has none of this number.
    pub fn get(&self, page: u64) -> Option<T> {
        self.regions.iter().find_map(|(first, values)| values.get(index(*first, page)?).copied())
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, page: u64) -> Option<&mut T> {
        self.regions.iter_mut().find_map(|(first, values)| values.get_mut(index(*first, page)?))
    }

    /// Every page with what is known of it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, T)> {
        self.regions.iter().flat_map(|(first, values)| (*first..).zip(values.iter().copied()))
    }
}

fn index(first: u64, page: u64) -> Option<usize> {
    page.checked_sub(first).and_then(|i| usize::try_from(i).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_place_of_its_own_and_no_other_has_one() {
        let region =
            |page: u64, pages: u64| MemoryRegion { gpa: page << 12, bytes: pages << 12, readonly: false };
        let mut table = PageTable::filled(&[region(0, 2), region(0x100, 3)], 0);
        for (page, value) in [(1, 5), (0x100, 6), (0x102, 7)] {
            *table.get_mut(page).unwrap() = value;
        }
        assert_eq!(table.iter().collect::<Vec<_>>(), [(0, 0), (1, 5), (0x100, 6), (0x101, 0), (0x102, 7)]);
        assert_eq!(
            (table.get(1), table.get(2), table.get(0x103), table.get(u64::MAX)),
            (Some(5), None, None, None)
        );
    }
}
