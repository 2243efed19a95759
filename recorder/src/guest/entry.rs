//! The state in which a guest without firmware is entered: mode, flat segments, page tables, registers.
//!
//! All modes: interrupts off, DF clear, general registers 0 but those that are named.
//!
//! * **16-bit**: real mode, all segments 0; the IVT at 0 is all zeros.
//! * **32-bit**: protected mode, paging off, flat 4 GiB segments; GDT at 0x500, no IDT.
//! * **64-bit**: long mode, the first GiBs identity-mapped by 2 MiB pages (PML4 at 0x1000, PDPT at 0x2000, page directories
//!   from 0x3000), flat segments, SSE enabled (CR4.OSFXSR), GDT at 0x500, no IDT, no TSS.
//!
//! Exceptions without an IDT triple-fault: the recording says so.

use trapline_formats::{CpuMode, CpuState, Gpa, Registers};

/// Where the descriptor table is.
pub(super) const GDT: u64 = 0x500;
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const DIRECTORIES: u64 = 0x3000;
/// Descriptors in the GDT: null and three more.
const DESCRIPTORS: usize = 4;

/// The mode a guest is entered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real mode.
    Bits16,
    /// Protected mode without paging.
    Bits32,
    /// 64-bit mode, identity-mapped.
    Bits64,
}

impl Mode {
    /// How the processor decodes instructions in it.
    pub fn cpu_mode(self) -> CpuMode {
        match self {
            Self::Bits16 => CpuMode::Real16,
            Self::Bits32 => CpuMode::Protected32,
            Self::Bits64 => CpuMode::Long64,
        }
    }
}

/// Where and how a guest is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryState {
    /// Its mode.
    pub mode: Mode,
    /// Its first instruction.
    pub ip: u64,
    /// Its stack pointer.
    pub stack: u64,
    /// Selectors of the flat code and data segments, each 8, 16 or 24; not used in 16-bit mode.
    pub selectors: (u16, u16),
    /// GiBs that are identity-mapped in 64-bit mode, at most 4.
    pub mapped_gib: u64,
    /// Registers that are not 0: (index in [`Registers::general`], value).
    pub registers: Vec<(usize, u64)>,
}

impl EntryState {
    /// Descriptor and page tables.
    pub fn tables(&self) -> Vec<(Gpa, Vec<u8>)> {
        let words = |values: &[u64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        // SDM vol. 3, 3.4.5: code execute/read and data read/write, accessed, present, DPL 0, limit 4 GiB.
        let (code, data) = match self.mode {
            Mode::Bits16 => return Vec::new(),
            Mode::Bits32 => (0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff),
            Mode::Bits64 => (0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff),
        };
        let mut descriptors = [0; DESCRIPTORS];
        descriptors[usize::from(self.selectors.0 / 8)] = code;
        descriptors[usize::from(self.selectors.1 / 8)] = data;
        let mut tables = vec![(Gpa(GDT), words(&descriptors))];
        if self.mode == Mode::Bits64 {
            // Present, writable, user; in the directories also 2 MiB pages, accessed and dirty (SDM vol. 3, 4.5): bits that
            // the processor would otherwise set on its own time.
            let directory = |gib: u64| DIRECTORIES + (gib << 12);
            let pointers: Vec<u64> = (0..self.mapped_gib).map(|gib| directory(gib) | 0x27).collect();
            tables.push((Gpa(PML4), words(&[PDPT | 0x27])));
            tables.push((Gpa(PDPT), words(&pointers)));
            for gib in 0..self.mapped_gib {
                let pages: Vec<u64> = (0..512).map(|i| gib << 30 | i << 21 | 0xe7).collect();
                tables.push((Gpa(directory(gib)), words(&pages)));
            }
        }
        tables
    }

    /// The start state, from the reset state.
    pub fn apply(&self, mut state: CpuState) -> CpuState {
        state.registers.general = [0; 16];
        for &(register, value) in &self.registers {
            state.registers.general[register] = value;
        }
        state.registers.general[Registers::RSP] = self.stack;
        state.registers.rip = self.ip;
        state.registers.rflags = 2;
        self.segments(&mut state);
        let [cr0, _, cr3, cr4, _] = &mut state.system.control;
        if self.mode != Mode::Bits16 {
            *cr0 = 0x11; // PE, ET
            state.system.gdt = (GDT, DESCRIPTORS as u16 * 8 - 1);
            state.system.idt = (0, 0);
        }
        if self.mode == Mode::Bits64 {
            *cr0 |= 1 << 31 | 1 << 1; // PG, MP
            *cr3 = PML4;
            *cr4 = 1 << 5 | 1 << 9 | 1 << 10; // PAE, OSFXSR, OSXMMEXCPT
            state.system.efer = 1 << 8 | 1 << 10; // LME, LMA
        }
        state
    }

    fn segments(&self, state: &mut CpuState) {
        const CS: usize = 0;
        // Type, S, P, L, D/B, G: see `Segment::rights`.
        const CODE: u16 = 0xb | 1 << 4 | 1 << 7;
        const DATA: u16 = 0x3 | 1 << 4 | 1 << 7;
        const LONG: u16 = 1 << 9;
        const BIG: u16 = 1 << 10;
        const PAGES: u16 = 1 << 11;
        for (i, segment) in state.system.segments.iter_mut().take(6).enumerate() {
            segment.base = 0;
            if self.mode == Mode::Bits16 {
                segment.selector = 0;
                segment.limit = 0xffff;
                segment.rights = if i == CS { CODE } else { DATA };
                continue;
            }
            segment.selector = if i == CS { self.selectors.0 } else { self.selectors.1 };
            segment.limit = 0xffff_ffff;
            segment.rights = match (i, self.mode) {
                (CS, Mode::Bits64) => CODE | LONG | PAGES,
                (CS, _) => CODE | BIG | PAGES,
                _ => DATA | BIG | PAGES,
            };
        }
    }
}
