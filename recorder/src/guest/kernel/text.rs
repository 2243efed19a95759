//! The code of a kernel in an ELF file: where it reads the clock.

use crate::sweep::Sweep;
use object::elf::{PT_LOAD, SHF_EXECINSTR, STT_FUNC, STT_NOTYPE};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{LittleEndian, elf::FileHeader64};

type Elf<'a> = ElfFile64<'a, LittleEndian>;

/// What is known of a kernel's code.
#[derive(Debug, Default)]
pub struct Text {
    /// Physical address of the entry point.
    pub entry: u64,
    /// Lowest physical address of what is loaded.
    pub start: u64,
    /// What was found, by virtual address.
    pub sweep: Sweep,
    /// (virtual address, physical address, bytes) of what is loaded.
    segments: Vec<(u64, u64, u64)>,
}

impl Text {
    /// Reads an ELF image for x86-64. The error is a reason in words.
    pub fn of(image: &[u8]) -> Result<Self, String> {
        let elf = Elf::parse(image).map_err(|e| format!("its ELF headers are damaged: {e}"))?;
        let header: &FileHeader64<LittleEndian> = elf.elf_header();
        let endian = LittleEndian;
        let mut text = Self { entry: header.e_entry(endian), start: u64::MAX, ..Self::default() };
        for segment in elf.elf_program_headers().iter().filter(|s| s.p_type(endian) == PT_LOAD) {
            let (from, bytes) = (segment.p_paddr(endian), segment.p_memsz(endian));
            text.segments.push((segment.p_vaddr(endian), from, bytes));
            text.start = text.start.min(from);
        }
        if text.segments.is_empty() {
            return Err("it has nothing to load".into());
        }
        let starts = functions(&elf);
        let mut left = image.len();
        for section in elf.elf_section_table().iter() {
            if section.sh_flags(endian) & u64::from(SHF_EXECINSTR) == 0 {
                continue;
            }
            let code = section.data(endian, image).map_err(|e| format!("a section is damaged: {e}"))?;
            left = left.checked_sub(code.len()).ok_or("its sections overlap")?;
            text.sweep.over(64, code, section.sh_addr(endian), &starts);
        }
        Ok(text)
    }

    /// First physical address after what is loaded.
    pub fn end(&self) -> u64 {
        self.segments.iter().map(|(_, from, bytes)| from.saturating_add(*bytes)).max().unwrap_or(0)
    }

    /// Where a virtual address is loaded.
    pub fn physical(&self, address: u64) -> Option<u64> {
        let holds = |(virt, _, bytes): &&(u64, u64, u64)| address.wrapping_sub(*virt) < *bytes;
        self.segments.iter().find(holds).map(|(virt, phys, _)| phys.wrapping_add(address - virt))
    }
}

/// Addresses at which functions and assembly labels begin, ascending.
fn functions(elf: &Elf<'_>) -> Vec<u64> {
    let mut starts: Vec<u64> = elf
        .elf_symbol_table()
        .iter()
        .filter(|s| matches!(s.st_type(), STT_FUNC | STT_NOTYPE) && !s.is_undefined(LittleEndian))
        .map(|s| s.st_value(LittleEndian))
        .collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}
