//! Functions and code of an ELF file.

use super::placement::Chunk;
use super::table::{Entry, Table};
use super::text::MODULES;
use object::elf::PF_X;
use object::{Object, ObjectKind, ObjectSegment, ObjectSymbol, SegmentFlags, SymbolKind};

/// What an ELF file holds.
pub(super) struct Elf {
    pub(super) table: Table,
    /// Its executable segments at their own addresses.
    pub(super) code: Vec<Chunk>,
    /// The other loaded segments.
    pub(super) data: Vec<Chunk>,
}

/// Whether it is an ELF file that a linker has yet to place.
pub(super) fn is_unlinked(file: &[u8]) -> bool {
    object::File::parse(file).is_ok_and(|elf| elf.kind() == ObjectKind::Relocatable)
}

/// Reads an ELF file; `None` where it is none.
pub(super) fn read(file: &[u8]) -> Option<Elf> {
    let elf = object::File::parse(file).ok()?;
    let (mut code, mut data) = (Vec::new(), Vec::new());
    for segment in elf.segments() {
        let Some(bytes) = segment.data().ok().filter(|b| !b.is_empty()) else { continue };
        let executable = matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags & PF_X != 0);
        let chunks = if executable { &mut code } else { &mut data };
        chunks.push((segment.address(), bytes.to_vec()));
    }
    let symbols = elf.symbols().chain(elf.dynamic_symbols());
    let modules = elf.symbols().find(|s| s.name_bytes() == Ok(MODULES)).map(|s| s.address());
    let table = Table::new(symbols.filter_map(|s| entry(&s)).collect()).with_modules(modules);
    Some(Elf { table, code, data })
}

fn entry<'a>(symbol: &impl ObjectSymbol<'a>) -> Option<Entry> {
    let name = symbol.name_bytes().ok().filter(|n| !n.is_empty() && !n.starts_with(b"$"))?;
    if symbol.is_undefined() || symbol.address() == 0 {
        return None;
    }
    // Assembly often leaves its labels without a type; what is absolute or data names no code.
    let kind = match symbol.kind() {
        SymbolKind::Text => 0,
        SymbolKind::Label | SymbolKind::Unknown if symbol.section_index().is_some() => 4,
        _ => return None,
    };
    let binding = match (symbol.is_weak(), symbol.is_global()) {
        (true, _) => 2,
        (false, true) => 0,
        (false, false) => 1,
    };
    Some(Entry { address: symbol.address(), size: symbol.size(), rank: kind + binding, name: name.to_vec() })
}
