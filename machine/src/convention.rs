//! The canonical instruction address of an exit.
//!
//! At an exit RIP stands sometimes at the trapped instruction, sometimes behind it; which, depends on the engine and on
//! the kind of exit. [`Convention`] says which, as a probe guest found it; [`instruction_of`] turns a RIP into the address
//! of the instruction's first byte. Behind an instruction it has to look backwards, which x86 does not allow in general:
//! it tries every length and keeps what really does what the exit says (same port, same width, same memory).

use crate::code::CodeSegment;
use crate::exit::Exit;
use crate::features::KVM_ORDER;
use crate::machine::Machine;
use iced_x86::{
    Code, Decoder, DecoderOptions, Instruction as X86, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};
use trapline_formats::{CpuMode, ExitKind, Gva, Instruction, Registers};

/// Where RIP stands at an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RipAt {
    /// At the first byte of the instruction.
    #[default]
    Instruction,
    /// At the first byte after it.
    Next,
}

/// Where RIP stands at each kind of exit, on this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Convention {
    /// `IN`, `INS`.
    pub port_read: RipAt,
    /// `OUT`, to any port but 0x7E.
    pub port_write: RipAt,
    /// `OUT` to port 0x7E, which KVM treats apart (KVM_X86_QUIRK_OUT_7E_INC_RIP, KVM API 7.22).
    pub port_write_7e: RipAt,
    /// Reads of memory that is not RAM.
    pub mmio_read: RipAt,
    /// Writes of memory that is not RAM.
    pub mmio_write: RipAt,
    /// RDMSR.
    pub msr_read: RipAt,
    /// WRMSR.
    pub msr_write: RipAt,
    /// HLT.
    pub halt: RipAt,
}

impl Convention {
    fn of(self, exit: &Exit) -> RipAt {
        match exit.kind() {
            ExitKind::PortRead => self.port_read,
            ExitKind::PortWrite if exit.address == 0x7e => self.port_write_7e,
            ExitKind::PortWrite => self.port_write,
            ExitKind::MmioRead => self.mmio_read,
            ExitKind::MmioWrite => self.mmio_write,
            ExitKind::MsrRead => self.msr_read,
            ExitKind::MsrWrite => self.msr_write,
            ExitKind::Halt => self.halt,
            ExitKind::SetTpr => RipAt::Next,
            ExitKind::InterruptWindow
            | ExitKind::ClockRead
            | ExitKind::RandomRead
            | ExitKind::Shutdown
            | ExitKind::Unfinished => RipAt::Instruction,
        }
    }
}

const LONGEST: usize = 15;

pub(crate) fn decoder(bytes: &[u8], mode: CpuMode, address: u64) -> Decoder<'_> {
    Decoder::with_ip(mode.bits(), bytes, address, DecoderOptions::NONE)
}

/// The instruction of an exit, and whether it repeats.
pub(crate) fn instruction_of(machine: &Machine, exit: &Exit, segment: CodeSegment) -> (Instruction, bool) {
    let registers = *machine.registers();
    let look = Look { machine, exit, segment, registers };
    let found = if exit.is_ours
        && let Some(original) = &machine.finisher.stands_for
    {
        Some((exit.rip, original.clone(), false))
    } else if exit.is_ours || matches!(exit.kind(), ExitKind::InterruptWindow | ExitKind::Shutdown) {
        look.decode_at(exit.rip)
    } else {
        match machine.convention().of(exit) {
            RipAt::Instruction => look.forward().or_else(|| look.backward()),
            RipAt::Next => look.backward().or_else(|| look.forward()),
        }
    };
    let (rip, bytes, rep) = found.unwrap_or((exit.rip, Vec::new(), false));
    let address = Gva(segment.linear(rip));
    (Instruction { address, bytes, mode: segment.mode, cpl: segment.cpl }, rep)
}

/// Everything that a candidate is judged by.
struct Look<'a> {
    machine: &'a Machine,
    exit: &'a Exit,
    segment: CodeSegment,
    registers: Registers,
}

type Found = (u64, Vec<u8>, bool);

