//! The vCPU as an instruction sees it: a working copy of its registers, and memory through segments and page tables.

use super::fault::{Fault, GP, PF, SS, Stop, cannot};
use super::image::Image;
use crate::memory::Memory;
use crate::paging::{Access, Paging};
use iced_x86::Register;
use std::sync::Arc;
use trapline_formats::{CpuMode, Gpa, Gva, Registers, Segment, SystemRegisters};

/// Places in [`SystemRegisters::segments`].
pub(crate) const CS: usize = 0;
pub(crate) const DS: usize = 1;
pub(crate) const ES: usize = 2;
pub(crate) const FS: usize = 3;
pub(crate) const GS: usize = 4;
pub(crate) const SS_: usize = 5;
pub(crate) const TR: usize = 6;
pub(crate) const LDTR: usize = 7;

/// RFLAGS (SDM vol. 1, 3.4.3).
pub(crate) const FLAG_TF: u64 = 1 << 8;
pub(crate) const FLAG_IF: u64 = 1 << 9;
pub(crate) const FLAG_OF: u64 = 1 << 11;
pub(crate) const FLAG_NT: u64 = 1 << 14;
pub(crate) const FLAG_RF: u64 = 1 << 16;
pub(crate) const FLAG_VM: u64 = 1 << 17;
pub(crate) const FLAG_AC: u64 = 1 << 18;

pub(crate) const CR0_PE: u64 = 1;
const EFER_LMA: u64 = 1 << 10;

/// The order in which instructions number registers, in places of [`Registers::general`].
pub(crate) const ENCODED: [usize; 16] = [0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];

/// The working copy.
#[derive(Debug, Clone)]
pub(crate) struct Cpu {
    pub(crate) memory: Arc<Memory>,
    pub(crate) registers: Registers,
    pub(crate) system: SystemRegisters,
    pub(crate) physical_bits: u32,
    /// x87, SSE and AVX registers, and XCR0, where the instruction uses them.
    pub(crate) image: Option<Box<Image>>,
    /// Components that XCR0 may have here (CPUID leaf 0xD).
    pub(crate) xcr0_offered: u64,
    /// IA32_TSC_AUX, where the instruction reads it.
    pub(crate) tsc_aux: u64,
}

impl Cpu {
    pub(crate) fn cr0(&self) -> u64 {
        self.system.control[0]
    }

    pub(crate) fn cr4(&self) -> u64 {
        self.system.control[3]
    }

    pub(crate) fn is_protected(&self) -> bool {
        self.cr0() & CR0_PE != 0
    }

    /// IA-32e mode: 64-bit or compatibility code.
    pub(crate) fn is_long(&self) -> bool {
        self.system.efer & EFER_LMA != 0
    }

    pub(crate) fn is_virtual8086(&self) -> bool {
        self.is_protected() && self.registers.rflags & FLAG_VM != 0
    }

    pub(crate) fn mode(&self) -> CpuMode {
        let cs = &self.system.segments[CS];
        if !self.is_protected() {
            CpuMode::Real16
        } else if self.is_long() && rights::is_long(cs) {
            CpuMode::Long64
        } else if rights::is_big(cs) {
            CpuMode::Protected32
        } else {
            CpuMode::Protected16
        }
    }

    pub(crate) fn is_64(&self) -> bool {
        self.mode() == CpuMode::Long64
    }

    /// CPL: SS.DPL (SDM vol. 3, 24.4.1).
    pub(crate) fn cpl(&self) -> u8 {
        if !self.is_protected() {
            0
        } else if self.is_virtual8086() {
            3
        } else {
            rights::dpl(&self.system.segments[SS_])
        }
    }

    /// Moves RIP on, wrapping as the code segment does.
    pub(crate) fn advance(&mut self, bytes: usize) {
        let next = self.registers.rip.wrapping_add(bytes as u64);
        self.registers.rip = match self.mode().bits() {
            16 => next & 0xffff,
            32 => next & 0xffff_ffff,
            _ => next,
        };
    }

