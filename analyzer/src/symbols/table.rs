//! Functions by address.

use std::ops::Range;

/// A function that holds an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// Its name as the file has it.
    pub(crate) name: &'a [u8],
    /// Its first address.
    pub(crate) start: u64,
    /// The first address after it.
    pub(crate) end: u64,
}

/// A symbol as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) address: u64,
    /// 0: up to the next symbol.
    pub(crate) size: u64,
    /// Of several at one address, the lowest names it.
    pub(crate) rank: u8,
    pub(crate) name: Vec<u8>,
}

/// The functions of one file, by address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    /// Where a kernel has the head of its list of modules: the symbol `modules`, which is data.
    pub(crate) modules: Option<u64>,
}

/// A function that says no size is not longer than this: what follows is somebody else's.
const LONGEST: u64 = 1 << 20;

impl Table {
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        // Of equal rank, the shorter name: aliases are decorated.
        entries.sort_by(|a, b| {
            (a.address, a.rank, a.name.len(), &a.name).cmp(&(b.address, b.rank, b.name.len(), &b.name))
        });
        entries.dedup_by_key(|e| e.address);
        Self { entries, modules: None }
    }

    /// The same, of a kernel whose list of modules is there.
    pub(crate) fn with_modules(self, modules: Option<u64>) -> Self {
        Self { modules, ..self }
    }

    /// Forgets the functions of kernel modules, `name [module]`; how many.
    pub(crate) fn drop_modules(&mut self) -> usize {
        let before = self.entries.len();
        self.entries.retain(|e| !(e.name.ends_with(b"]") && e.name.contains(&b'[')));
        before - self.entries.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every function: its first address and its name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.entries.iter().map(|e| (e.address, e.name.as_slice()))
    }

    /// Where the first function starts.
    pub(crate) fn start(&self) -> Option<u64> {
        self.entries.first().map(|e| e.address)
    }

    /// The function that holds an address.
    pub(crate) fn at(&self, address: u64) -> Option<Found<'_>> {
        let after = self.entries.partition_point(|e| e.address <= address);
        let entry = self.entries.get(after.checked_sub(1)?)?;
        let next = self.entries.get(after).map_or(u64::MAX, |e| e.address);
        let range = extent(entry, next);
        range.contains(&address).then_some(Found { name: &entry.name, start: range.start, end: range.end })
    }

    /// The address of a symbol.
    pub(crate) fn address_of(&self, name: &[u8]) -> Option<u64> {
        self.entries.iter().find(|e| e.name == name).map(|e| e.address)
    }
}

fn extent(entry: &Entry, next: u64) -> Range<u64> {
    let size = if entry.size == 0 { LONGEST } else { entry.size };
    entry.address..entry.address.saturating_add(size).min(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: u64, size: u64, rank: u8, name: &str) -> Entry {
        Entry { address, size, rank, name: name.into() }
    }

    #[test]
    fn a_function_ends_where_it_says_or_where_the_next_begins() {
        let table = Table::new(vec![
            entry(0x30, 0, 0, "c"),
            entry(0x10, 8, 0, "a"),
            entry(0x20, 0x100, 1, "b_alias"),
            entry(0x20, 0x100, 0, "b"),
        ]);
        let at = |address| {
            table.at(address).map(|f| (String::from_utf8_lossy(f.name).into_owned(), f.start, f.end))
        };
        assert_eq!(at(0xf), None);
        assert_eq!(at(0x17), Some(("a".into(), 0x10, 0x18)));
        assert_eq!(at(0x18), None);
        assert_eq!(at(0x2f), Some(("b".into(), 0x20, 0x30)));
        assert_eq!(at(0x30 + LONGEST - 1).map(|f| f.1), Some(0x30));
        assert_eq!(at(0x30 + LONGEST), None);
        assert_eq!(table.address_of(b"c"), Some(0x30));
    }
}
