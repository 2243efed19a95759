//! A small ELF file: what of one the tests need.

/// A file with the symbol `_text` and this build ID. Offsets: header, notes, symbols, names, section headers.
pub(super) fn kernel(id: &[u8; 20]) -> Vec<u8> {
    let words = |values: &[u64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let (note, symbols, names, sections) = (0x40u64, 0x80u64, 0xc0u64, 0x100u64);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    file.extend(words(&[0, 0, sections]));
    file.extend([0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0x40, 0, 5, 0, 3, 0]);
    file.resize(note as usize, 0);
    file.extend(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0");
    file.extend(id);
    file.resize(symbols as usize + 24, 0);
    // st_name 1, a global function in section 4, at 0xffffffff81000000, of 16 bytes.
    file.extend([1, 0, 0, 0, 0x12, 0, 4, 0]);
    file.extend(words(&[0xffff_ffff_8100_0000, 16]));
    file.resize(names as usize, 0);
    file.extend(b"\0_text\0");
    file.resize(sections as usize + 64, 0);
    // sh_name, sh_type; flags, address, offset, size; sh_link, sh_info; alignment, entry size.
    let mut section = |kind: u32, offset: u64, size: u64, link: u32, info: u32, entry: u64| {
        file.extend([0, 0, 0, 0]);
        file.extend(kind.to_le_bytes());
        file.extend(words(&[0, 0, offset, size]));
        file.extend(link.to_le_bytes());
        file.extend(info.to_le_bytes());
        file.extend(words(&[4, entry]));
    };
    section(7, note, 36, 0, 0, 0);
    section(2, symbols, 48, 3, 1, 24);
    section(3, names, 7, 0, 0, 0);
    section(1, note, 0, 0, 0, 0);
    file
}
