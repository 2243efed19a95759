//! What of a multiboot kernel's file goes where: as its header says, or as its ELF headers do.

use super::header::{Addresses, Header};
use crate::sweep::Sweep;
use object::LittleEndian;
use object::elf::{EM_386, FileHeader32, PF_X, PT_LOAD, SHF_EXECINSTR, SHT_NOBITS, STT_FUNC, STT_NOTYPE};
use object::read::elf::{ElfFile32, FileHeader, ProgramHeader, SectionHeader, Sym};
use std::collections::{BTreeMap, BTreeSet};

type Elf<'a> = ElfFile32<'a, LittleEndian>;
const ENDIAN: LittleEndian = LittleEndian;

/// A part of the file and its place in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Offset in the file.
    pub offset: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Where it is loaded.
    pub gpa: u64,
    /// Bytes in memory: what the file does not fill is zero.
    pub bytes: u64,
    /// Where it runs once the kernel has turned paging on.
    pub linear: u64,
    /// Whether it may hold code.
    pub is_code: bool,
}

impl Segment {
    /// First address after it.
    pub fn end(&self) -> u64 {
        self.gpa + self.bytes
    }
}

/// What there is to load.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// How it was found, in words.
    pub entry: &'static str,
    /// Parts in the order of their addresses, that do not overlap.
    pub segments: Vec<Segment>,
    /// Physical address of the first instruction.
    pub ip: u64,
    /// Sources that decoding executable sections from end to end found, by offset: their length.
    pub sources: BTreeMap<u64, usize>,
}

impl Layout {
    /// Reads it off an image with this header; the guest's memory ends at `low`. The error is a reason in words.
    pub fn of(image: &[u8], header: &Header, low: u64) -> Result<Self, String> {
        let mut layout = match &header.addresses {
            Some(addresses) => by_header(image, header.offset, addresses)?,
            None => by_elf(image)?,
        };
        layout.segments.sort_by_key(|s| s.gpa);
        layout.check(low)?;
        Ok(layout)
    }

    fn check(&self, low: u64) -> Result<(), String> {
        let end = self.segments.iter().map(Segment::end).max().unwrap_or(0);
        if end > low {
            return Err(format!(
                "it needs memory up to {end:#x}, and the guest has {low:#x}: give it more --memory"
            ));
        }
        if let Some(pair) = self.segments.windows(2).find(|pair| pair[0].end() > pair[1].gpa) {
            return Err(format!("two of its segments overlap at {:#x}", pair[1].gpa));
        }
        if !self.segments.iter().any(|s| (s.gpa..s.gpa + s.file_bytes).contains(&self.ip)) {
            return Err(format!("its entry point {:#x} is in nothing that it loads", self.ip));
        }
        Ok(())
    }
}

/// As bit 16 of the header's flags says (Multiboot Specification 0.6.96, 3.1.3), whatever kind of file it is.
fn by_header(image: &[u8], at: usize, addresses: &Addresses) -> Result<Layout, String> {
    let &Addresses { header, load, load_end, bss_end, entry } = addresses;
    let wrong =
        |what: &str| format!("the addresses in its header contradict each other: {what} ({addresses:x?})");
    let before = header.checked_sub(load).ok_or_else(|| wrong("the header lies before what is loaded"))?;
    let offset = (at as u64)
        .checked_sub(before.into())
        .ok_or_else(|| wrong("what is loaded begins before the file does"))?;
    let there = image.len() as u64 - offset;
    let file_bytes = match load_end {
        0 => there,
        _ => load_end.checked_sub(load).ok_or_else(|| wrong("the end lies before the start"))?.into(),
    };
    if file_bytes > there {
        return Err(format!(
            "it is truncated: its header promises {file_bytes} bytes from offset {offset:#x} on, and {there} are there"
        ));
    }
    let end = u64::from(load) + file_bytes;
    let bytes = match bss_end {
        0 => file_bytes,
        _ if u64::from(bss_end) < end => return Err(wrong("zeroed memory ends before the image does")),
        _ => u64::from(bss_end - load),
    };
    let load = u64::from(load);
    let segment = Segment { offset, file_bytes, gpa: load, bytes, linear: load, is_code: true };
    Ok(Layout {
        entry: "multiboot, by its header",
        segments: vec![segment],
        ip: entry.into(),
        sources: BTreeMap::new(),
    })
}

