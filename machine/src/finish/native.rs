//! User-level instructions that compute with registers and one operand in memory: the processor that runs us carries them
//! out, exactly as it would for the guest. Here is what it cannot know: which of them the guest may use now, where their
//! operand is, and what an exception means to the guest.

use super::cpu::{Cpu, place};
use super::fault::{AC, DE, Fault, GP, MF, NM, Stop, UD, XM, cannot};
use super::image::Image;
use super::trampoline::Trampoline;
use iced_x86::{
    CpuidFeature, Encoder, EncodingKind, Instruction as X86, InstructionInfoFactory, Mnemonic, OpKind,
    Register,
};
use trapline_formats::Registers;

const CR0_MP: u64 = 1 << 1;
const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR0_NE: u64 = 1 << 5;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
pub(crate) const CR4_OSXSAVE: u64 = 1 << 18;
/// XCR0: SSE and AVX state; and that of AVX-512 (SDM vol. 3, 2.6).
const XCR0_AVX: u64 = 6;
const XCR0_AVX512: u64 = 0xe6;

/// The state that an instruction computes with, and so what the guest must have switched on for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// General registers and flags.
    General,
    /// WAIT.
    Wait,
    X87,
    Mmx,
    Sse,
    Avx,
    Avx512,
}

impl Class {
    /// The class of an instruction that can be run in our process; `None` for all others.
    pub(crate) fn of(x86: &X86) -> Option<Self> {
        use CpuidFeature as F;
        // An operand in memory that the encoding does not name, or more than one, cannot be put elsewhere.
        if x86.is_vsib() || x86.is_stack_instruction() || x86.is_string_instruction() || x86.is_privileged() {
            return None;
        }
        match x86.mnemonic() {
            Mnemonic::Wait => return Some(Self::Wait),
            Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu => return None,
            // They belong to SSE by history only.
            Mnemonic::Lfence
            | Mnemonic::Mfence
            | Mnemonic::Sfence
            | Mnemonic::Movnti
            | Mnemonic::Prefetchnta
            | Mnemonic::Prefetcht0
            | Mnemonic::Prefetcht1
            | Mnemonic::Prefetcht2
            | Mnemonic::Pause
            | Mnemonic::Clflush => return Some(Self::General),
            _ => {}
        }
        let uses = |register: fn(Register) -> bool| (0..x86.op_count()).any(|i| register(x86.op_register(i)));
        let mut class = Self::General;
        for feature in x86.cpuid_features() {
            class = match feature {
                F::POPCNT | F::LZCNT | F::BMI1 | F::BMI2 | F::ADX | F::MOVBE | F::CMPXCHG16B | F::CX8 => {
                    class
                }
                F::CMOV => class,
                F::FPU | F::FPU287 | F::FPU387 => Self::X87,
                F::SSE4_2 if x86.mnemonic() == Mnemonic::Crc32 => class,
                F::MMX => Self::Mmx,
                F::SSE | F::SSE2 | F::SSE3 | F::SSSE3 | F::SSE4_1 | F::SSE4_2 | F::SSE4A => Self::Sse,
                F::AES | F::PCLMULQDQ | F::SHA | F::GFNI | F::FXSR => class.max_sse(),
                F::AVX | F::AVX2 | F::FMA | F::F16C | F::VAES | F::VPCLMULQDQ | F::AVX_VNNI => Self::Avx,
                F::AVX512F
                | F::AVX512VL
                | F::AVX512BW
                | F::AVX512DQ
                | F::AVX512CD
                | F::AVX512_BITALG
                | F::AVX512_IFMA
                | F::AVX512_VBMI
                | F::AVX512_VBMI2
                | F::AVX512_VNNI
                | F::AVX512_VPOPCNTDQ => Self::Avx512,
                _ => return None,
            };
        }
        let is_base_cmov = class == Self::General && x86.cpuid_features().contains(&F::CMOV);
        if is_base_cmov {
            return None;
        }
        // FISTTP and SSE instructions on MMX registers obey the older rules.
        if x86.mnemonic() == Mnemonic::Fisttp {
            class = Self::X87;
        } else if class == Self::Sse && uses(Register::is_mm) && !uses(Register::is_xmm) {
            class = Self::Mmx;
        } else if class == Self::Avx && x86.encoding() == EncodingKind::EVEX {
            class = Self::Avx512;
        }
        Some(class)
    }

