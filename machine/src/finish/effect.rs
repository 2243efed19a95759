//! What an instruction does, by hand where our own process cannot run it.

use super::cpu::{Cpu, FLAG_AC, FLAG_OF};
use super::deliver::{self, Event};
use super::fault::{BP, DB, Fault, GP, OF, Stop, UD, cannot};
use super::iret::iret;
use super::native::{self, CR4_OSXSAVE, Class};
use super::operand::Operand;
use super::state_area::StateArea;
use super::trampoline::Trampoline;
use iced_x86::{Code, Instruction as X86, Mnemonic};
use trapline_formats::Registers;

/// CR4.TSD: RDTSC and RDTSCP are CPL 0's (SDM vol. 3, 2.5).
const CR4_TSD: u64 = 1 << 2;
const FLAG_CF: u64 = 1;
/// CF, PF, AF, ZF, SF, OF.
const ARITHMETIC: u64 = 0x8d5;

/// How an instruction is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// INT n, INT3: a software interrupt. INT1 is none: its gate's DPL does not count.
    Interrupt { vector: u8, is_software: bool },
    /// INTO.
    Overflow,
    /// IRET, with its operand size in bytes.
    Return(usize),
    /// CLAC and STAC.
    AccessCheck(bool),
    /// RDTSC and RDTSCP.
    Clock { with_aux: bool },
    /// RDPID.
    ProcessorId,
    /// RDRAND and RDSEED.
    Random,
    /// MONITOR: nothing is watched.
    Monitor,
    /// MWAIT: waits as HLT does.
    Wait,
    /// XGETBV.
    ReadXcr,
    /// XSETBV.
    WriteXcr,
    /// XSAVE, XRSTOR and their kin.
    StateArea(StateArea),
    /// Run by our own processor.
    Native(Class),
    /// UD0, UD1, UD2, and bytes that are no instruction.
    Undefined,
}

impl Effect {
    /// How it is finished; `None` where it is not.
    pub(crate) fn of(x86: &X86) -> Option<Self> {
        if x86.is_invalid() {
            return Some(Self::Undefined);
        }
        Some(match x86.mnemonic() {
            Mnemonic::Int3 => Self::Interrupt { vector: BP, is_software: true },
            Mnemonic::Int => Self::Interrupt { vector: x86.immediate8(), is_software: true },
            Mnemonic::Int1 => Self::Interrupt { vector: DB, is_software: false },
            Mnemonic::Into => Self::Overflow,
            Mnemonic::Iret => Self::Return(2),
            Mnemonic::Iretd => Self::Return(4),
            Mnemonic::Iretq => Self::Return(8),
            Mnemonic::Clac => Self::AccessCheck(false),
            Mnemonic::Stac => Self::AccessCheck(true),
            Mnemonic::Rdtsc => Self::Clock { with_aux: false },
            Mnemonic::Rdtscp => Self::Clock { with_aux: true },
            Mnemonic::Rdpid => Self::ProcessorId,
            Mnemonic::Rdrand | Mnemonic::Rdseed => Self::Random,
            Mnemonic::Monitor => Self::Monitor,
            Mnemonic::Mwait => Self::Wait,
            Mnemonic::Xgetbv => Self::ReadXcr,
            Mnemonic::Xsetbv => Self::WriteXcr,
            Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => Self::Undefined,
            _ => match StateArea::of(x86) {
                Some(area) => Self::StateArea(area),
                None => Self::Native(Class::of(x86)?),
            },
        })
    }

    /// Whether it needs the registers of x87, SSE and AVX, and XCR0.
    pub(crate) fn uses_image(self) -> bool {
        match self {
            Self::Native(class) => class.uses_image(),
            Self::ReadXcr | Self::WriteXcr | Self::StateArea(_) => true,
            _ => false,
        }
    }

    /// Whether it needs IA32_TSC_AUX.
    pub(crate) fn uses_tsc_aux(self) -> bool {
        matches!(self, Self::Clock { with_aux: true } | Self::ProcessorId)
    }

    /// The faults that come before its operand in memory is looked at.
    pub(crate) fn check(self, cpu: &Cpu, x86: &X86) -> Result<(), Stop> {
        let undefined = Err(Fault::plain(UD).into());
        let protection = Err(Fault::coded(GP, 0).into());
        match self {
            Self::Undefined => undefined,
            Self::AccessCheck(_) | Self::Monitor | Self::Wait if cpu.cpl() != 0 => undefined,
            Self::Overflow if cpu.is_64() => undefined,
            Self::Interrupt { is_software: true, .. } if cpu.is_virtual8086() && is_int_n(x86) => {
                if cpu.registers.rflags >> 12 & 3 == 3 { Ok(()) } else { protection }
            }
            Self::Clock { .. } if cpu.cr4() & CR4_TSD != 0 && cpu.cpl() != 0 => protection,
            Self::Monitor | Self::Wait if cpu.registers.general[Registers::RCX] & 0xffff_ffff > 1 => {
                protection
            }
            Self::ReadXcr | Self::WriteXcr if cpu.cr4() & CR4_OSXSAVE == 0 => undefined,
            Self::WriteXcr if cpu.cpl() != 0 => protection,
            Self::Native(class) => class.check(cpu, x86),
            Self::StateArea(area) => area.check(cpu),
            _ => Ok(()),
        }
    }