fn by_elf(image: &[u8]) -> Result<Layout, String> {
    if image.starts_with(b"\x7fELF\x02") {
        return Err("it is a 64-bit ELF file, and multiboot enters 32-bit ones: `objcopy -O elf32-i386` makes one of it, if \
                    it begins with 32-bit code"
            .into());
    }
    if !image.starts_with(b"\x7fELF") {
        return Err("it is no ELF file, and its header does not say where to load it (flag 16)".into());
    }
    let elf = Elf::parse(image).map_err(|e| format!("its ELF headers are damaged: {e}"))?;
    let header: &FileHeader32<LittleEndian> = elf.elf_header();
    if header.e_machine(ENDIAN) != EM_386 {
        return Err(format!("it is an ELF file for another machine ({})", header.e_machine(ENDIAN)));
    }
    let mut segments = Vec::new();
    for part in elf.elf_program_headers().iter().filter(|p| p.p_type(ENDIAN) == PT_LOAD) {
        segments.extend(segment(image, part)?);
    }
    if segments.is_empty() {
        return Err("it has nothing to load".into());
    }
    Ok(Layout {
        entry: "multiboot, ELF",
        ip: physical(&segments, header.e_entry(ENDIAN).into()),
        segments,
        sources: sources(&elf, image),
    })
}

/// The part of a program header; nothing if it is empty.
fn segment(
    image: &[u8],
    part: &object::elf::ProgramHeader32<LittleEndian>,
) -> Result<Option<Segment>, String> {
    let segment = Segment {
        offset: part.p_offset(ENDIAN).into(),
        file_bytes: part.p_filesz(ENDIAN).into(),
        gpa: part.p_paddr(ENDIAN).into(),
        bytes: part.p_memsz(ENDIAN).into(),
        linear: part.p_vaddr(ENDIAN).into(),
        is_code: part.p_flags(ENDIAN) & PF_X != 0,
    };
    let Segment { offset, file_bytes, gpa, bytes, .. } = segment;
    if file_bytes > bytes {
        return Err(format!("its segment for {gpa:#x} has more bytes in the file than in memory"));
    }
    if offset + file_bytes > image.len() as u64 {
        let there = (image.len() as u64).saturating_sub(offset);
        return Err(format!(
            "it is truncated: its segment for {gpa:#x} has {file_bytes} bytes at offset {offset:#x}, and {there} are there"
        ));
    }
    Ok((bytes > 0).then_some(segment))
}

/// A kernel that is linked to run elsewhere than it is loaded has an entry point by virtual address; paging is off there.
fn physical(segments: &[Segment], entry: u64) -> u64 {
    if segments.iter().any(|s| (s.gpa..s.end()).contains(&entry)) {
        return entry;
    }
    let holds = |s: &&Segment| entry.wrapping_sub(s.linear) < s.bytes;
    segments.iter().find(holds).map_or(entry, |s| s.gpa + (entry - s.linear))
}

/// What is a source whichever way its section is decoded, by offset. A multiboot kernel begins in 32-bit mode and may go on in
/// 64-bit mode, and its file does not say which function is which: an instruction that both decodings have is one.
fn sources(elf: &Elf<'_>, image: &[u8]) -> BTreeMap<u64, usize> {
    let mut sweeps = [(32, Sweep::default()), (64, Sweep::default())];
    let symbols = functions(elf);
    // Sections of a damaged file may all be the whole file.
    let mut left = image.len();
    for section in elf.elf_section_table().iter() {
        let is_code = section.sh_flags(ENDIAN) & SHF_EXECINSTR != 0 && section.sh_type(ENDIAN) != SHT_NOBITS;
        let (offset, bytes) = (section.sh_offset(ENDIAN) as usize, section.sh_size(ENDIAN) as usize);
        let code = image.get(offset..).and_then(|rest| rest.get(..bytes));
        let Some(code) = code.filter(|_| is_code && bytes <= left) else { continue };
        left -= bytes;
        let (first, end) = (section.sh_addr(ENDIAN), section.sh_addr(ENDIAN).saturating_add(bytes as u32));
        let inside = symbols.range(first..end);
        let starts: Vec<u64> = inside.map(|s| offset as u64 + u64::from(s - first)).collect();
        for (bits, sweep) in &mut sweeps {
            sweep.over(*bits, code, offset as u64, &starts);
        }
    }
    let [(_, narrow), (_, wide)] = sweeps;
    let in_both = |(at, bytes): &(u64, Vec<u8>)| wide.sources.get(at) == Some(bytes);
    narrow.sources.into_iter().filter(in_both).map(|(at, bytes)| (at, bytes.len())).collect()
}

/// Addresses at which functions and assembly labels begin.
fn functions(elf: &Elf<'_>) -> BTreeSet<u32> {
    elf.elf_symbol_table()
        .iter()
        .filter(|s| matches!(s.st_type(), STT_FUNC | STT_NOTYPE) && !s.is_undefined(ENDIAN))
        .map(|s| s.st_value(ENDIAN))
        .collect()
}

#[cfg(test)]
mod tests;
