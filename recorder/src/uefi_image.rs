//! UEFI images in memory (UEFI Specification 2.10, 2.1.1): PE files, whose sections firmware lays out in the file as they will be when
//! they are loaded, so that it may execute them where they are.

use crate::disassembly::{Entry, View};
use object::LittleEndian as LE;
use object::pe::{
    IMAGE_NT_OPTIONAL_HDR64_MAGIC, IMAGE_SCN_MEM_EXECUTE, ImageDosHeader, ImageNtHeaders32, ImageNtHeaders64,
};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, optional_header_magic};
use std::ops::Range;
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{CpuMode, Gpa};
use trapline_machine::{MachineError, Memory};

/// No image is larger: data may begin as one does.
const LARGEST: u64 = 16 << 20;
/// A guest may want to keep us busy: so many are looked at, and so many bytes of them.
const MOST: usize = 1 << 16;
const MOST_BYTES: usize = 128 << 20;
/// What an image begins with, and a multiple of what (UEFI Platform Initialization Specification 1.8, vol. 3, 2.2.4).
const MAGIC: [u8; 2] = *b"MZ";
const ALIGNMENT: usize = 4;

/// An image, before or after it was relocated.
#[derive(Debug)]
pub(crate) struct UefiImage {
    pub(crate) address: u64,
    pub(crate) content: Vec<u8>,
    layout: Layout,
}

/// What the headers of an image tell of it; places are offsets from its first byte.
#[derive(Debug)]
struct Layout {
    bytes: usize,
    mode: CpuMode,
    /// What it takes for its own address.
    base: u64,
    entry: u64,
    code: Vec<Range<u64>>,
}

/// All images in memory, which is read as firmware sees it, without paging.
pub(crate) fn find(memory: &Memory) -> Result<impl Iterator<Item = UefiImage>, MachineError> {
    let mut starts = Vec::new();
    memory.for_each_page(|number, page| {
        let offsets = (0..PAGE_BYTES).step_by(ALIGNMENT).filter(|at| page[*at..].starts_with(&MAGIC));
        let addresses = offsets.map(|at| number * PAGE_BYTES as u64 + at as u64);
        starts.extend(addresses.take(MOST - starts.len()));
    })?;
    let mut bytes = 0;
    let images = starts.into_iter().filter_map(|at| UefiImage::read(memory, at));
    Ok(images.take_while(move |image| {
        bytes += image.content.len();
        bytes <= MOST_BYTES
    }))
}

impl UefiImage {
    fn read(memory: &Memory, address: u64) -> Option<Self> {
        let mut headers = [0; PAGE_BYTES];
        memory.read(Gpa(address), &mut headers).ok()?;
        let layout = Layout::of(&headers)?;
        let mut content = vec![0; layout.bytes];
        memory.read(Gpa(address), &mut content).ok()?;
        Some(Self { address, content, layout })
    }

    pub(crate) fn view(&self) -> View {
        View { linear: self.address, offset: 0, bytes: self.content.len() as u64 }
    }

    pub(crate) fn entry(&self) -> Entry {
        self.at(self.layout.entry)
    }

    /// What its data holds the addresses of, which are functions above all: others call them.
    pub(crate) fn pointers(&self) -> Vec<Entry> {
        let Layout { mode, base, .. } = self.layout;
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let words = self.content.chunks_exact(mode.bits() as usize / 8).map(word);
        let offsets = words.map(|word| word.wrapping_sub(base)).filter(|offset| self.layout.is_code(*offset));
        offsets.map(|offset| self.at(offset)).collect()
    }

    fn at(&self, offset: u64) -> Entry {
        Entry { segment_base: 0, ip: self.address + offset, mode: self.layout.mode }
    }
}

impl Layout {
    fn of(headers: &[u8]) -> Option<Self> {
        if optional_header_magic(headers).ok()? == IMAGE_NT_OPTIONAL_HDR64_MAGIC {
            Self::parse::<ImageNtHeaders64>(headers, CpuMode::Long64)
        } else {
            Self::parse::<ImageNtHeaders32>(headers, CpuMode::Protected32)
        }
    }

