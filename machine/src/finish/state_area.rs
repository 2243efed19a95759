//! XSAVE, XRSTOR, FXSAVE, FXRSTOR and their kin: run by our own processor on a copy of the area (Intel SDM vol. 1, chapter
//! 13, and 10.5). Here is how large the area is, and what the guest's own XCR0, CPL and mode make of it.
//!
//! What is "in use" is taken from the canonical form of the guest's state, and the modified optimization never applies, for
//! the area is never one that our processor restored from: so the bytes that are written depend on the guest's state alone.

use super::cpu::Cpu;
use super::fault::{Fault, GP, NM, Stop, UD, cannot};
use super::native::{self, CR4_OSXSAVE};
use super::operand::{self, Operand};
use super::trampoline::{COMPUTING, Trampoline};
use iced_x86::{Code, Instruction as X86, Mnemonic};
use std::arch::x86_64::__cpuid_count;
use trapline_formats::Registers;

const CR0_EM_TS: u64 = 0xc;
/// Legacy region and header.
const HEADER: usize = 512;
const EXTENDED: usize = 576;
/// XCOMP_BV\[63\]: the area is compacted.
const COMPACTED: u64 = 1 << 63;
/// The components of AVX-512.
const AVX512: u64 = 0xe0;
/// XMM8 to XMM15, and the upper halves of YMM8 to YMM15, which only 64-bit mode has.
const UPPER: [std::ops::Range<usize>; 2] = [288..416, 704..832];

/// One of the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateArea {
    /// It saves; the others restore.
    saves: bool,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// FXSAVE, FXRSTOR.
    Legacy,
    /// XSAVE, XSAVEOPT, XRSTOR (which finds out).
    Standard,
    /// XSAVEC.
    Compacted,
    /// XSAVES, XRSTORS: for CPL 0, and compacted. IA32_XSS is 0: its MSR is denied.
    Supervisor,
}

impl StateArea {
    pub(crate) fn of(x86: &X86) -> Option<Self> {
        let (saves, format) = match x86.mnemonic() {
            Mnemonic::Fxsave | Mnemonic::Fxsave64 => (true, Format::Legacy),
            Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => (false, Format::Legacy),
            Mnemonic::Xsave | Mnemonic::Xsave64 | Mnemonic::Xsaveopt | Mnemonic::Xsaveopt64 => {
                (true, Format::Standard)
            }
            Mnemonic::Xrstor | Mnemonic::Xrstor64 => (false, Format::Standard),
            Mnemonic::Xsavec | Mnemonic::Xsavec64 => (true, Format::Compacted),
            Mnemonic::Xsaves | Mnemonic::Xsaves64 => (true, Format::Supervisor),
            Mnemonic::Xrstors | Mnemonic::Xrstors64 => (false, Format::Supervisor),
            _ => return None,
        };
        Some(Self { saves, format })
    }

    pub(crate) fn check(self, cpu: &Cpu) -> Result<(), Stop> {
        let undefined = self.format != Format::Legacy && cpu.cr4() & CR4_OSXSAVE == 0;
        let unavailable = if self.format == Format::Legacy { CR0_EM_TS } else { 8 };
        if undefined {
            return Err(Fault::plain(UD).into());
        }
        if self.format == Format::Supervisor && cpu.cpl() != 0 {
            return Err(Fault::coded(GP, 0).into());
        }
        if cpu.cr0() & unavailable != 0 {
            return Err(Fault::plain(NM).into());
        }
        Ok(())
    }

    /// The area, as large as the instruction touches it.
    pub(crate) fn operand(self, cpu: &Cpu, x86: &X86) -> Result<Option<Operand>, Stop> {
        let Some(offset) = operand::offset(cpu, x86) else { return Ok(None) };
        let segment = operand::segment(x86);
        let alignment = if self.format == Format::Legacy { 16 } else { 64 };
        if cpu.linear(segment, offset, EXTENDED.min(512), self.saves)? % alignment != 0 {
            return Err(Fault::coded(GP, 0).into());
        }
        let components = self.components(cpu);
        let length = match (self.format, self.saves) {
            (Format::Legacy, _) => HEADER,
            (Format::Standard, true) => standard_bytes(components),
            (Format::Compacted | Format::Supervisor, true) => compacted_bytes(components),
            (_, false) => {
                let head = Operand::at(cpu, segment, offset, EXTENDED, (true, false))?;
                let (in_area, compaction) = (u64_at(&head.bytes, HEADER), u64_at(&head.bytes, HEADER + 8));
                let beyond = (in_area | compaction & !COMPACTED) & !enabled(cpu) != 0;
                let wrong_form = self.format == Format::Supervisor && compaction & COMPACTED == 0;
                if beyond || wrong_form {
                    return Err(Fault::coded(GP, 0).into());
                }
                if compaction & COMPACTED != 0 {
                    compacted_bytes(compaction & !COMPACTED)
                } else {
                    standard_bytes(components)
                }
            }
        };
        let area = Operand::at(cpu, segment, offset, length, (!self.saves, self.saves))?;
        if !area.fragments().is_empty() {
            return cannot("a save area in device memory");
        }
        if components & !COMPUTING != 0 {
            return cannot(format!("XSAVE components {:#x}", components & !COMPUTING));
        }
        if !cpu.is_64() && components & AVX512 != 0 {
            return cannot("the part of AVX-512 state that 32-bit code sees");
        }
        Ok(Some(area))
    }

