//! Finds ORC tables in the memory of a kernel, where no section header says where they are.
//!
//! `.orc_unwind_ip` holds, for tens of thousands of ranges of code, the distance from the word itself to the first address of the
//! range, ascending from the first byte of the kernel's code, and nothing else in a kernel looks like that. `.orc_unwind` stands right
//! behind it (include/asm-generic/vmlinux.lds.h, ORC_UNWIND_TABLE), six bytes for each.

use super::orc_table::OrcTable;
use crate::symbols::Chunk;
use std::ops::Range;

const WORD: usize = 4;
/// The smallest kernel has more ranges.
const FEWEST: usize = 1000;

/// The tables of a kernel whose code has these addresses.
pub(super) fn find(chunks: &[Chunk], code: &Range<u64>) -> Option<OrcTable> {
    chunks.iter().find_map(|chunk| runs(chunk, code).find_map(|run| table(chunk, run)))
}

/// Runs of words that lead to ascending addresses of code.
fn runs<'a>((start, bytes): &'a Chunk, code: &'a Range<u64>) -> impl Iterator<Item = Range<usize>> + 'a {
    let words = bytes.as_chunks::<WORD>().0;
    let target = move |i: usize| {
        let place = start.wrapping_add((i * WORD) as u64);
        let address = place.wrapping_add_signed(i32::from_le_bytes(words[i]).into());
        code.contains(&address).then_some(address)
    };
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < words.len() {
            let first = at;
            let mut last = None;
            while at < words.len() && target(at).is_some_and(|address| last.is_none_or(|l| l <= address)) {
                last = target(at);
                at += 1;
            }
            if at - first >= FEWEST && target(first) == Some(code.start) {
                return Some(first * WORD..at * WORD);
            }
            // A word that ended a run may begin the next one.
            at = at.max(first + 1);
        }
        None
    })
}

/// The tables, if what stands behind a run are as many entries.
fn table((start, bytes): &Chunk, run: Range<usize>) -> Option<OrcTable> {
    let ips = bytes.get(run.clone())?;
    let entries = bytes.get(run.end..)?.get(..ips.len() / WORD * OrcTable::ENTRY)?;
    OrcTable::are_entries(entries)
        .then(|| OrcTable::new((start.wrapping_add(run.start as u64), ips), entries))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: u64 = 0xffff_ffff_8100_0000;
    const TABLE: usize = 0x4_0000;
    const RANGES: usize = 3000;

    /// A kernel: its code, something else that leads to code, too, and the tables. What the kernel throws away after its boot
    /// lies behind them, so the last ranges do.
    fn kernel(strays: usize) -> Chunk {
        let mut bytes: Vec<u8> = (0..TABLE).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        let relative = |at: usize, to: usize| (to as i32 - at as i32).to_le_bytes();
        for i in 0..strays {
            bytes.extend(relative(bytes.len(), 0x300 + i));
        }
        for i in 0..RANGES {
            let behind = if i < RANGES - 10 { 0 } else { 0x10_0000 };
            bytes.extend(relative(bytes.len(), behind + 16 * i));
        }
        for i in 0..RANGES {
            // sp: RSP + 8 (i + 1); a call, in the layout up to Linux 6.3.
            bytes.extend((8 * (i as i16 % 100 + 1)).to_le_bytes());
            bytes.extend([0, 0, 5, 0]);
        }
        bytes.extend([0xff; 64]);
        (KERNEL, bytes)
    }

    #[test]
    fn tables_are_found_wherever_they_are_and_are_those_of_the_sections() {
        let code = KERNEL..KERNEL + (1 << 30);
        for strays in [0, 3] {
            let kernel = kernel(strays);
            let at = TABLE + WORD * strays;
            let (ips, entries) = (&kernel.1[at..][..4 * RANGES], &kernel.1[at + 4 * RANGES..][..6 * RANGES]);
            let expected = OrcTable::new((KERNEL + at as u64, ips), entries).unwrap();
            let found = find(&[(0, vec![0; 64]), kernel.clone()], &code).unwrap();
            for i in 0..RANGES as u64 - 10 {
                let address = KERNEL + 16 * i + 3;
                assert_eq!(found.at(address), expected.at(address), "{strays} {i}");
            }
        }
    }

    #[test]
    fn what_is_no_table_is_none() {
        let code = KERNEL..KERNEL + (1 << 30);
        let whole = kernel(0);
        assert!(
            find(std::slice::from_ref(&whole), &(KERNEL + 16..KERNEL + 0x2_0000)).is_none(),
            "other code"
        );
        let mut damaged = whole.clone();
        damaged.1[TABLE + 4 * RANGES + 6 * 1500 + 4] = 0xee;
        assert!(find(&[damaged], &code).is_none(), "an entry that is none");
        let mut short = whole;
        short.1.truncate(TABLE + 4 * RANGES + 6 * (RANGES - 1));
        assert!(find(&[short], &code).is_none(), "entries are missing");
    }
}
