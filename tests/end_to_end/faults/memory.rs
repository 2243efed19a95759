//! Memory at the start is another, or what was rewritten in it.

use super::fault::Fault;
use crate::support::plain::Plain;

const PAGE: usize = 4096;
/// CR0.PG and the bits of CR3 that are an address.
const PAGING: u64 = 1 << 31;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "byte of code at the start",
        places: |plain| (0..plain.sites.len()).filter(|i| code_at(plain, *i).is_some()).collect(),
        put: |plain, site| {
            let at = code_at(plain, site).unwrap();
            *byte(plain, at).unwrap() ^= 1;
        },
    },
    Fault {
        name: "byte of data at the start",
        places: |plain| text(plain).into_iter().flat_map(|(at, length)| at..at + length).collect(),
        put: |plain, at| *byte(plain, at).unwrap() ^= 0x20,
    },
    Fault {
        name: "page table at the start",
        places: |plain| {
            let table = page_table(plain).unwrap_or_default();
            (0..512)
                .map(|i| table + 8 * i)
                .filter(|at| value(plain, *at).is_some_and(|v| v & 1 == 1))
                .collect()
        },
        // Not present.
        put: |plain, at| *byte(plain, at).unwrap() ^= 1,
    },
    Fault {
        name: "byte of a page that nobody reads",
        places: |plain| (0..plain.pages.len()).collect(),
        put: |plain, page| plain.pages[page].1[PAGE - 3] ^= 0x10,
    },
    Fault {
        name: "page added at the start",
        places: |plain| {
            let pages = plain.header.memory[0].bytes as usize / PAGE;
            let is_free = |page: &usize| plain.pages.iter().all(|(number, _)| *number != *page as u64);
            (0x20..pages.min(0x9f)).filter(is_free).collect()
        },
        put: |plain, page| {
            plain.pages.push((page as u64, vec![0x5a; PAGE]));
            // A block of pages is ascending.
            plain.pages.sort_unstable();
        },
    },
    Fault {
        name: "page dropped at the start",
        places: |plain| (0..plain.pages.len()).collect(),
        put: |plain, page| _ = plain.pages.remove(page),
    },
    Fault {
        name: "two pages exchanged at the start",
        places: |plain| {
            (0..plain.pages.len().saturating_sub(1))
                .filter(|i| plain.pages[*i].1 != plain.pages[i + 1].1)
                .collect()
        },
        put: |plain, page| {
            let (before, after) = plain.pages.split_at_mut(page + 1);
            std::mem::swap(&mut before[page].1, &mut after[0].1);
        },
    },
    Fault {
        name: "site put back",
        places: |plain| (0..plain.header.rewrites.len()).collect(),
        put: |plain, rewrite| {
            let rewrite = plain.header.rewrites.remove(rewrite);
            for (i, original) in rewrite.original.iter().enumerate() {
                *byte(plain, rewrite.gpa as usize + i).unwrap() = *original;
            }
        },
    },
    Fault {
        name: "port that stands for clock reads",
        places: |plain| {
            plain.header.stand_ins.clock.map_or_else(Vec::new, |port| vec![0, 1, usize::from(port ^ 1)])
        },
        put: |plain, which| {
            plain.header.stand_ins.clock = match which {
                0 => None,
                1 => plain.header.stand_ins.clock.map(|port| port ^ 2),
                other => Some(other as u8),
            }
        },
    },
];

/// A byte of memory at the start, where the trace has its page.
fn byte(plain: &mut Plain, at: usize) -> Option<&mut u8> {
    let page = plain.pages.iter_mut().find(|(number, _)| *number == (at / PAGE) as u64)?;
    Some(&mut page.1[at % PAGE])
}

fn value(plain: &Plain, at: usize) -> Option<u8> {
    plain.pages.iter().find(|(number, _)| *number == (at / PAGE) as u64).map(|page| page.1[at % PAGE])
}

/// The first byte of the instruction of a site, where it is at the start what it is when it is executed.
fn code_at(plain: &Plain, site: usize) -> Option<usize> {
    let instruction = &plain.sites[site].instruction;
    let at = usize::try_from(instruction.address.0).ok()?;
    let is_there =
        |(i, expected): (usize, &u8)| value(plain, at.checked_add(i)?).filter(|there| there == expected);
    instruction.bytes.iter().enumerate().all(|byte| is_there(byte).is_some()).then_some(at)
}

/// Runs of printable bytes, as the messages of guests are: where they begin, and how long they are.
fn text(plain: &Plain) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (number, content) in &plain.pages {
        let mut begin = 0;
        for (i, byte) in content.iter().enumerate() {
            if !(byte.is_ascii_lowercase() || *byte == b' ') {
                if i - begin >= 4 {
                    found.push((*number as usize * PAGE + begin, i - begin));
                }
                begin = i + 1;
            }
        }
    }
    found
}

fn page_table(plain: &Plain) -> Option<usize> {
    let [cr0, _, cr3, ..] = plain.start.system.control;
    (cr0 & PAGING != 0).then_some((cr3 & ADDRESS) as usize)
}
