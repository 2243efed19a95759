//! The smallest images of each format, for tests of the loaders.

/// Writes little-endian fields at offsets: (offset, bytes, value).
pub(crate) fn fields(bytes: &mut [u8], fields: &[(usize, usize, u64)]) {
    for &(at, size, value) in fields {
        bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }
}

const PT_LOAD: u64 = 1;
const READ_EXECUTE: u64 = 5;

/// The sections of an ELF file with code and one symbol: null, code, symbols, names.
struct Sections {
    wide: bool,
    code: (u64, u64, u64),
    symbols: (u64, u64),
}

impl Sections {
    /// Appends the section headers.
    fn append(&self, file: &mut Vec<u8>) {
        let (address, offset, bytes) = self.code;
        let (symbols, symbol_bytes) = self.symbols;
        let names = symbols + symbol_bytes;
        let each = if self.wide { 24 } else { 16 };
        // Type, flags, address, offset, bytes, link, info, size of an entry.
        self.header(file, [0; 8]);
        self.header(file, [1, 6, address, offset, bytes, 0, 0, 0]);
        self.header(file, [2, 0, 0, symbols, symbol_bytes, 3, 1, each]);
        self.header(file, [3, 0, 0, names, 1, 0, 0, 0]);
    }

    fn header(&self, file: &mut Vec<u8>, [kind, flags, address, offset, bytes, link, info, each]: [u64; 8]) {
        let start = file.len();
        if self.wide {
            file.resize(start + 64, 0);
            let place = [(4, 4, kind), (8, 8, flags), (16, 8, address), (24, 8, offset), (32, 8, bytes)];
            fields(&mut file[start..], &place);
            fields(&mut file[start..], &[(40, 4, link), (44, 4, info), (56, 8, each)]);
        } else {
            file.resize(start + 40, 0);
            let place = [(4, 4, kind), (8, 4, flags), (12, 4, address), (16, 4, offset), (20, 4, bytes)];
            fields(&mut file[start..], &place);
            fields(&mut file[start..], &[(24, 4, link), (28, 4, info), (36, 4, each)]);
        }
    }
}

/// A 32-bit ELF file that is loaded at 1 MiB and linked for 3 GiB above that: a multiboot header, and `code` at offset 0x80,
/// with a symbol at its start, where it is entered.
pub(crate) fn elf32(code: &[u8]) -> Vec<u8> {
    const LINKED: u64 = 0xc010_0000;
    let mut file = vec![0; 0x80];
    file[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    file.extend(code);
    file.resize(file.len().next_multiple_of(4), 0);
    let loaded = file.len() as u64;
    // Type, machine, version, entry, program headers, size of this header, of a program header, their number.
    fields(&mut file, &[(16, 2, 2), (18, 2, 3), (20, 4, 1), (24, 4, LINKED + 0x80), (28, 4, 0x34)]);
    fields(&mut file, &[(40, 2, 0x34), (42, 2, 0x20), (44, 2, 1)]);
    // The program header: type, offset, virtual and physical address, bytes in file and memory, flags.
    let program = [PT_LOAD, 0, LINKED, 0x10_0000, loaded, loaded + 0x1000, READ_EXECUTE];
    for (n, value) in program.into_iter().enumerate() {
        fields(&mut file, &[(0x34 + n * 4, 4, value)]);
    }
    fields(&mut file, &[(0x60, 4, 0x1bad_b002), (0x64, 4, 3), (0x68, 4, 0_u64.wrapping_sub(0x1bad_b005))]);
    // Two symbols of 16 bytes: null, and one of type FUNC in section 1; then the names, which are one zero.
    file.resize(file.len() + 33, 0);
    fields(&mut file[loaded as usize + 16..], &[(4, 4, LINKED + 0x80), (12, 1, 0x12), (14, 2, 1)]);
    let headers = file.len() as u64;
    let code = (LINKED + 0x80, 0x80, loaded - 0x80);
    Sections { wide: false, code, symbols: (loaded, 32) }.append(&mut file);
    fields(&mut file, &[(32, 4, headers), (46, 2, 40), (48, 2, 4), (50, 2, 3)]);
    file
}

/// The same for 64 bits, without the multiboot header: `code` at offset 0x80, loaded at 1 MiB, linked for the top.
pub(crate) fn elf64(code: &[u8]) -> Vec<u8> {
    const LINKED: u64 = 0xffff_ffff_8010_0000;
    let mut file = vec![0; 0x80];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file.extend(code);
    file.resize(file.len().next_multiple_of(8), 0);
    let loaded = file.len() as u64;
    fields(&mut file, &[(16, 2, 2), (18, 2, 62), (20, 4, 1), (24, 8, 0x10_0080), (32, 8, 0x40)]);
    fields(&mut file, &[(52, 2, 0x40), (54, 2, 0x38), (56, 2, 1)]);
    fields(&mut file, &[(0x40, 4, PT_LOAD), (0x44, 4, READ_EXECUTE), (0x48, 8, 0), (0x50, 8, LINKED)]);
    fields(&mut file, &[(0x58, 8, 0x10_0000), (0x60, 8, loaded), (0x68, 8, loaded)]);
    file.resize(file.len() + 49, 0);
    fields(&mut file[loaded as usize + 24..], &[(4, 1, 0x12), (6, 2, 1), (8, 8, LINKED + 0x80)]);
    let headers = file.len() as u64;
    let code = (LINKED + 0x80, 0x80, loaded - 0x80);
    Sections { wide: true, code, symbols: (loaded, 48) }.append(&mut file);
    fields(&mut file, &[(40, 8, headers), (58, 2, 64), (60, 2, 4), (62, 2, 3)]);
    file
}

/// A bzImage of an old protocol: so many bytes behind the jump in its header, code begins.
pub(crate) fn old_bzimage(header_bytes: u8) -> Vec<u8> {
    let mut file = bzimage(b"");
    fields(&mut file, &[(0x201, 1, header_bytes.into()), (0x206, 2, 0x203)]);
    file[0x202 + usize::from(header_bytes)..0x400].fill(0xb8);
    file
}

/// A bzImage with the 64-bit entry and a zstd payload that holds `kernel`; one sector of setup code.
pub(crate) fn bzimage(kernel: &[u8]) -> Vec<u8> {
    let payload = zstd::encode_all(kernel, 1).unwrap();
    let mut part = vec![0x90; 0x400];
    part.extend(&payload);
    part.extend([0xff, 0xe0]);
    part.resize(part.len().next_multiple_of(16), 0xcc);
    let mut file = vec![0; 0x400];
    // Sectors of setup code, size in paragraphs, boot flag, magic, version, flags, where it is loaded.
    fields(&mut file, &[(0x1f1, 1, 1), (0x1f4, 4, part.len() as u64 / 16), (0x1fe, 2, 0xaa55)]);
    // A jump over the rest of the header.
    fields(&mut file, &[(0x200, 2, 0x6aeb)]);
    fields(&mut file, &[(0x202, 4, 0x5372_6448), (0x206, 2, 0x20f), (0x211, 1, 1), (0x214, 4, 0x10_0000)]);
    // Highest address of an initrd, alignment, xloadflags, length of a command line, payload, address and memory it unpacks in.
    fields(&mut file, &[(0x22c, 4, 0x7fff_ffff), (0x230, 4, 0x1000), (0x236, 2, 1), (0x238, 4, 255)]);
    fields(&mut file, &[(0x248, 4, 0x400), (0x24c, 4, payload.len() as u64), (0x258, 8, 0x10_0000)]);
    fields(&mut file, &[(0x260, 4, 0x10_0000)]);
    file.extend(part);
    file
}
