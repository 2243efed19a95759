//! System.map, `nm` and `/proc/kallsyms`: lines of address, type and name.

use super::table::{Entry, Table};

/// The head of the list of modules (kernel/module/main.c).
pub(super) const MODULES: &[u8] = b"modules";

/// A line of such a file.
enum Line {
    Code(Entry),
    /// The head of the list of modules.
    Modules(u64),
    /// Data, or what has no address.
    Other,
    /// No line of such a file at all.
    Foreign,
}

/// Reads the lines. `None` where they name no code, or most of them are something else.
pub(super) fn read(bytes: &[u8]) -> Option<Table> {
    let (mut entries, mut modules, mut known, mut foreign) = (Vec::new(), None, 0, 0);
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        match parse(line).unwrap_or(Line::Foreign) {
            Line::Code(entry) => entries.push(entry),
            Line::Modules(address) => modules = Some(address),
            Line::Other => known += 1,
            Line::Foreign => foreign += 1,
        }
    }
    (!entries.is_empty() && entries.len() + known > foreign)
        .then(|| Table::new(entries).with_modules(modules))
}

fn parse(line: &[u8]) -> Option<Line> {
    let mut parts = line.trim_ascii().split(u8::is_ascii_whitespace).filter(|p| !p.is_empty());
    let address = u64::from_str_radix(std::str::from_utf8(parts.next()?).ok()?, 16).ok()?;
    let &[kind] = parts.next()? else { return None };
    let name = parts.next()?;
    // "[module]" follows the name of a symbol of a module.
    let module = parts.next().filter(|m| m.starts_with(b"["));
    if name == MODULES && module.is_none() && address != 0 && b"dDbB".contains(&kind) {
        return Some(Line::Modules(address));
    }
    let Some(rank) = rank(kind).filter(|_| address != 0) else { return Some(Line::Other) };
    let name = module.map_or(name.to_vec(), |module| [name, b" ", module].concat());
    Some(Line::Code(Entry { address, size: 0, rank, name }))
}

/// How well a symbol of this type names code (nm(1)); `None` for data.
pub(super) fn rank(kind: u8) -> Option<u8> {
    match kind {
        b'T' => Some(0),
        b't' => Some(1),
        b'W' | b'w' => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_and_other_text_is_not() {
        let map = b"ffffffff81000000 T _text\nffffffff81000000 T startup_64\nffffffff81000100 t a\nffffffff81000200 D data\n\
            ffffffffc0000000 t probe\t[virtio_blk]\n                 U printk x\n";
        let table = read(map).unwrap();
        let name = |address| table.at(address).map(|f| String::from_utf8_lossy(f.name).into_owned());
        assert_eq!(name(0xffff_ffff_8100_0010).as_deref(), Some("_text"));
        assert_eq!(name(0xffff_ffff_8100_0180).as_deref(), Some("a"));
        assert_eq!(name(0xffff_ffff_c000_0001).as_deref(), Some("probe [virtio_blk]"));
        assert!(read(b"#!/bin/sh\necho hello\n").is_none());
        assert!(read(b"\x7fELF\x02\x01\x01").is_none());
        assert!(read(b"").is_none());
    }

    #[test]
    fn a_map_without_addresses_has_no_symbols() {
        // What /proc/kallsyms shows to those who may not know (kptr_restrict).
        assert!(read(b"0000000000000000 T a\n0000000000000000 T b\n").is_none());
    }
}
