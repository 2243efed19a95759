//! How a page that differs is told, and which difference is none.

use crate::memory_check;
use trapline_formats::memory::{PAGE_BYTES, is_zero};
use trapline_formats::{Difference, Gpa};
use trapline_machine::Memory;

/// Bits of a paging-structure entry (Intel SDM vol. 3, table 4-20).
const PRESENT: u64 = 1;
const ACCESSED: u64 = 1 << 5;
/// Where an entry points: bits 51:12.
const FRAME: u64 = 0x000f_ffff_ffff_f000;

const ZEROS: &str = "all zeros";

/// Names the page, and the first byte that differs.
pub(crate) fn first_byte(page: u64, recorded: &[u8], replayed: &[u8]) -> Difference {
    let at = recorded.iter().zip(replayed).position(|(a, b)| a != b).unwrap_or(0);
    let gpa = (page << 12).wrapping_add(at as u64);
    let byte = |bytes: &[u8]| match bytes.get(at) {
        Some(byte) if !is_zero(bytes) => format!("{byte:#04x} at {gpa:#x}"),
        _ => ZEROS.to_owned(),
    };
    Difference { name: name(page), expected: byte(recorded), actual: byte(replayed) }
}

fn name(page: u64) -> String {
    format!("page {:#x}", page << 12)
}

/// Names the page, and the hashes of both sides.
pub(crate) fn hashes(difference: memory_check::Difference, zeros: u64) -> Difference {
    let show = |hash| if hash == zeros { ZEROS.to_owned() } else { format!("{hash:016x}") };
    Difference {
        name: name(difference.page),
        expected: show(difference.recorded),
        actual: show(difference.replayed),
    }
}

/// Whether both are page tables that differ in nothing but accessed bits. A processor may set those for accesses that never come, such as
/// prefetches (SDM vol. 3, 4.8 and 4.10.2.3); a dirty bit it sets for a write only (4.8), so that one counts.
pub(crate) fn differs_in_accessed_bits(recorded: &[u8], replayed: &[u8], memory: &Memory) -> bool {
    is_so::<8>(recorded, replayed, memory) || is_so::<4>(recorded, replayed, memory)
}

fn is_so<const ENTRY: usize>(recorded: &[u8], replayed: &[u8], memory: &Memory) -> bool {
    let entries = |page| <[u8]>::as_chunks::<ENTRY>(page).0.iter().map(entry::<ENTRY>);
    let is_table = entries(recorded).all(|entry| is_entry(entry, memory));
    is_table
        && recorded.len() == PAGE_BYTES
        && recorded.len() == replayed.len()
        && entries(recorded)
            .zip(entries(replayed))
            .all(|(a, b)| a == b || a ^ b == ACCESSED && a & PRESENT != 0)
}

fn entry<const ENTRY: usize>(bytes: &[u8; ENTRY]) -> u64 {
    bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Nothing, or what is not present, or something that points to memory.
fn is_entry(entry: u64, memory: &Memory) -> bool {
    entry & PRESENT == 0 || memory.contains(Gpa(entry & FRAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::MemoryRegion;

    fn memory() -> Memory {
        Memory::new(&[MemoryRegion { gpa: 0, bytes: 16 << 12, readonly: false }]).unwrap()
    }

    fn page(entries: &[(usize, u64)]) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES];
        for (i, entry) in entries {
            page[8 * i..8 * i + 8].copy_from_slice(&entry.to_le_bytes());
        }
        page
    }

    #[test]
    fn accessed_bits_of_a_page_table_are_told_apart() {
        let recorded = page(&[(0, 0x3003), (7, 0x8000_0000_0000_5063), (9, 0xdead_beef_0000)]);
        let replayed = page(&[(0, 0x3023), (7, 0x8000_0000_0000_5043), (9, 0xdead_beef_0000)]);
        assert!(differs_in_accessed_bits(&recorded, &replayed, &memory()));
        assert!(differs_in_accessed_bits(&replayed, &recorded, &memory()));
    }

    #[test]
    fn nothing_else_is() {
        let differs =
            |a: &[(usize, u64)], b: &[(usize, u64)]| differs_in_accessed_bits(&page(a), &page(b), &memory());
        // A dirty bit, a bit of an entry that is not present, a page that points nowhere, one that is no table.
        assert!(!differs(&[(0, 0x3003)], &[(0, 0x3063)]));
        assert!(!differs(&[(0, 0x3002)], &[(0, 0x3022)]));
        assert!(!differs(&[(0, 0x3003), (1, 0x1_0003)], &[(0, 0x3023), (1, 0x1_0003)]));
        assert!(!differs(&[(0, 0x3003), (5, u64::MAX)], &[(0, 0x3023), (5, u64::MAX)]));
    }

    #[test]
    fn the_first_byte_that_differs_is_named() {
        let told = first_byte(0x123, &page(&[(2, 0x1200)]), &page(&[(2, 0x3400), (9, 1)]));
        assert_eq!(told.name, "page 0x123000");
        assert_eq!((told.expected.as_str(), told.actual.as_str()), ("0x12 at 0x123011", "0x34 at 0x123011"));
    }
}