    /// Carries it out, RIP included. Its operand in memory is changed in `operand`, and stored by the caller.
    pub(crate) fn carry_out(
        self,
        cpu: &mut Cpu,
        x86: &X86,
        operand: Option<&mut Operand>,
        trampoline: &mut Trampoline,
    ) -> Result<(), Stop> {
        match self {
            Self::Interrupt { vector, is_software } => {
                let event = Event { is_software, ..Event::software(vector) };
                return interrupt(cpu, x86, &event);
            }
            Self::Overflow if cpu.registers.rflags & FLAG_OF != 0 => {
                return interrupt(cpu, x86, &Event::software(OF));
            }
            Self::Return(width) => return iret(cpu, width),
            Self::AccessCheck(on) => {
                cpu.registers.rflags = cpu.registers.rflags & !FLAG_AC | if on { FLAG_AC } else { 0 };
            }
            Self::ProcessorId => cpu.set_general(x86.op0_register(), cpu.tsc_aux),
            Self::ReadXcr => read_xcr(cpu)?,
            Self::WriteXcr => write_xcr(cpu)?,
            Self::Native(_) => {
                let place = operand.as_ref().map(|o| o.place);
                let bytes = operand.map_or(&mut [][..], |o| &mut o.bytes);
                native::run(trampoline, cpu, x86, place, bytes)?;
            }
            Self::StateArea(area) => {
                let Some(operand) = operand else { return cannot("the area it names") };
                area.carry_out(cpu, x86, operand, trampoline)?;
            }
            Self::Overflow
            | Self::Clock { .. }
            | Self::Random
            | Self::Monitor
            | Self::Wait
            | Self::Undefined => {}
        }
        cpu.advance(x86.len());
        Ok(())
    }

    /// RDTSC, RDTSCP: EDX:EAX, and ECX (SDM vol. 2).
    pub(crate) fn set_clock(cpu: &mut Cpu, x86: &X86, value: u64, with_aux: bool) {
        let general = &mut cpu.registers.general;
        general[Registers::RAX] = value & 0xffff_ffff;
        general[Registers::RDX] = value >> 32;
        if with_aux {
            general[Registers::RCX] = cpu.tsc_aux & 0xffff_ffff;
        }
        cpu.advance(x86.len());
    }

    /// RDRAND, RDSEED: there always is a random number, which CF says (SDM vol. 2).
    pub(crate) fn set_random(cpu: &mut Cpu, x86: &X86, value: u64) {
        cpu.set_general(x86.op0_register(), value);
        cpu.registers.rflags = cpu.registers.rflags & !ARITHMETIC | FLAG_CF;
        cpu.advance(x86.len());
    }
}

fn is_int_n(x86: &X86) -> bool {
    x86.code() == Code::Int_imm8
}

/// A software interrupt: what is pushed is the address behind the instruction.
fn interrupt(cpu: &mut Cpu, x86: &X86, event: &Event) -> Result<(), Stop> {
    let rip = cpu.registers.rip;
    cpu.advance(x86.len());
    let delivered = deliver::deliver(cpu, event);
    if delivered.is_err() {
        cpu.registers.rip = rip;
    }
    delivered
}

/// XCR0; nothing else has a number that is valid here (SDM vol. 2, XGETBV).
fn read_xcr(cpu: &mut Cpu) -> Result<(), Stop> {
    let index = cpu.registers.general[Registers::RCX] & 0xffff_ffff;
    let xcr0 = cpu.image.as_ref().map_or(1, |i| i.xcr0);
    // XCR1 is XCR0 and XINUSE, where CPUID offers it (SDM vol. 1, 13.6).
    let value = match index {
        0 => xcr0,
        1 => xcr0 & cpu.image.as_ref().map_or(1, |i| i.in_use()),
        _ => return Err(Fault::coded(GP, 0).into()),
    };
    cpu.registers.general[Registers::RAX] = value & 0xffff_ffff;
    cpu.registers.general[Registers::RDX] = value >> 32;
    Ok(())
}

/// Whether KVM takes the value is found when it is given to it; here what no processor takes (SDM vol. 3, 13.3).
fn write_xcr(cpu: &mut Cpu) -> Result<(), Stop> {
    let general = &cpu.registers.general;
    let index = general[Registers::RCX] & 0xffff_ffff;
    let value = general[Registers::RDX] << 32 | general[Registers::RAX] & 0xffff_ffff;
    let (avx, avx512) = (value & 6, value & 0xe0);
    let possible = value & 1 != 0 && avx != 4 && (avx512 == 0 || avx512 == 0xe0 && avx == 6);
    if index != 0 || !possible || value & !cpu.xcr0_offered != 0 {
        return Err(Fault::coded(GP, 0).into());
    }
    if let Some(image) = &mut cpu.image {
        image.xcr0 = value;
    }
    Ok(())
}
