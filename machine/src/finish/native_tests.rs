//! What is finished, against the same instruction executed by this test, over operands that are chosen for their edges.

use super::super::cpu::{CS, Cpu};
use super::super::effect::Effect;
use super::super::fault::{Fault, GP, MF, Stop, UD, XM};
use super::super::image::Image;
use super::super::trampoline::Trampoline;
use super::super::work::{Step, Work};
use crate::memory::Memory;
use iced_x86::{Decoder, DecoderOptions};
use std::sync::Arc;
use trapline_formats::{Gpa, MemoryRegion, Registers, Segment, SystemRegisters};

const OPERAND: u64 = 0x3000;
const RIP: u64 = 0x1000;
const MXCSR: usize = 24;
const XMM: usize = 160;

/// A vCPU in 64-bit mode at CPL 0, without paging: linear addresses are physical ones.
fn cpu() -> Cpu {
    let memory = Memory::new(&[MemoryRegion { gpa: 0, bytes: 1 << 16, readonly: false }]).unwrap();
    let mut system = SystemRegisters::default();
    // Type, S, P, L.
    system.segments[CS] = Segment { rights: 0xb | 1 << 4 | 1 << 7 | 1 << 9, ..Segment::default() };
    system.control = [0x33, 0, 0, 0x600, 0];
    system.efer = 1 << 10;
    let mut canonical = vec![0; 4096];
    canonical[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80u32.to_le_bytes());
    Cpu {
        memory: Arc::new(memory),
        registers: Registers { rip: RIP, rflags: 2, ..Registers::default() },
        system,
        physical_bits: 40,
        image: Some(Image::new(&canonical, 3).unwrap()),
        xcr0_offered: 3,
        tsc_aux: 0x1234,
    }
}

fn set_xmm(cpu: &mut Cpu, register: usize, value: u128) {
    let image = cpu.image.as_mut().unwrap();
    image.bytes[XMM + register * 16..][..16].copy_from_slice(&value.to_le_bytes());
    image.bytes[512] |= 2;
}

fn xmm(cpu: &Cpu, register: usize) -> u128 {
    let image = cpu.image.as_ref().unwrap();
    u128::from_le_bytes(image.bytes[XMM + register * 16..][..16].try_into().unwrap())
}

fn set_mxcsr(cpu: &mut Cpu, value: u32) {
    cpu.image.as_mut().unwrap().bytes[MXCSR..MXCSR + 4].copy_from_slice(&value.to_le_bytes());
}

fn mxcsr(cpu: &Cpu) -> u32 {
    u32::from_le_bytes(cpu.image.as_ref().unwrap().bytes[MXCSR..MXCSR + 4].try_into().unwrap())
}

fn put(cpu: &Cpu, bytes: &[u8]) {
    cpu.memory.write(Gpa(OPERAND), bytes).unwrap();
}

fn get<const N: usize>(cpu: &Cpu, at: u64) -> [u8; N] {
    let mut bytes = [0; N];
    cpu.memory.read(Gpa(at), &mut bytes).unwrap();
    bytes
}

/// Finishes one instruction; where it raises something, what.
fn finish(cpu: &mut Cpu, code: &[u8]) -> Result<(), Fault> {
    let x86 = Decoder::with_ip(64, code, cpu.registers.rip, DecoderOptions::NONE).decode();
    let effect = Effect::of(&x86).expect("it is one that is finished");
    let mut trampoline = Trampoline::new().unwrap();
    if let Err(Stop::Fault(fault)) = effect.check(cpu, &x86) {
        return Err(fault);
    }
    let operand = super::super::operand::Operand::of(cpu, &x86).unwrap();
    let mut operand = operand;
    match effect.carry_out(cpu, &x86, operand.as_mut(), &mut trampoline) {
        Ok(()) => {
            if let Some(operand) = operand.filter(|o| o.writes) {
                operand.store(cpu).unwrap();
            }
            Ok(())
        }
        Err(Stop::Fault(fault)) => Err(fault),
        Err(other) => panic!("{other:?}"),
    }
}