    /// The linear address of the instruction.
    pub(crate) fn code_address(&self) -> u64 {
        if self.is_64() {
            self.registers.rip
        } else {
            self.system.segments[CS].base.wrapping_add(self.registers.rip) & 0xffff_ffff
        }
    }

    pub(crate) fn paging(&self) -> Paging {
        Paging::of(&self.system, self.physical_bits)
    }

    pub(crate) fn is_canonical(&self, address: u64) -> bool {
        self.paging().is_canonical(address)
    }

    /// An access by the instruction itself at the present CPL.
    pub(crate) fn explicit(&self, write: bool) -> Access {
        let smap_open = self.registers.rflags & FLAG_AC != 0;
        Access { write, fetch: false, user: self.cpl() == 3, smap_open }
    }

    /// Where a linear address is, or #PF.
    pub(crate) fn translate(&self, address: u64, access: Access) -> Result<Gpa, Stop> {
        self.paging()
            .translate(&self.memory, Gva(address), access)
            .map_err(|fault| Stop::Fault(Fault { vector: PF, code: Some(fault.0), address: Some(address) }))
    }

    /// Calls `piece` with (GPA, range in the whole) for each page that `length` bytes at a linear address touch.
    pub(crate) fn pieces(
        &self,
        address: u64,
        length: usize,
        access: Access,
        mut piece: impl FnMut(Gpa, std::ops::Range<usize>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut done = 0;
        while done < length {
            let at = self.wrap_linear(address.wrapping_add(done as u64));
            let end = (done + 0x1000 - (at & 0xfff) as usize).min(length);
            piece(self.translate(at, access)?, done..end)?;
            done = end;
        }
        Ok(())
    }

    /// Linear addresses have 32 bits outside of 64-bit mode.
    pub(crate) fn wrap_linear(&self, address: u64) -> u64 {
        if self.is_long() { address } else { address & 0xffff_ffff }
    }

    /// Reads memory that must be RAM or ROM.
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8], access: Access) -> Result<(), Stop> {
        self.pieces(address, bytes.len(), access, |gpa, range| {
            self.memory.read(gpa, &mut bytes[range]).or_else(|_| no_table_there(gpa))
        })
    }

    /// Writes memory that must be RAM.
    pub(crate) fn write(&self, address: u64, bytes: &[u8], access: Access) -> Result<(), Stop> {
        let access = Access { write: true, ..access };
        // No byte before all pages are known to take theirs.
        self.pieces(address, bytes.len(), access, |_, _| Ok(()))?;
        self.pieces(address, bytes.len(), access, |gpa, range| {
            self.memory.write(gpa, &bytes[range]).or_else(|_| no_table_there(gpa))
        })
    }

    /// A little-endian number in memory.
    pub(crate) fn number(&self, address: u64, bytes: usize, access: Access) -> Result<u64, Stop> {
        let mut buffer = [0; 8];
        self.read(address, &mut buffer[..bytes], access)?;
        Ok(u64::from_le_bytes(buffer))
    }

    /// The linear address of `length` bytes at an offset in a segment, or #GP or #SS (SDM vol. 3, 5.3, 5.5; for 64-bit
    /// mode vol. 1, 3.3.7.1).
    pub(crate) fn linear(
        &self,
        segment: usize,
        offset: u64,
        length: usize,
        write: bool,
    ) -> Result<u64, Stop> {
        let fault = Fault::coded(if segment == SS_ { SS } else { GP }, 0);
        let s = &self.system.segments[segment];
        let last = |from: u64| from.wrapping_add(length.max(1) as u64 - 1);
        if self.is_64() {
            let base = if segment == FS || segment == GS { s.base } else { 0 };
            let address = base.wrapping_add(offset);
            let fits = self.is_canonical(address) && self.is_canonical(last(address));
            return if fits { Ok(address) } else { Err(fault.into()) };
        }
        if self.is_protected() && !self.is_virtual8086() {
            let usable = !rights::is_unusable(s) && rights::is_present(s);
            let allowed = if write { rights::is_writable(s) } else { rights::is_readable(s) };
            if !usable || !allowed {
                return Err(fault.into());
            }
        }
        let offset = offset & 0xffff_ffff;
        if !rights::holds(s, offset, last(offset)) {
            return Err(fault.into());
        }
        Ok(s.base.wrapping_add(offset) & 0xffff_ffff)
    }

    /// The value of a general register, of any width.
    pub(crate) fn general(&self, register: Register) -> u64 {
        let value = self.registers.general[place(register)];
        match register.size() {
            1 if (Register::AH..=Register::BH).contains(&register) => value >> 8 & 0xff,
            1 => value & 0xff,
            2 => value & 0xffff,
            4 => value & 0xffff_ffff,
            _ => value,
        }
    }

    /// Sets a general register: 32 bits clear the upper half, 16 and 8 leave the rest (SDM vol. 1, 3.4.1.1).
    pub(crate) fn set_general(&mut self, register: Register, value: u64) {
        let is_64 = self.is_64();
        let whole = &mut self.registers.general[place(register)];
        *whole = match register.size() {
            2 => *whole & !0xffff | value & 0xffff,
            4 if is_64 => value & 0xffff_ffff,
            4 => *whole & !0xffff_ffff | value & 0xffff_ffff,
            _ => value,
        };
    }
}