    /// The requested-feature bitmap: EDX:EAX and XCR0 (SDM vol. 1, 13.7).
    fn components(self, cpu: &Cpu) -> u64 {
        if self.format == Format::Legacy {
            return 3;
        }
        let general = &cpu.registers.general;
        let asked = general[Registers::RDX] << 32 | general[Registers::RAX] & 0xffff_ffff;
        asked & enabled(cpu)
    }

    /// Carries it out but for RIP.
    pub(crate) fn carry_out(
        self,
        cpu: &mut Cpu,
        x86: &X86,
        area: &mut Operand,
        trampoline: &mut Trampoline,
    ) -> Result<(), Stop> {
        let (registers, before) = (cpu.registers, area.bytes.clone());
        let image = cpu.image.as_ref().map(|i| i.bytes);
        if self.format != Format::Legacy {
            let components = self.components(cpu);
            cpu.registers.general[Registers::RAX] = components & 0xffff_ffff;
            cpu.registers.general[Registers::RDX] = components >> 32;
        }
        let result = native::run(trampoline, cpu, &unprivileged(x86), Some(area.place), &mut area.bytes);
        cpu.registers = registers;
        result?;
        if !cpu.is_64() {
            keep_upper(if self.saves { &mut area.bytes } else { image_of(cpu) }, |range| {
                if self.saves { before.get(range) } else { image.as_ref().and_then(|i| i.get(range)) }
            });
        }
        Ok(())
    }
}

/// The instruction that a process may run in its place: with IA32_XSS = 0 they do the same (SDM vol. 1, 13.11, 13.12).
fn unprivileged(x86: &X86) -> X86 {
    let mut ours = *x86;
    match x86.code() {
        Code::Xsaves_mem => ours.set_code(Code::Xsavec_mem),
        Code::Xsaves64_mem => ours.set_code(Code::Xsavec64_mem),
        Code::Xrstors_mem => ours.set_code(Code::Xrstor_mem),
        Code::Xrstors64_mem => ours.set_code(Code::Xrstor64_mem),
        _ => {}
    }
    ours
}

/// Components that are switched on.
fn enabled(cpu: &Cpu) -> u64 {
    cpu.image.as_ref().map_or(3, |i| i.xcr0)
}

fn image_of(cpu: &mut Cpu) -> &mut [u8] {
    cpu.image.as_mut().map_or(&mut [][..], |i| &mut i.bytes[..])
}

/// Puts back what code outside of 64-bit mode does not touch.
fn keep_upper<'a>(bytes: &mut [u8], old: impl Fn(std::ops::Range<usize>) -> Option<&'a [u8]>) {
    for range in UPPER {
        if let (Some(new), Some(old)) = (bytes.get_mut(range.clone()), old(range)) {
            new.copy_from_slice(old);
        }
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// Component, offset and bytes in the standard format, and whether it is aligned in the compacted one: our processor's,
/// which lays out the area (SDM vol. 1, 13.4.2, 13.4.3).
fn layout(components: u64) -> impl Iterator<Item = (usize, usize, bool)> {
    (2..63).filter(move |i| components >> i & 1 != 0).map(|i| {
        let leaf = __cpuid_count(0xd, i);
        (leaf.ebx as usize, leaf.eax as usize, leaf.ecx & 2 != 0)
    })
}

fn standard_bytes(components: u64) -> usize {
    layout(components).map(|(offset, bytes, _)| offset + bytes).max().unwrap_or(EXTENDED)
}

fn compacted_bytes(components: u64) -> usize {
    layout(components).fold(EXTENDED, |end, (_, bytes, is_aligned)| {
        (if is_aligned { end.next_multiple_of(64) } else { end }) + bytes
    })
}