    fn max_sse(self) -> Self {
        if matches!(self, Self::Avx | Self::Avx512) { self } else { Self::Sse }
    }

    /// Whether it needs the image of x87, SSE and AVX registers.
    pub(crate) fn uses_image(self) -> bool {
        self != Self::General
    }

    /// Raises what the processor raises where the guest has not switched this on (SDM vol. 3, tables 2-2 and 14-1; vol. 2,
    /// tables 2-14 to 2-26).
    pub(crate) fn check(self, cpu: &Cpu, x86: &X86) -> Result<(), Stop> {
        let (cr0, cr4) = (cpu.cr0(), cpu.cr4());
        let xcr0 = cpu.image.as_ref().map_or(1, |i| i.xcr0);
        let no_vex = x86.encoding() != EncodingKind::Legacy && (!cpu.is_protected() || cpu.is_virtual8086());
        let lacks = |bits: u64| cr4 & CR4_OSXSAVE == 0 || xcr0 & bits != bits;
        let (undefined, unavailable) = match self {
            Self::General => (no_vex, false),
            Self::Wait => (false, cr0 & (CR0_MP | CR0_TS) == CR0_MP | CR0_TS),
            Self::X87 => (false, cr0 & (CR0_EM | CR0_TS) != 0),
            Self::Mmx => (cr0 & CR0_EM != 0, cr0 & CR0_TS != 0),
            Self::Sse => (cr0 & CR0_EM != 0 || cr4 & CR4_OSFXSR == 0, cr0 & CR0_TS != 0),
            Self::Avx => (no_vex || lacks(XCR0_AVX), cr0 & CR0_TS != 0),
            Self::Avx512 => (no_vex || lacks(XCR0_AVX512), cr0 & CR0_TS != 0),
        };
        if undefined {
            return Err(Fault::plain(UD).into());
        }
        if unavailable {
            return Err(Fault::plain(NM).into());
        }
        let waits = matches!(self, Self::Wait | Self::X87 | Self::Mmx)
            && cpu.image.as_ref().is_some_and(|i| i.x87_exception_waits());
        if waits && cr0 & CR0_NE == 0 {
            return cannot("FERR# and IRQ 13: an x87 exception waits and CR0.NE is clear");
        }
        Ok(())
    }
}

/// Where an operand in memory is in the guest, for the pointers of x87 and for its alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) linear: u64,
}

/// Runs the instruction on the registers, with its operand in `operand`, which it may change.
pub(crate) fn run(
    trampoline: &mut Trampoline,
    cpu: &mut Cpu,
    x86: &X86,
    place: Option<Place>,
    operand: &mut [u8],
) -> Result<(), Stop> {
    let linear = place.map_or(0, |p| p.linear);
    let code = encode(trampoline, cpu, x86, linear)?;
    trampoline.operand(linear, operand.len()).copy_from_slice(operand);
    let mut registers = cpu.registers;
    if let Some((scratch, _)) = code.scratch {
        registers.general[scratch] = registers.general[Registers::RSP];
    }
    let trap = trampoline.run(&code.bytes, &mut registers, cpu.image.as_deref_mut());
    if let Some(image) = cpu.image.as_deref_mut() {
        image.mark_in_use(trampoline.components());
        hide_ourselves(trampoline, image, cpu.registers.rip, x86, place);
    }
    if let Some(vector) = trap {
        return Err(meaning(cpu, vector));
    }
    operand.copy_from_slice(trampoline.operand(linear, operand.len()));
    if let Some((scratch, register)) = code.scratch {
        let result = registers.general[scratch];
        registers.general[scratch] = cpu.registers.general[scratch];
        cpu.registers = registers;
        cpu.set_general(register, result);
    } else {
        cpu.registers = registers;
    }
    Ok(())
}

