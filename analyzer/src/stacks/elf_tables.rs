//! The unwinding tables of an ELF file, or of a kernel in memory.

use super::cfi::Cfi;
use super::cpu::{Cpu, Step};
use super::memory::Memory;
use super::orc;
use super::orc_search;
use super::orc_table::OrcTable;
use crate::symbols::{Chunk, section_contents};
use object::{Object, ObjectSection};
use std::ops::Range;

/// The tables of one source.
pub(super) struct Tables {
    /// What is added to its addresses.
    offset: u64,
    orc: Option<OrcTable>,
    cfi: Cfi,
}

impl Tables {
    /// The tables of a file; none, where it is no ELF file.
    pub(super) fn of_elf(file: &[u8], offset: u64) -> Self {
        let mut tables = Self { offset, orc: None, cfi: Cfi::default() };
        let Some(elf) = object::File::parse(file).ok().filter(Object::is_64) else { return tables };
        let section = |name: &str| {
            let section = elf.section_by_name(name)?;
            Some((section.address(), section_contents(&section)?))
        };
        if let (Some((at, ips)), Some((_, entries))) = (section(".orc_unwind_ip"), section(".orc_unwind")) {
            tables.orc = OrcTable::new((at, &ips), &entries);
        }
        let text = elf.section_by_name(".text").map_or(0, |s| s.address());
        if let Some((at, bytes)) = section(".eh_frame") {
            tables.cfi.add_eh_frame(at, text, &bytes);
        }
        if let Some((_, bytes)) = section(".debug_frame") {
            tables.cfi.add_debug_frame(&bytes);
        }
        tables
    }

    /// The tables in the memory of a kernel whose code has these addresses.
    pub(super) fn of_kernel(memory: &[Chunk], code: &Range<u64>, offset: u64) -> Self {
        Self { offset, orc: orc_search::find(memory, code), cfi: Cfi::default() }
    }

    /// The way out of a frame, if its code is described here.
    pub(super) fn step(&self, cpu: &Cpu, memory: &mut Memory<'_>) -> Option<Step> {
        let entry = self.orc.as_ref().and_then(|orc| orc.at(cpu.inside().wrapping_sub(self.offset)));
        let by_orc = entry.and_then(|entry| orc::step(entry, cpu, memory));
        by_orc.or_else(|| self.cfi.step(cpu, self.offset, memory))
    }
}
