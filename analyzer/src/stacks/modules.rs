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
    let mut at = memory.now(list, 8).and_then(|bytes| number(&bytes));
    for _ in 0..MOST_MODULES {
        let Some(node) = at.filter(|node| *node != list && *node >= KERNEL) else { break };
        at = memory.now(node, 8).and_then(|bytes| number(&bytes));
        all.extend(read(node.wrapping_sub(LIST), memory));
    }
    all
}

fn number(bytes: &[u8]) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::Gva;

    const BASE: u64 = 0xffff_ffff_c000_0000;
    const LIST_HEAD: u64 = 0xffff_ffff_82a0_0000;
    const STRUCT_AT: u64 = BASE + 0x2000;
    const TEXT: [&[u8]; 3] = [b"", b"probe", b"remove"];

    /// The memory of a kernel with one module, at these addresses.
    struct Kernel(Vec<(u64, Vec<u8>)>);

    impl Kernel {
        fn read(&self, at: u64, into: &mut [u8]) -> usize {
            for (i, byte) in into.iter_mut().enumerate() {
                let address = at + i as u64;
                let found = self.0.iter().find_map(|(start, bytes)| {
                    bytes.get(usize::try_from(address.checked_sub(*start)?).ok()?).copied()
                });
                match found {
                    Some(found) => *byte = found,
                    None => return i,
                }
            }
            into.len()
        }

        /// What is known at an address after looking there.
        fn at(&self, modules: &mut Modules, address: u64) -> Option<(String, bool)> {
            let mut read = |at: Gva, into: &mut [u8]| self.read(at.0, into);
            let module = modules.at(address, &mut Memory::new(&mut read))?;
            Some((module.symbol(address)?.name, module.orc().is_some()))
        }
    }

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    fn symbol(name: u32, info: u8, value: u64, size: u64) -> Vec<u8> {
        [&name.to_le_bytes()[..], &[info, 0, 1, 0], &words(&[value, size])].concat()
    }

    /// A module of two functions, its structure with its other fields at this distance.
    fn kernel(fields: usize, name: &[u8]) -> Kernel {
        let mut module = words(&[0, LIST_HEAD, LIST_HEAD]);
        module.extend(name);
        module.resize(fields, 0);
        // kallsyms, something else, ORC: number, places, entries.
        module.extend(words(&[BASE + 0x4000, 7, 2, BASE + 0x7000, BASE + 0x8000]));
        module.resize(STRUCT as usize, 0);
        let symbols = [
            vec![0; SYMBOL],
            symbol(1, STT_FUNC, BASE + 0x10, 0x20),
            symbol(7, 0x10 | STT_FUNC, BASE + 0x40, 0x30),
            symbol(1, 1, BASE + 0x3000, 8),
        ]
        .concat();
        let ips = [0x10i64, 0x40].into_iter().zip(0..).map(|(to, i)| (to - (0x7000 + 4 * i)) as i32);
        Kernel(vec![
            (LIST_HEAD, words(&[STRUCT_AT + LIST, STRUCT_AT + LIST])),
            (STRUCT_AT, module),
            (BASE + 0x4000, words(&[BASE + 0x5000, 4, BASE + 0x6000])),
            (BASE + 0x5000, symbols),
            (BASE + 0x6000, [TEXT.join(&0), vec![0; 0x800]].concat()),
            (BASE + 0x7000, ips.flat_map(i32::to_le_bytes).collect()),
            (BASE + 0x8000, [8, 0, 0, 0, 5, 0].repeat(2)),
        ])
    }

    #[test]
    fn a_module_names_its_functions_wherever_its_fields_are() {
        for fields in [80, 264, 800, 1400] {
            let kernel = kernel(fields, b"virtio_blk");
            let mut modules = Modules::new(Some(LIST_HEAD));
            let mut at = |address| kernel.at(&mut modules, address);
            assert_eq!(at(BASE + 0x18), Some(("probe [virtio_blk]".into(), true)), "{fields}");
            assert_eq!(at(BASE + 0x41), Some(("remove [virtio_blk]".into(), true)));
            assert_eq!(at(BASE + 0x38), None, "between two functions");
            assert_eq!(at(0xffff_ffff_8100_0000), None, "the kernel itself");
        }
    }

    #[test]
    fn a_list_that_leads_nowhere_and_code_of_no_module_end() {
        let kernel = kernel(264, b"a module\x1b");
        let mut modules = Modules::new(Some(LIST_HEAD));
        assert_eq!(kernel.at(&mut modules, BASE + 0x18), None, "no name");
        assert_eq!(kernel.at(&mut Modules::new(None), BASE + 0x18), None);
        let mut broken = kernel_with_loop();
        let mut modules = Modules::new(Some(LIST_HEAD));
        for i in 0..2 * u64::from(MOST_READINGS) {
            assert_eq!(broken.at(&mut modules, BASE + 0x10_0000 + i), None);
        }
        assert_eq!(modules.readings, MOST_READINGS);
        broken.0.clear();
        assert_eq!(broken.at(&mut Modules::new(Some(LIST_HEAD)), BASE), None);
    }

    /// Its list does not come back to its head.
    fn kernel_with_loop() -> Kernel {
        let mut kernel = kernel(264, b"m");
        kernel.0[1].1[8..16].copy_from_slice(&(STRUCT_AT + LIST).to_le_bytes());
        kernel
    }
}