const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x0123_4567_89ab_cdef,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// NaNs, infinities, denormals and zeros among the halves of a register.
const FLOATS: [u128; 8] = [
    0,
    0x3f80_0000_3f80_0000_3f80_0000_3f80_0000,
    0x7fc0_0001_ff80_0000_7f80_0000_8000_0000,
    0x7fa0_0000_0000_0001_807f_ffff_0080_0000,
    0x7f7f_ffff_ff7f_ffff_4049_0fdb_c2c8_0000,
    0x3ff0_0000_0000_0000_bff0_0000_0000_0000,
    0x7ff0_0000_0000_0001_0000_0000_0000_0001,
    u128::MAX,
];

/// Executes `$text` on RAX (in and out) and RCX and flags, here; returns RAX and the arithmetic flags.
macro_rules! natively {
    ($text:literal, $rax:expr, $rcx:expr) => {{
        let (mut rax, flags): (u64, u64);
        rax = $rax;
        // SAFETY: an instruction that reads and writes these registers and the flags only; the flags are pushed and popped
        // on the stack of this function.
        unsafe {
            std::arch::asm!("push 2", "popfq", $text, "pushfq", "pop {f}", f = out(reg) flags,
                inout("rax") rax, in("rcx") $rcx);
        }
        (rax, flags & 0x8d5)
    }};
}

macro_rules! general_register_tests {
    ($($name:ident: $text:literal, $code:expr;)*) => {$(
        #[test]
        fn $name() {
            for rax in EDGES {
                for rcx in EDGES {
                    let mut cpu = cpu();
                    cpu.registers.general[Registers::RAX] = rax;
                    cpu.registers.general[Registers::RCX] = rcx;
                    finish(&mut cpu, &$code).unwrap();
                    let expected = natively!($text, rax, rcx);
                    let flags = cpu.registers.rflags & 0x8d5;
                    assert_eq!((cpu.registers.general[Registers::RAX], flags), expected, "{rax:#x} {rcx:#x}");
                    assert_eq!(cpu.registers.rip, RIP + $code.len() as u64);
                }
            }
        }
    )*};
}

general_register_tests! {
    popcnt_of_16_bits_is_the_processors: "popcnt ax, cx", [0x66, 0xf3, 0x0f, 0xb8, 0xc1];
    popcnt_of_32_bits_is_the_processors: "popcnt eax, ecx", [0xf3, 0x0f, 0xb8, 0xc1];
    popcnt_of_64_bits_is_the_processors: "popcnt rax, rcx", [0xf3, 0x48, 0x0f, 0xb8, 0xc1];
    crc32_is_the_processors: "crc32 rax, rcx", [0xf2, 0x48, 0x0f, 0x38, 0xf1, 0xc1];
}

/// Executes `$text` on XMM0 (in and out) and XMM1 here, with this MXCSR; returns XMM0 and MXCSR.
macro_rules! sse_natively {
    ($text:literal, $a:expr, $b:expr, $mxcsr:expr) => {{
        let operands: [u128; 2] = [$a, $b];
        let mut result = 0u128;
        let (mut ours, guests, mut after) = (0u32, $mxcsr, 0u32);
        // SAFETY: MXCSR is saved and put back, exceptions are masked in the one that is loaded in between, and the
        // instruction reads and writes XMM0 and XMM1 only.
        unsafe {
            std::arch::asm!(
                "stmxcsr [{ours}]", "ldmxcsr [{guests}]", "movups xmm0, [{operands}]", "movups xmm1, [{operands} + 16]",
                $text, "movups [{result}], xmm0", "stmxcsr [{after}]", "ldmxcsr [{ours}]",
                ours = in(reg) &raw mut ours, guests = in(reg) &raw const guests, operands = in(reg) operands.as_ptr(),
                result = in(reg) &raw mut result, after = in(reg) &raw mut after,
                out("xmm0") _, out("xmm1") _);
        }
        (result, after)
    }};
}

