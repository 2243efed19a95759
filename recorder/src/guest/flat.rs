//! Flat images: loaded and entered at 0x8000, in a state that this page tells exactly.
//!
//! All modes: interrupts off, general registers 0 but RSP = 0x8000 (in 16-bit mode SP = 0x8000), DF clear, the image at
//! guest-physical 0x8000, all other memory zero but for the tables named below.
//!
//! * **16-bit**: real mode, CS = DS = ES = FS = GS = SS = 0, IP = 0x8000; the IVT at 0 is all zeros.
//! * **32-bit**: protected mode, paging off, flat 4 GiB segments: CS = 0x08, the others 0x10; GDT at 0x500, no IDT.
//! * **64-bit**: long mode, the first GiB identity-mapped by 2 MiB pages (PML4 at 0x1000, PDPT at 0x2000, page directory
//!   at 0x3000), flat segments CS = 0x08 and 0x10, SSE enabled (CR4.OSFXSR), GDT at 0x500, no IDT, no TSS.
//!
//! Exceptions without an IDT triple-fault: the recording says so.

use super::{Guest, Start, file, ram_regions, read_image};
use crate::disassembly::{Entry, View};
use crate::error::RecorderError;
use crate::rewrite;
use std::path::Path;
use trapline_formats::{CpuMode, CpuState, Gpa, Registers};

/// Where images are loaded and entered.
pub const ENTRY: u64 = 0x8000;
const GDT: u64 = 0x500;
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;

/// The mode a flat image is entered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real mode.
    Bits16,
    /// Protected mode without paging.
    Bits32,
    /// 64-bit mode, first GiB identity-mapped.
    Bits64,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Bits16 => "flat 16-bit",
            Self::Bits32 => "flat 32-bit",
            Self::Bits64 => "flat 64-bit",
        }
    }

    fn cpu_mode(self) -> CpuMode {
        match self {
            Self::Bits16 => CpuMode::Real16,
            Self::Bits32 => CpuMode::Protected32,
            Self::Bits64 => CpuMode::Long64,
        }
    }
}

/// Loads a flat image from a file.
pub fn load(path: &Path, mode: Mode, ram_bytes: u64) -> Result<Guest, RecorderError> {
    let memory = ram_regions(ram_bytes)?;
    let room = memory[0].bytes - ENTRY;
    let image = read_image("flat image", path, room)?;
    let mut guest = from_bytes(image, mode, ram_bytes)?;
    guest.files = vec![file("flat image", path, &guest.contents[0].1)];
    Ok(guest)
}

/// Loads a flat image from memory.
pub fn from_bytes(image: Vec<u8>, mode: Mode, ram_bytes: u64) -> Result<Guest, RecorderError> {
    let memory = ram_regions(ram_bytes)?;
    let files = vec![file("flat image", Path::new("built-in"), &image)];
    let view = View { linear: ENTRY, offset: 0, bytes: image.len() as u64 };
    let entry = Entry { segment_base: 0, ip: ENTRY, mode: mode.cpu_mode() };
    let rewritten = rewrite::clock_reads(image, &[view], &[entry], &[]);
    let mut contents = vec![(Gpa(ENTRY), rewritten.image)];
    contents.extend(tables(mode));
    Ok(Guest {
        entry: mode.name().to_owned(),
        memory,
        ram_bytes,
        contents,
        files,
        rewrites: rewritten.rewrites,
        suspects: rewritten.suspects,
        clock_port: rewritten.clock_port,
        start: Start::Flat(mode),
    })
}

/// Descriptor and page tables.
fn tables(mode: Mode) -> Vec<(Gpa, Vec<u8>)> {
    let words = |values: &[u64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    // SDM vol. 3, 3.4.5: code execute/read and data read/write, accessed, present, DPL 0, limit 4 GiB.
    let (code, data) = match mode {
        Mode::Bits16 => return Vec::new(),
        Mode::Bits32 => (0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff),
        Mode::Bits64 => (0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff),
    };
    let mut tables = vec![(Gpa(GDT), words(&[0, code, data]))];
    if mode == Mode::Bits64 {
        // Present, writable, user; in the directory also 2 MiB pages, accessed and dirty (SDM vol. 3, 4.5): bits that the
        // processor would otherwise set on its own time.
        let directory: Vec<u64> = (0..512).map(|i| i << 21 | 0xe7).collect();
        tables.push((Gpa(PML4), words(&[PDPT | 0x27])));
        tables.push((Gpa(PDPT), words(&[PD | 0x27])));
        tables.push((Gpa(PD), words(&directory)));
    }
    tables
}

/// The start state, from the reset state.
pub(super) fn start_state(mode: Mode, mut state: CpuState) -> CpuState {
    const CS: usize = 0;
    // Type, S, P, L, D/B, G: see `Segment::rights`.
    const CODE: u16 = 0xb | 1 << 4 | 1 << 7;
    const DATA: u16 = 0x3 | 1 << 4 | 1 << 7;
    const LONG: u16 = 1 << 9;
    const BIG: u16 = 1 << 10;
    const PAGES: u16 = 1 << 11;
    state.registers.general = [0; 16];
    state.registers.general[Registers::RSP] = ENTRY;
    state.registers.rip = ENTRY;
    state.registers.rflags = 2;
    for (i, segment) in state.system.segments.iter_mut().take(6).enumerate() {
        segment.base = 0;
        match mode {
            Mode::Bits16 => {
                segment.selector = 0;
                segment.limit = 0xffff;
                segment.rights = if i == CS { CODE } else { DATA };
            }
            Mode::Bits32 | Mode::Bits64 => {
                segment.selector = if i == CS { 0x08 } else { 0x10 };
                segment.limit = 0xffff_ffff;
                segment.rights = match (i, mode) {
                    (CS, Mode::Bits64) => CODE | LONG | PAGES,
                    (CS, _) => CODE | BIG | PAGES,
                    _ => DATA | BIG | PAGES,
                };
            }
        }
    }
    let [cr0, _, cr3, cr4, _] = &mut state.system.control;
    if mode != Mode::Bits16 {
        *cr0 = 0x11; // PE, ET
        state.system.gdt = (GDT, 23);
        state.system.idt = (0, 0);
    }
    if mode == Mode::Bits64 {
        *cr0 |= 1 << 31 | 1 << 1; // PG, MP
        *cr3 = PML4;
        *cr4 = 1 << 5 | 1 << 9 | 1 << 10; // PAE, OSFXSR, OSXMMEXCPT
        state.system.efer = 1 << 8 | 1 << 10; // LME, LMA
    }
    state
}
