//! Which pages of anonymous memory were ever touched: the others are all zeros, and looking at them would have the kernel make
//! them first.

use std::fs::File;
use std::os::unix::fs::FileExt;
use trapline_formats::memory::PAGE_BYTES;

/// Bytes of an entry, and what it says (Linux, Documentation/admin-guide/mm/pagemap.rst): bit 63, the page is in RAM; bit 62, it is
/// swapped out, or on the move.
const ENTRY: usize = 8;
const HAS_CONTENT: u64 = 0b11 << 62;
/// Pages asked for at once.
const BATCH: usize = 512;

/// This process' page map.
pub(crate) struct PageMap {
    /// Not there without /proc.
    file: Option<File>,
}

impl PageMap {
    pub(crate) fn open() -> Self {
        Self { file: File::open("/proc/self/pagemap").ok() }
    }

    /// Calls `visit` with the number of each of `pages` pages, counted from a private anonymous mapping's start at `address`, that may
    /// hold something: every one that was written, and all of them where the kernel does not tell.
    pub(crate) fn for_each_used(&self, address: u64, pages: u64, mut visit: impl FnMut(u64)) {
        let mut first = 0;
        while first < pages {
            let batch = (pages - first).min(BATCH as u64);
            let used = self.used(address / PAGE_BYTES as u64 + first, batch as usize);
            for page in (0..batch).filter(|page| used[*page as usize]) {
                visit(first + page);
            }
            first += batch;
        }
    }

    fn used(&self, first: u64, pages: usize) -> [bool; BATCH] {
        let mut entries = [0; BATCH * ENTRY];
        let entries = &mut entries[..pages * ENTRY];
        let mut used = [true; BATCH];
        let is_read =
            self.file.as_ref().is_some_and(|f| f.read_exact_at(entries, first * ENTRY as u64).is_ok());
        if is_read {
            for (used, entry) in used.iter_mut().zip(entries.as_chunks().0) {
                *used = u64::from_le_bytes(*entry) & HAS_CONTENT != 0;
            }
        }
        used
    }
}
