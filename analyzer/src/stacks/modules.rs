//! Linux's modules, as they are in the guest's memory at an exit: their names, functions and ORC tables.
//!
//! `modules` is a list of `struct module` (include/linux/module.h), whose first fields have been the same for decades: state, list,
//! name. Where its other fields are differs with version and configuration. So they are recognized by what they point to: a symbol
//! table begins with an empty symbol and its texts with an empty text, and ORC tables lead to ascending addresses of this very
//! module.

use super::memory::Memory;
use super::orc_table::OrcTable;
use crate::symbols::{Entry, Symbol, Table};
use std::ops::Range;
use trapline_formats::printable;

/// Where modules live, and the kernel's other memory (Documentation/arch/x86/x86_64/mm.rst).
const SPACE: Range<u64> = 0xffff_ffff_a000_0000..0xffff_ffff_ff00_0000;
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// `list` and `name` (MODULE_NAME_LEN: 64 - sizeof(long)).
const LIST: u64 = 8;
const NAME: Range<usize> = 24..80;
/// Bytes of a `struct module` that are looked at, in page-sized steps: it may lie at the end of its memory.
const STRUCT: u64 = 2048;
/// More is not believed.
const MOST_MODULES: usize = 1024;
const MOST_SYMBOLS: u32 = 1 << 17;
const MOST_TEXT: u64 = 4 << 20;
const LONGEST_NAME: usize = 512;
/// An Elf64_Sym: name (4), info, other, section (2), value (8), size (8).
const SYMBOL: usize = 24;
const STT_FUNC: u8 = 2;
/// The list is read at most so often: code that is in none of them may trap for ever.
const MOST_READINGS: u32 = 64;

/// A module.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub(crate) name: Vec<u8>,
    table: Table,
    extent: Range<u64>,
    orc: Option<OrcTable>,
}

/// The modules of a guest, read when something in one of them is looked for.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// The address of the list's head.
    list: Option<u64>,
    all: Vec<Module>,
    readings: u32,
}

impl Modules {
    /// Those of the kernel whose list has this address.
    pub(super) fn new(list: Option<u64>) -> Self {
        Self { list, ..Self::default() }
    }

    /// The module that holds an address; their list is read where none is known.
    pub(super) fn at(&mut self, address: u64, memory: &mut Memory<'_>) -> Option<&Module> {
        if !SPACE.contains(&address) {
            return None;
        }
        let known = |all: &[Module]| all.iter().position(|m| m.extent.contains(&address));
        if known(&self.all).is_none() && self.readings < MOST_READINGS {
            self.readings += 1;
            for module in self.list.map_or(Vec::new(), |list| read_all(list, memory)) {
                // Where one was unloaded, another may be loaded.
                let meets =
                    |m: &Module| m.extent.start < module.extent.end && module.extent.start < m.extent.end;
                self.all.retain(|m| !meets(m));
                self.all.push(module);
            }
        }
        known(&self.all).map(|place| &self.all[place])
    }

    pub(super) fn into_all(self) -> Vec<Module> {
        self.all
    }
}

impl Module {
    /// The function at an address: "probe [virtio_blk]".
    pub(crate) fn symbol(&self, address: u64) -> Option<Symbol> {
        let found = self.table.at(address)?;
        let name = [found.name, b" [", &self.name, b"]"].concat();
        Some(Symbol { name: printable(&name, false), start: found.start, line: None })
    }

    /// For people.
    pub(crate) fn note(&self) -> String {
        let name = printable(&self.name, false);
        format!("module {name} in the guest's memory (kallsyms, {})", self.table.len())
    }

    /// What is known of unwinding its code.
    pub(super) fn orc(&self) -> Option<&OrcTable> {
        self.orc.as_ref()
    }
}

fn read_all(list: u64, memory: &mut Memory<'_>) -> Vec<Module> {
    let mut all = Vec::new();
    let mut at = memory.now(list, 8).and_then(number);
    for _ in 0..MOST_MODULES {
        let Some(node) = at.filter(|node| *node != list && *node >= KERNEL) else { break };
        at = memory.now(node, 8).and_then(number);
        all.extend(read(node.wrapping_sub(LIST), memory));
    }
    all
}