macro_rules! sse_tests {
    ($($name:ident: $text:literal, $opcode:expr;)*) => {$(
        #[test]
        fn $name() {
            // Exceptions masked: rounding to nearest, and upwards with denormals as zeros and flushed.
            for control in [0x1f80, 0x1f80 | 0x4000 | 0x8040] {
                for a in FLOATS {
                    for b in FLOATS {
                        let expected = sse_natively!($text, a, b, control);
                        for from_memory in [false, true] {
                            let mut cpu = cpu();
                            set_mxcsr(&mut cpu, control);
                            set_xmm(&mut cpu, 0, a);
                            set_xmm(&mut cpu, 1, b);
                            put(&cpu, &b.to_le_bytes());
                            let mut code: Vec<u8> = $opcode.to_vec();
                            if from_memory {
                                cpu.registers.general[3] = OPERAND - 8;
                                code.extend([0x42, 8]); // [rdx + 8]
                            } else {
                                code.push(0xc1);
                            }
                            finish(&mut cpu, &code).unwrap();
                            assert_eq!((xmm(&cpu, 0), mxcsr(&cpu)), expected, "{a:#x} {b:#x} {from_memory}");
                        }
                    }
                }
            }
        }
    )*};
}

sse_tests! {
    addps_is_the_processors: "addps xmm0, xmm1", [0x0f, 0x58];
    mulpd_is_the_processors: "mulpd xmm0, xmm1", [0x66, 0x0f, 0x59];
    divps_is_the_processors: "divps xmm0, xmm1", [0x0f, 0x5e];
    sqrtpd_is_the_processors: "sqrtpd xmm0, xmm1", [0x66, 0x0f, 0x51];
    cvtps2dq_is_the_processors: "cvtps2dq xmm0, xmm1", [0x66, 0x0f, 0x5b];
    minps_is_the_processors: "minps xmm0, xmm1", [0x0f, 0x5d];
    pmaddwd_is_the_processors: "pmaddwd xmm0, xmm1", [0x66, 0x0f, 0xf5];
    pshufb_is_the_processors: "pshufb xmm0, xmm1", [0x66, 0x0f, 0x38, 0x00];
    aesenc_is_the_processors: "aesenc xmm0, xmm1", [0x66, 0x0f, 0x38, 0xdc];
}

/// QEMU's emulation of a processor executes as if all exceptions of x87 and SSE were masked: nothing to compare with.
fn processor_raises_unmasked_exceptions() -> bool {
    let signature = std::arch::x86_64::__cpuid(0x4000_0000);
    let is_tcg =
        [signature.ebx, signature.ecx, signature.edx].map(u32::to_le_bytes).concat() == b"TCGTCGTCGTCG";
    if is_tcg {
        eprintln!("not tested: this emulated processor raises no unmasked exceptions");
    }
    !is_tcg
}

#[test]
fn an_unmasked_exception_of_sse_is_xm_or_ud_and_leaves_its_flag() {
    if !processor_raises_unmasked_exceptions() {
        return;
    }
    for (cr4, vector) in [(0x600, XM), (0x200, UD)] {
        let mut cpu = cpu();
        cpu.system.control[3] = cr4;
        set_mxcsr(&mut cpu, 0x1f00);
        set_xmm(&mut cpu, 0, 0x7fa0_0000);
        let before = cpu.registers;
        assert_eq!(finish(&mut cpu, &[0xf3, 0x0f, 0x58, 0xc0]), Err(Fault::plain(vector)));
        assert_eq!((cpu.registers, mxcsr(&cpu), xmm(&cpu, 0)), (before, 0x1f01, 0x7fa0_0000));
    }
}

#[test]
fn an_unmasked_exception_of_x87_waits_for_the_next_instruction_of_x87() {
    if !processor_raises_unmasked_exceptions() {
        return;
    }
    let mut cpu = cpu();
    put(&cpu, &0x37bu16.to_le_bytes());
    cpu.registers.general[Registers::RDX] = OPERAND;
    for code in [&[0xdb, 0xe3][..], &[0xd9, 0x2a], &[0xd9, 0xe8], &[0xd9, 0xee], &[0xde, 0xf9]] {
        finish(&mut cpu, code).unwrap();
    }
    // FWAIT and FLD1 raise it, FNSTSW does not.
    assert_eq!(finish(&mut cpu, &[0x9b]), Err(Fault::plain(MF)));
    assert_eq!(finish(&mut cpu, &[0xd9, 0xe8]), Err(Fault::plain(MF)));
    finish(&mut cpu, &[0xdf, 0xe0]).unwrap();
    // Busy, error summary, zero divide; nothing was popped: TOP is 6.
    assert_eq!(cpu.registers.general[Registers::RAX] & 0xffff, 0xb084);
}