impl Look<'_> {
    fn fetch(&self, rip: u64) -> ([u8; LONGEST], usize) {
        let mut bytes = [0; LONGEST];
        let length = self.machine.read_linear(Gva(self.segment.linear(rip)), &mut bytes);
        (bytes, length)
    }

    /// Whatever instruction stands at `rip`.
    fn decode_at(&self, rip: u64) -> Option<Found> {
        let (bytes, length) = self.fetch(rip);
        let x86 = decoder(&bytes[..length], self.segment.mode, rip).decode();
        (!x86.is_invalid()).then(|| (rip, bytes[..x86.len()].to_vec(), repeats(&x86)))
    }

    /// The instruction at RIP, if it does what the exit says.
    fn forward(&self) -> Option<Found> {
        let (bytes, length) = self.fetch(self.exit.rip);
        let x86 = decoder(&bytes[..length], self.segment.mode, self.exit.rip).decode();
        (!x86.is_invalid() && self.explains(&x86))
            .then(|| (self.exit.rip, bytes[..x86.len()].to_vec(), repeats(&x86)))
    }

    /// The instruction that ends at RIP and does what the exit says. The shortest, because a longer one that does the same
    /// only adds prefixes without effect; but of string instructions the longest, because their REP prefix has an effect.
    fn backward(&self) -> Option<Found> {
        let mut best: Option<Found> = None;
        for length in 1..=LONGEST as u64 {
            let start = self.wrap(self.exit.rip.wrapping_sub(length));
            let (bytes, available) = self.fetch(start);
            let x86 = decoder(&bytes[..available], self.segment.mode, start).decode();
            if x86.is_invalid() || x86.len() as u64 != length || !self.explains(&x86) {
                continue;
            }
            let found = (start, bytes[..x86.len()].to_vec(), repeats(&x86));
            if !x86.is_string_instruction() {
                return Some(best.unwrap_or(found));
            }
            best = Some(found);
        }
        best
    }

    fn wrap(&self, rip: u64) -> u64 {
        match self.segment.mode.bits() {
            16 => rip & 0xffff,
            32 => rip & 0xffff_ffff,
            _ => rip,
        }
    }

    /// Whether this instruction does what the exit says.
    fn explains(&self, x86: &X86) -> bool {
        match self.exit.kind() {
            ExitKind::PortRead => {
                matches!(x86.mnemonic(), Mnemonic::In | Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd)
                    && self.is_this_port(x86)
            }
            ExitKind::PortWrite => {
                matches!(x86.mnemonic(), Mnemonic::Out | Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd)
                    && self.is_this_port(x86)
            }
            ExitKind::MsrRead => matches!(x86.mnemonic(), Mnemonic::Rdmsr),
            ExitKind::MsrWrite => matches!(x86.mnemonic(), Mnemonic::Wrmsr),
            ExitKind::Halt => x86.mnemonic() == Mnemonic::Hlt,
            ExitKind::SetTpr => x86.code() == Code::Mov_cr_r64 || x86.code() == Code::Mov_cr_r32,
            ExitKind::MmioRead | ExitKind::MmioWrite => self.touches(x86),
            ExitKind::InterruptWindow
            | ExitKind::ClockRead
            | ExitKind::RandomRead
            | ExitKind::Shutdown
            | ExitKind::Unfinished => true,
        }
    }

    fn is_this_port(&self, x86: &X86) -> bool {
        let (port, width) = match x86.code() {
            Code::In_AL_imm8 | Code::Out_imm8_AL => (u64::from(x86.immediate8()), 1),
            Code::In_AX_imm8 | Code::Out_imm8_AX => (u64::from(x86.immediate8()), 2),
            Code::In_EAX_imm8 | Code::Out_imm8_EAX => (u64::from(x86.immediate8()), 4),
            Code::In_AL_DX | Code::Out_DX_AL | Code::Insb_m8_DX | Code::Outsb_DX_m8 => (self.dx(), 1),
            Code::In_AX_DX | Code::Out_DX_AX | Code::Insw_m16_DX | Code::Outsw_DX_m16 => (self.dx(), 2),
            Code::In_EAX_DX | Code::Out_DX_EAX | Code::Insd_m32_DX | Code::Outsd_DX_m32 => (self.dx(), 4),
            _ => return false,
        };
        port == self.exit.address && width == self.exit.size
    }

    fn dx(&self) -> u64 {
        self.registers.general[Registers::RDX] & 0xffff
    }

    /// Whether a memory operand of the instruction covers the GPA of the exit.
    fn touches(&self, x86: &X86) -> bool {
        let wanted = |access: OpAccess| match self.exit.kind() {
            ExitKind::MmioWrite => matches!(
                access,
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
            ),
            _ => !matches!(access, OpAccess::None | OpAccess::NoMemAccess),
        };
        let mut factory = InstructionInfoFactory::new();
        let info = factory.info(x86);
        info.used_memory().iter().filter(|memory| wanted(memory.access())).any(|memory| {
            let size = memory.memory_size().size() as u64;
            let address = memory.virtual_address(0, |register, _, _| self.register(register));
            address.is_some_and(|address| {
                self.covers(address, size)
                    // String instructions may have moved their pointers already, in the direction of DF.
                    || x86.is_string_instruction()
                        && (self.covers(address.wrapping_sub(size), size) || self.covers(address.wrapping_add(size), size))
            })
        })
    }

    /// Whether `size` bytes at a linear address cover the GPA of the exit, across a page boundary too.
    fn covers(&self, linear: u64, size: u64) -> bool {
        let width = if self.segment.mode == CpuMode::Long64 { u64::MAX } else { 0xffff_ffff };
        (0..size.clamp(1, 64)).step_by(1).any(|i| {
            let at = linear.wrapping_add(i) & width;
            // Translating costs a system call: only where the offset in the page fits.
            at & 0xfff == self.exit.address & 0xfff
                && self.machine.translate(Gva(at)).is_some_and(|gpa| gpa.0 == self.exit.address)
        })
    }

    fn register(&self, register: Register) -> Option<u64> {
        if register.is_segment_register() {
            return Some(self.machine.segment_base(register as usize - Register::ES as usize));
        }
        let full = register.full_register();
        let value = if full == Register::RIP {
            self.exit.rip
        } else {
            let index = (full as usize).checked_sub(Register::RAX as usize)?;
            self.registers.general[*KVM_ORDER.get(index)?]
        };
        Some(match register.size() {
            1 if register >= Register::AH && register <= Register::BH => value >> 8 & 0xff,
            1 => value & 0xff,
            2 => value & 0xffff,
            4 => value & 0xffff_ffff,
            _ => value,
        })
    }
}

fn repeats(x86: &X86) -> bool {
    x86.is_string_instruction() && (x86.has_rep_prefix() || x86.has_repne_prefix())
}