/// What an exception of ours is to the guest.
fn meaning(cpu: &Cpu, vector: u8) -> Stop {
    match vector {
        DE | MF | UD => Fault::plain(vector).into(),
        XM if cpu.cr4() & CR4_OSXMMEXCPT == 0 => Fault::plain(UD).into(),
        XM => Fault::plain(XM).into(),
        AC => Fault::coded(AC, 0).into(),
        // An operand of ours is always mapped and canonical, so it can only be badly aligned, or hold reserved bits.
        GP | super::fault::SS => Fault::coded(GP, 0).into(),
        other => Stop::Cannot(format!("what exception {other} of our own processor means to the guest")),
    }
}

/// x87 notes where its last instruction and operand were: in the guest, not in our process.
fn hide_ourselves(trampoline: &Trampoline, image: &mut Image, rip: u64, x86: &X86, place: Option<Place>) {
    let (instruction, operand) = image.x87_pointers();
    if instruction == trampoline.code_address() {
        image.set_x87_instruction(rip, x87_opcode(x86));
        let Some(place) = place else { return };
        if operand == trampoline.operand_address(place.linear) {
            image.set_x87_operand(place.offset);
        }
    }
}

/// The eleven bits of opcode that x87 notes (SDM vol. 1, 8.1.9): they name the operand's form, which re-encoding changes.
fn x87_opcode(x86: &X86) -> Option<u16> {
    let mut encoder = Encoder::new(if x86.code_size() == iced_x86::CodeSize::Code64 { 64 } else { 32 });
    encoder.encode(x86, x86.ip()).ok()?;
    let bytes = encoder.take_buffer();
    let at = bytes.iter().position(|b| (0xd8..=0xdf).contains(b))?;
    Some(u16::from(bytes[at] & 7) << 8 | u16::from(*bytes.get(at + 1)?))
}

/// The instruction, encoded for our process.
struct Encoded {
    bytes: Vec<u8>,
    /// A register that stands for RSP: its place, and what it stands for.
    scratch: Option<(usize, Register)>,
}

fn encode(trampoline: &Trampoline, cpu: &Cpu, x86: &X86, linear: u64) -> Result<Encoded, Stop> {
    let mut ours = *x86;
    if (0..x86.op_count()).any(|i| x86.op_kind(i) == OpKind::Memory) {
        ours.set_segment_prefix(Register::None);
        ours.set_memory_base(Register::RIP);
        ours.set_memory_index(Register::None);
        ours.set_memory_index_scale(1);
        ours.set_memory_displ_size(8);
        ours.set_memory_displacement64(trampoline.operand_address(linear));
    }
    let scratch = replace_stack_pointer(x86, &mut ours);
    let mut encoder = Encoder::new(64);
    if encoder.encode(&ours, trampoline.code_address()).is_err() {
        return cannot(format!(
            "a form of it that 64-bit mode has, where {} has this one",
            cpu.mode().name()
        ));
    }
    Ok(Encoded { bytes: encoder.take_buffer(), scratch })
}

/// Has a free register stand for RSP, which is our own stack's.
fn replace_stack_pointer(x86: &X86, ours: &mut X86) -> Option<(usize, Register)> {
    use Register as R;
    const FREE: [[Register; 4]; 4] = [
        [R::RBX, R::EBX, R::BX, R::BL],
        [R::RSI, R::ESI, R::SI, R::SIL],
        [R::RDI, R::EDI, R::DI, R::DIL],
        [R::RBP, R::EBP, R::BP, R::BPL],
    ];
    let of_stack =
        |i: &u32| x86.op_kind(*i) == OpKind::Register && x86.op_register(*i).full_register() == Register::RSP;
    let operands: Vec<u32> = (0..x86.op_count()).filter(of_stack).collect();
    let first = x86.op_register(*operands.first()?);
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(ours);
    let is_used = |r: Register| info.used_registers().iter().any(|u| u.register().full_register() == r);
    let free = FREE.iter().find(|names| !is_used(names[0]))?;
    let width = |r: Register| match r.size() {
        8 => 0,
        4 => 1,
        2 => 2,
        _ => 3,
    };
    for i in operands {
        ours.set_op_register(i, free[width(x86.op_register(i))]);
    }
    Some((place(free[0]), first))
}

#[cfg(test)]
#[path = "native_tests.rs"]
mod tests;