    fn parse<H: ImageNtHeaders>(headers: &[u8], mode: CpuMode) -> Option<Self> {
        let mut offset = ImageDosHeader::parse(headers).ok()?.nt_headers_offset().into();
        let (nt, _) = H::parse(headers, &mut offset).ok()?;
        let bytes = u64::from(nt.optional_header().size_of_image());
        let sections = nt.sections(headers, offset).ok()?;
        let code =
            sections.iter().filter(|section| section.characteristics.get(LE) & IMAGE_SCN_MEM_EXECUTE != 0);
        let code = code.map(|section| {
            let start = u64::from(section.virtual_address.get(LE));
            start..(start + u64::from(section.virtual_size.get(LE))).min(bytes)
        });
        let layout = Self {
            bytes: bytes as usize,
            mode,
            base: nt.optional_header().image_base(),
            entry: nt.optional_header().address_of_entry_point().into(),
            code: code.collect(),
        };
        (bytes <= LARGEST && layout.is_code(layout.entry)).then_some(layout)
    }

    fn is_code(&self, offset: u64) -> bool {
        self.code.iter().any(|section| section.contains(&offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::MemoryRegion;

    /// The headers of an image with one section of code, as few as there may be.
    fn headers(magic: u16, optional: usize, entry: u32) -> Vec<u8> {
        let mut page = vec![0; 4096];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &0x80u32.to_le_bytes());
        put(0x80, b"PE\0\0\x64\x86\x01\0");
        put(0x94, &(optional as u16).to_le_bytes());
        put(0x98, &magic.to_le_bytes());
        put(0x98 + 16, &entry.to_le_bytes());
        let base = if magic == 0x20b { 24 } else { 28 };
        put(0x98 + base, &0x5_0000u32.to_le_bytes());
        put(0x98 + 56, &0x3000u32.to_le_bytes());
        let section = 0x98 + optional;
        put(section, b".text");
        put(section + 8, &0x1000u32.to_le_bytes());
        put(section + 12, &0x240u32.to_le_bytes());
        put(section + 36, &IMAGE_SCN_MEM_EXECUTE.to_le_bytes());
        page
    }

    #[test]
    fn images_are_found_wherever_they_are_and_say_where_they_are_entered() {
        for (magic, optional, mode) in [(0x20b, 112, CpuMode::Long64), (0x10b, 96, CpuMode::Protected32)] {
            let mut content = headers(magic, optional, 0x300);
            content.resize(0x3000, 0);
            let bytes = mode.bits() as usize / 8;
            for (at, value) in
                [(0x800, 0x5_023f_u64), (0x900, 0x5_0240), (0xa00, 0x5_123f), (0xb00, 0x5_1240)]
            {
                content[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
            }
            let memory = Memory::new(&[MemoryRegion { gpa: 0, bytes: 1 << 20, readonly: false }]).unwrap();
            for address in [0x7ffc, 0x2_0004] {
                memory.write(Gpa(address), &content).unwrap();
            }
            // One that ends behind all memory, and what is none.
            memory.write(Gpa((1 << 20) - 0x1000), &content[..0x1000]).unwrap();
            memory.write(Gpa(0x4_0000), b"MZ").unwrap();
            let images: Vec<_> = find(&memory).unwrap().collect();
            assert_eq!(images.iter().map(|image| image.address).collect::<Vec<_>>(), [0x7ffc, 0x2_0004]);
            let entry = images[0].entry();
            assert_eq!((entry.ip, entry.mode), (0x7ffc + 0x300, mode));
            let pointers: Vec<_> = images[0].pointers().iter().map(|pointer| pointer.ip).collect();
            assert_eq!(pointers, [0x7ffc + 0x240, 0x7ffc + 0x123f]);
            assert_eq!(images[0].content, content);
        }
    }

    #[test]
    fn of_a_memory_full_of_headers_no_more_is_looked_at_than_would_be_sense() {
        let page = headers(0x20b, 112, 0x300);
        let bytes = 160 << 20;
        let memory = Memory::new(&[MemoryRegion { gpa: 0, bytes, readonly: false }]).unwrap();
        for gpa in (0..bytes).step_by(PAGE_BYTES) {
            memory.write(Gpa(gpa), &page).unwrap();
        }
        let looked_at: usize = find(&memory).unwrap().map(|image| image.content.len()).sum();
        assert!((MOST_BYTES - 0x3000..=MOST_BYTES).contains(&looked_at), "{looked_at}");
    }

    #[test]
    fn what_only_begins_as_an_image_is_none() {
        let whole = headers(0x20b, 112, 0x300);
        assert!(Layout::of(&whole).is_some());
        assert!((0..0x98 + 112).all(|length| Layout::of(&whole[..length]).is_none()));
        assert!(Layout::of(&headers(0x20b, 112, 0x2000)).is_none(), "it is entered where there is no code");
        let mut large = whole.clone();
        large[0x98 + 59] = 0x7f;
        assert!(Layout::of(&large).is_none(), "it is too large");
    }
}