/// The place of a general register in [`Registers::general`].
pub(crate) fn place(register: Register) -> usize {
    ENCODED[(register.full_register() as usize).wrapping_sub(Register::RAX as usize) & 15]
}

fn no_table_there(gpa: Gpa) -> Result<(), Stop> {
    cannot(format!("a stack, descriptor table or TSS in device memory, at {gpa}"))
}

/// Access rights of a segment, see [`Segment::rights`].
pub(crate) mod rights {
    use super::Segment;

    pub(crate) fn kind(s: &Segment) -> u16 {
        s.rights & 0xf
    }
    pub(crate) fn is_code_or_data(s: &Segment) -> bool {
        s.rights & 1 << 4 != 0
    }
    pub(crate) fn dpl(s: &Segment) -> u8 {
        (s.rights >> 5 & 3) as u8
    }
    pub(crate) fn is_present(s: &Segment) -> bool {
        s.rights & 1 << 7 != 0
    }
    pub(crate) fn is_long(s: &Segment) -> bool {
        s.rights & 1 << 9 != 0
    }
    /// The D/B bit.
    pub(crate) fn is_big(s: &Segment) -> bool {
        s.rights & 1 << 10 != 0
    }
    pub(crate) fn is_unusable(s: &Segment) -> bool {
        s.rights & 1 << 12 != 0
    }
    pub(crate) fn is_code(s: &Segment) -> bool {
        is_code_or_data(s) && s.rights & 8 != 0
    }
    pub(crate) fn is_conforming(s: &Segment) -> bool {
        is_code(s) && s.rights & 4 != 0
    }
    pub(crate) fn is_writable(s: &Segment) -> bool {
        is_code_or_data(s) && s.rights & 0xa == 2
    }
    pub(crate) fn is_readable(s: &Segment) -> bool {
        is_code_or_data(s) && (s.rights & 8 == 0 || s.rights & 2 != 0)
    }
    /// Whether the limit lets these offsets, first and last, through; expand-down segments are the other way round
    /// (SDM vol. 3, 3.4.5.1).
    pub(crate) fn holds(s: &Segment, first: u64, last: u64) -> bool {
        let limit = u64::from(s.limit);
        if is_code_or_data(s) && s.rights & 0xc == 4 {
            let top = if is_big(s) { 0xffff_ffff } else { 0xffff };
            return first > limit && last >= first && last <= top;
        }
        last >= first && last <= limit
    }
}