#[test]
fn x87_notes_the_guests_addresses_and_not_ours() {
    let mut cpu = cpu();
    cpu.registers.general[Registers::RDX] = OPERAND;
    put(&cpu, &1.5f32.to_le_bytes());
    finish(&mut cpu, &[0xd9, 0x02]).unwrap(); // fld dword [rdx]
    let noted = cpu.image.as_ref().unwrap().x87_pointers();
    // Some processors note the operand only for an exception that waits (CPUID.7.EBX, FDP_EXCPTN_ONLY), some both.
    assert!([(RIP, OPERAND), (RIP, 0), (0, 0)].contains(&noted), "{noted:x?}");
}

#[test]
fn a_misaligned_operand_of_movaps_is_gp_and_of_movups_is_not() {
    let mut cpu = cpu();
    cpu.registers.general[Registers::RDX] = OPERAND + 8;
    assert_eq!(finish(&mut cpu, &[0x0f, 0x28, 0x02]), Err(Fault::coded(GP, 0)));
    finish(&mut cpu, &[0x0f, 0x10, 0x02]).unwrap();
}

#[test]
fn a_register_stands_for_rsp_and_keeps_its_own_value() {
    let mut cpu = cpu();
    cpu.registers.general[Registers::RSP] = 0xff00_0001;
    cpu.registers.general[1] = 0x77; // RBX, the first to stand in
    finish(&mut cpu, &[0xf3, 0x48, 0x0f, 0xb8, 0xe4]).unwrap(); // popcnt rsp, rsp
    assert_eq!((cpu.registers.general[Registers::RSP], cpu.registers.general[1]), (9, 0x77));
}

#[test]
fn cmpxchg16b_compares_all_sixteen_bytes() {
    for (low, high, equal) in [(1, 2, true), (1, 3, false), (0, 2, false)] {
        let mut cpu = cpu();
        put(&cpu, &[1u64.to_le_bytes(), 2u64.to_le_bytes()].concat());
        let general = &mut cpu.registers.general;
        // RAX RBX RCX RDX RSI
        (general[0], general[1], general[2], general[3], general[4]) = (low, 3, 4, high, OPERAND);
        finish(&mut cpu, &[0xf0, 0x48, 0x0f, 0xc7, 0x0e]).unwrap();
        let expected = if equal { (3, 4, low, high) } else { (1, 2, 1, 2) };
        let memory = get::<16>(&cpu, OPERAND);
        let half = |i: usize| u64::from_le_bytes(memory[i..i + 8].try_into().unwrap());
        let general = &cpu.registers.general;
        assert_eq!((half(0), half(8), general[0], general[3]), expected);
        assert_eq!(cpu.registers.rflags & 0x40 != 0, equal);
    }
}

#[test]
fn an_operand_across_the_end_of_memory_is_read_and_written_in_fragments() {
    let mut cpu = cpu();
    cpu.registers.general[Registers::RDX] = 0xfff4;
    set_xmm(&mut cpu, 0, 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);
    let x86 = Decoder::with_ip(64, &[0x0f, 0x11, 0x02], RIP, DecoderOptions::NONE).decode(); // movups [rdx], xmm0
    let mut trampoline = Trampoline::new().unwrap();
    let mut work = Work::begin(cpu.clone(), x86, Effect::of(&x86).unwrap()).unwrap();
    assert_eq!(work.first(&mut trampoline).unwrap(), Step::Write(0x1_0000, vec![12, 13, 14, 15]));
    assert_eq!(work.answered(&[], &mut trampoline).unwrap(), Step::Done);
    assert_eq!(get::<12>(&work.cpu, 0xfff4), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    let x86 = Decoder::with_ip(64, &[0x0f, 0x10, 0x0a], RIP, DecoderOptions::NONE).decode(); // movups xmm1, [rdx]
    let mut work = Work::begin(cpu, x86, Effect::of(&x86).unwrap()).unwrap();
    assert_eq!(work.first(&mut trampoline).unwrap(), Step::Read(0x1_0000, 4));
    assert_eq!(work.answered(&[0xaa, 0xbb, 0xcc, 0xdd], &mut trampoline).unwrap(), Step::Done);
    assert_eq!(xmm(&work.cpu, 1), 0xddcc_bbaa_0b0a_0908_0706_0504_0302_0100);
}