fn number(bytes: Vec<u8>) -> Option<u64> {
    bytes.first_chunk().map(|b| u64::from_le_bytes(*b))
}

/// The module whose structure is here.
fn read(at: u64, memory: &mut Memory<'_>) -> Option<Module> {
    // Half of it may be on a page that is not there.
    let bytes = [STRUCT, STRUCT / 2].into_iter().find_map(|length| memory.now(at, length))?;
    let name = bytes.get(NAME)?.split(|b| *b == 0).next().filter(|n| is_name(n))?.to_vec();
    let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
    let pointers = words.iter().filter(|p| **p >= KERNEL);
    let entries = pointers.filter_map(|p| symbols(*p, memory)).max_by_key(Vec::len)?;
    let first = entries.iter().map(|e| e.address).min()?;
    let last = entries.iter().map(|e| e.address + e.size.max(1)).max()?;
    let extent = first..last;
    let orc = words.windows(3).find_map(|w| orc(w[0], w[1], w[2], &extent, memory));
    Some(Module { name, table: Table::new(entries), extent, orc })
}

fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_graphic)
}

/// The functions of a `struct mod_kallsyms`: symbols, their number, texts.
fn symbols(at: u64, memory: &mut Memory<'_>) -> Option<Vec<Entry>> {
    let head = memory.now(at, 24)?;
    let words: Vec<u64> = head.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
    let (table, count, texts) = (words[0], words[1] as u32, words[2]);
    if table < KERNEL || texts < KERNEL || !(2..MOST_SYMBOLS).contains(&count) {
        return None;
    }
    let symbols = memory.now(table, u64::from(count) * SYMBOL as u64)?;
    let symbols = symbols.as_chunks::<SYMBOL>().0;
    let named = |s: &[u8; SYMBOL]| u64::from(u32::from_le_bytes([s[0], s[1], s[2], s[3]]));
    let longest = symbols.iter().map(named).max().filter(|n| *n < MOST_TEXT)?;
    if symbols[0] != [0; SYMBOL] || memory.now(texts, 1)? != [0] {
        return None;
    }
    // The last text ends where nobody says: the end of its page is far enough.
    let most = longest + LONGEST_NAME as u64;
    let texts = (0..=LONGEST_NAME as u64).step_by(64).find_map(|less| memory.now(texts, most - less))?;
    let entry = |s: &[u8; SYMBOL]| {
        let word = |from: usize| u64::from_le_bytes(std::array::from_fn(|i| s[from + i]));
        // Before Linux 5.2, `info` holds the letter that kallsyms shows.
        let is_code = s[4] & 15 == STT_FUNC || b"tTwW".contains(&s[4]);
        let name = texts.get(named(s) as usize..)?.split(|b| *b == 0).next().filter(|n| is_name(n))?;
        (is_code && SPACE.contains(&word(8))).then(|| Entry {
            address: word(8),
            size: word(16).min(MOST_TEXT),
            rank: u8::from(s[4] >> 4 == 0),
            name: name.to_vec(),
        })
    };
    let entries: Vec<_> = symbols.iter().filter_map(entry).collect();
    (!entries.is_empty()).then_some(entries)
}

/// The tables of a `struct mod_arch_specific`: number, places, entries.
fn orc(count: u64, ips: u64, entries: u64, extent: &Range<u64>, memory: &mut Memory<'_>) -> Option<OrcTable> {
    let count = u64::from(count as u32);
    if !(1..1 << 20).contains(&count) || ips < KERNEL || entries < KERNEL {
        return None;
    }
    let places = memory.now(ips, 4 * count)?;
    let entries = memory.now(entries, OrcTable::ENTRY as u64 * count)?;
    let table = OrcTable::are_entries(&entries).then(|| OrcTable::new((ips, &places), &entries))??;
    // Its last range ends the code.
    let is_inside = table.starts().all(|start| (extent.start..=extent.end + 4096).contains(&start));
    is_inside.then_some(table)
}
