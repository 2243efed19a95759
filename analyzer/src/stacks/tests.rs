use super::call::{self, Call};
use super::cfi::Cfi;
use super::cpu::{Cpu, RBP, Segments, Step};
use super::memory::Memory;
use super::orc;
use super::orc_table::OrcTable;
use super::table::Method::{self, Dwarf, FramePointer, Guess, Orc, TrapFrame};
use super::{Standing, Unwinder, guess};
use crate::symbols::Sources;
use proptest::prelude::*;
use trapline_formats::{CpuMode, ExitKind, Gva, Instruction, Registers, Site, SystemRegisters};

const LONG: Segments = Segments { mode: CpuMode::Long64, code_base: 0, stack_base: 0, stack_mask: u64::MAX };
const STACK: u64 = 0xffff_c900_0000_1000;
const CODE: u64 = 0xffff_ffff_8100_0000;

/// Two pages: a stack and code.
#[derive(Clone)]
struct Guest {
    stack: Vec<u8>,
    code: Vec<u8>,
}

impl Guest {
    fn new() -> Self {
        Self { stack: vec![0; 4096], code: vec![0x90; 4096] }
    }

    fn push(mut self, at: u64, values: &[u64]) -> Self {
        for (i, value) in values.iter().enumerate() {
            let from = (at - STACK) as usize + 8 * i;
            self.stack[from..from + 8].copy_from_slice(&value.to_le_bytes());
        }
        self
    }

    /// Puts a CALL of `function` so that it returns to `address`.
    fn call(mut self, address: u64, function: u64) -> Self {
        let relative = function.wrapping_sub(address) as u32;
        let from = (address - CODE) as usize - 5;
        self.code[from] = 0xe8;
        self.code[from + 1..from + 5].copy_from_slice(&relative.to_le_bytes());
        self
    }

    fn read(&self, address: Gva, bytes: &mut [u8]) -> usize {
        let page = if address.0 & !0xfff == STACK { &self.stack } else { &self.code };
        if ![STACK, CODE].contains(&(address.0 & !0xfff)) {
            return 0;
        }
        let from = (address.0 & 0xfff) as usize;
        let length = bytes.len().min(4096 - from);
        bytes[..length].copy_from_slice(&page[from..from + length]);
        length
    }

    fn with<T>(&self, mut act: impl FnMut(&mut Memory<'_>) -> T) -> T {
        let mut read = |address: Gva, bytes: &mut [u8]| self.read(address, bytes);
        act(&mut Memory::new(&mut read))
    }
}

fn cpu(ip: u64, sp: u64, bp: u64) -> Cpu {
    let mut cpu = Cpu { is_return: false, ..Cpu::caller(ip, sp, Some(bp)) };
    cpu.general[13] = Some(STACK + 0x800);
    cpu
}

/// What a step leads to: instruction, stack pointer, frame pointer, method.
#[expect(clippy::large_types_passed_by_value, reason = "it reads better")]
fn led(step: Option<Step>) -> Option<(u64, Option<u64>, Option<u64>, Method)> {
    match step? {
        Step::To(cpu, method) => Some((cpu.ip, cpu.sp(), cpu.bp(), method)),
        Step::Outermost => None,
    }
}

/// An entry: offsets, then registers and kind.
fn entry(sp_offset: i16, bp_offset: i16, bits: u16) -> Vec<u8> {
    [sp_offset.to_le_bytes(), bp_offset.to_le_bytes(), bits.to_le_bytes()].concat()
}

/// A table for code from CODE on, 16 bytes an entry; what comes after the last one is not described.
fn table(entries: &[Vec<u8>]) -> OrcTable {
    let at = CODE + 0x10_0000;
    let ips: Vec<u8> = (0..=entries.len() as u64)
        .flat_map(|i| ((CODE + 16 * i).wrapping_sub(at + 4 * i) as u32).to_le_bytes())
        .collect();
    let mut all = entries.concat();
    all.extend(entry(0, 0, 0));
    OrcTable::new((at, &ips), &all).unwrap()
}

/// ORC_REG_* for the stack pointer and the frame pointer.
const SP: u16 = 5;
const BP: u16 = 4;
const R13: u16 = 7;
const SP_INDIRECT: u16 = 9;
const BP_AT_PREVIOUS_SP: u16 = 1 << 4;

#[test]
fn orc_finds_callers_as_linux_does_in_both_layouts() {
    let guest = Guest::new().push(STACK + 0x20, &[7, CODE + 0x123]).push(STACK + 0x100, &[STACK + 0x300]);
    let guest = guest.push(STACK + 0x2f8, &[CODE + 0x456]).push(STACK + 0x7f8, &[CODE + 0x789]);
    for (call, end) in [(0, 1 << 10), (2 << 8, 1 << 8)] {
        let orc = table(&[
            entry(0x30, -16, SP | BP_AT_PREVIOUS_SP | call),
            entry(16, -16, BP | call),
            entry(0, 0, SP_INDIRECT | call),
            entry(0, 0, R13 | call),
            entry(0, 0, end),
            entry(0x30, 0, SP | call),
        ]);
        let from = |n: u64, sp, bp| {
            let cpu = cpu(CODE + 16 * n, sp, bp);
            guest.with(|memory| orc.at(cpu.inside()).and_then(|e| orc::step(e, &cpu, memory)))
        };
        let above = STACK + 0x30;
        assert_eq!(led(from(0, STACK, 1)), Some((CODE + 0x123, Some(above), Some(7), Orc)));
        assert_eq!(
            led(from(1, STACK, STACK + 0x20)),
            Some((CODE + 0x123, Some(above), Some(STACK + 0x20), Orc))
        );
        // The stack was changed: where the other one stands is on this one.
        assert_eq!(led(from(2, STACK + 0x100, 1)), Some((CODE + 0x456, Some(STACK + 0x300), Some(1), Orc)));
        assert_eq!(led(from(3, STACK, 1)), Some((CODE + 0x789, Some(STACK + 0x800), Some(1), Orc)));
        assert_eq!(from(4, STACK, 1), Some(Step::Outermost));
        assert_eq!(from(6, STACK, 1), None, "behind the last entry nothing is described");
        assert_eq!(from(0, STACK + 0x1000, 1), None, "no stack is there");
    }
}

#[test]
fn orc_crosses_interrupts_and_refuses_what_is_no_frame_of_one() {
    let words: Vec<u64> = (0..15).collect();
    let frame = [&words[..], &[u64::MAX, CODE + 0x44, 0x10, 0x246, STACK + 0x900, 0x18]].concat();
    let guest = Guest::new().push(STACK + 0x80, &frame);
    // A function that returns, so that the layout is known; all registers; what the processor pushed.
    let orc = table(&[entry(8, 0, SP), entry(0, 0, SP | 1 << 8), entry(0, 0, SP | 2 << 8)]);
    let from = |guest: &Guest, n: u64, sp| {
        let cpu = cpu(CODE + 16 * n, sp, 1);
        guest.with(|memory| orc.at(cpu.inside()).and_then(|e| orc::step(e, &cpu, memory)))
    };
    let all = from(&guest, 1, STACK + 0x80);
    assert_eq!(led(all), Some((CODE + 0x44, Some(STACK + 0x900), Some(4), TrapFrame)));
    let Some(Step::To(interrupted, _)) = all else { panic!() };
    // R15 is the first word, RDI the fifteenth; the interrupted instruction is not one that a call returns to.
    assert_eq!(
        (interrupted.general[15], interrupted.general[5], interrupted.is_return),
        (Some(0), Some(14), false)
    );
    let pushed = from(&guest, 2, STACK + 0x80 + 128);
    assert_eq!(led(pushed), Some((CODE + 0x44, Some(STACK + 0x900), Some(1), TrapFrame)));
    let damaged = guest.push(STACK + 0x80 + 18 * 8, &[0]);
    assert_eq!(from(&damaged, 1, STACK + 0x80), None, "flags whose bit 1 is clear are no flags");
}

#[test]
fn tables_that_do_not_belong_together_are_refused() {
    assert!(OrcTable::new((CODE, &[0; 8]), &entry(8, 0, SP)).is_none());
    assert!(OrcTable::new((CODE, &[0; 3]), &entry(8, 0, SP)).is_none());
    assert!(OrcTable::new((CODE, &[]), &[]).is_none());
}

/// `.eh_frame` with one function at CODE of 64 bytes: CFA = RSP + 8; from byte 4 on RSP + 0x20 and RBP saved at CFA - 16.
fn eh_frame() -> Vec<u8> {
    let mut cie = vec![0, 0, 0, 0, 1, 0, 1, 0x78, 16];
    // DW_CFA_def_cfa RSP + 8; DW_CFA_offset of the return address, 1 * -8.
    cie.extend([0x0c, 7, 8, 0x90, 1]);
    cie.resize(cie.len().next_multiple_of(8) + 4, 0);
    let mut fde = Vec::new();
    fde.extend((cie.len() as u32 + 8).to_le_bytes());
    fde.extend(CODE.to_le_bytes());
    fde.extend(64u64.to_le_bytes());
    // DW_CFA_advance_loc 4; DW_CFA_def_cfa_offset 0x20; DW_CFA_offset RBP, 2 * -8.
    fde.extend([0x44, 0x0e, 0x20, 0x86, 2]);
    fde.resize(fde.len().next_multiple_of(8) + 4, 0);
    let mut all = Vec::new();
    for part in [cie, fde] {
        all.extend((part.len() as u32).to_le_bytes());
        all.extend(part);
    }
    all.extend([0; 4]);
    all
}

#[test]
fn dwarf_finds_callers_wherever_in_a_function() {
    let mut cfi = Cfi::default();
    cfi.add_eh_frame(0, 0, &eh_frame());
    let guest = Guest::new().push(STACK, &[CODE + 0x111, 0, 0x77, CODE + 0x222]);
    let moved = 0x20_0000;
    let from = |ip: u64| guest.with(|memory| cfi.step(&cpu(ip + moved, STACK, 9), moved, memory));
    assert_eq!(led(from(CODE)), Some((CODE + 0x111, Some(STACK + 8), Some(9), Dwarf)));
    assert_eq!(led(from(CODE + 4)), Some((CODE + 0x222, Some(STACK + 0x20), Some(0x77), Dwarf)));
    assert_eq!(from(CODE + 64), None, "another function's");
    let outermost = Guest::new();
    let end = outermost.with(|memory| cfi.step(&cpu(CODE, STACK, 9), 0, memory));
    assert_eq!(end, Some(Step::Outermost), "nothing returns to 0");
}

#[test]
fn calls_are_told_from_other_bytes() {
    let before = |bytes: &[u8]| {
        let mut guest = Guest::new();
        guest.code[0x100 - bytes.len()..0x100].copy_from_slice(bytes);
        guest.with(|memory| call::before(memory, &LONG, CODE + 0x100))
    };
    assert_eq!(before(&[0xe8, 0, 1, 0, 0]), Some(Call::Direct(CODE + 0x200)));
    assert_eq!(before(&[0xff, 0xd0]), Some(Call::Indirect), "call rax");
    assert_eq!(before(&[0x41, 0xff, 0xd3]), Some(Call::Indirect), "call r11");
    assert_eq!(before(&[0xff, 0x14, 0xc5, 0, 0, 0, 0x81]), Some(Call::Indirect), "call [rax*8 + table]");
    assert_eq!(before(&[0xff, 0xe0]), None, "jmp rax");
    assert_eq!(before(&[0xe9, 0, 1, 0, 0]), None, "jmp");
    assert_eq!(before(&[0x90]), None);
}

#[test]
fn a_guess_prefers_a_call_of_the_function_that_it_looks_from() {
    // The first address on the stack is left from another call.
    let function = CODE + 0x800;
    let guest = Guest::new().call(CODE + 0x100, CODE + 0x700).call(CODE + 0x200, function);
    let guest = guest.push(STACK + 0x10, &[CODE + 0x100, 5, CODE + 0x90, CODE + 0x200]);
    let from = |start| guest.with(|memory| guess::step(&cpu(function + 3, STACK, 0), start, memory, &LONG));
    assert_eq!(led(from(Some(function))), Some((CODE + 0x200, Some(STACK + 0x30), None, Guess)));
    assert_eq!(led(from(None)), Some((CODE + 0x100, Some(STACK + 0x18), None, Guess)));
}

fn site(address: u64, mode: CpuMode) -> Site {
    let instruction = Instruction { address: Gva(address), bytes: vec![0xec], mode, cpl: 0 };
    Site { kind: ExitKind::PortRead, address: 0x3fd, size: 1, rep: false, instruction }
}

fn unwound(guest: &Guest, ip: u64, registers: &Registers, mode: CpuMode) -> Vec<(u64, Method)> {
    let sources = Sources::default();
    let mut unwinder = Unwinder::new(&sources);
    let system = SystemRegisters::default();
    let mut read = |address: Gva, bytes: &mut [u8]| guest.read(address, bytes);
    unwinder.exit(0, &site(ip, mode), Standing { registers, system: &system, read: &mut read });
    let stacks = unwinder.finish();
    stacks.callers(stacks.of(0).unwrap()).map(|c| (c.address, c.method)).collect()
}

fn registers(sp: u64, bp: u64) -> Registers {
    let mut registers = Registers::default();
    registers.general[Registers::RSP] = sp;
    registers.general[RBP] = bp;
    registers
}

#[test]
fn a_frame_pointer_that_marks_saved_registers_leads_through_an_interrupt() {
    let frame = STACK + 0x100;
    let mut saved = vec![0; 15];
    saved[4] = STACK + 0x400;
    saved.extend([u64::MAX, CODE + 0x44, 0x10, 0x246, STACK + 0x300, 0x18]);
    let guest = Guest::new().push(STACK + 0x20, &[frame | 1, CODE + 0x200]).call(CODE + 0x200, CODE);
    let guest = guest.push(frame, &saved).push(STACK + 0x400, &[0, CODE + 0x300]).call(CODE + 0x300, CODE);
    let found = unwound(&guest, CODE, &registers(STACK, STACK + 0x20), CpuMode::Long64);
    let expected = [(CODE + 0x200, FramePointer), (CODE + 0x44, TrapFrame), (CODE + 0x300, FramePointer)];
    assert_eq!(found, expected);
}

#[test]
fn a_chain_without_calls_is_not_believed() {
    let guest = Guest::new().push(STACK + 0x20, &[STACK + 0x40, CODE + 0x200]);
    assert_eq!(unwound(&guest, CODE, &registers(STACK, STACK + 0x20), CpuMode::Long64), []);
    let guest = guest.call(CODE + 0x200, CODE);
    let found = unwound(&guest, CODE, &registers(STACK, STACK + 0x20), CpuMode::Long64);
    assert_eq!(found, [(CODE + 0x200, FramePointer)]);
}

proptest! {
    #[test]
    fn hostile_stacks_end(
        words in prop::collection::vec(prop_oneof![any::<u64>(), STACK..STACK + 4096, CODE..CODE + 4096], 512),
        code in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xe8), Just(0xff)], 4096),
        sp in prop_oneof![any::<u64>(), STACK..STACK + 4096],
        bp in prop_oneof![any::<u64>(), STACK..STACK + 4096],
        mode in prop_oneof![Just(CpuMode::Real16), Just(CpuMode::Protected32), Just(CpuMode::Long64)],
    ) {
        let guest = Guest { code, ..Guest::new().push(STACK, &words) };
        prop_assert!(unwound(&guest, CODE, &registers(sp, bp), mode).len() <= 128);
    }

    #[test]
    fn hostile_tables_are_refused_or_end(
        ips in prop::collection::vec(any::<u8>(), 0..64),
        entries in prop::collection::vec(any::<u8>(), 0..96),
        frames in prop::collection::vec(any::<u8>(), 0..200),
        at in 0usize..80,
        byte: u8,
    ) {
        let guest = Guest::new();
        if let Some(orc) = OrcTable::new((CODE, &ips), &entries) {
            let cpu = cpu(CODE, STACK, STACK);
            guest.with(|memory| orc.at(CODE).and_then(|e| orc::step(e, &cpu, memory)));
        }
        let mut damaged = eh_frame();
        let place = at % damaged.len();
        damaged[place] = byte;
        for bytes in [&frames, &damaged] {
            let mut cfi = Cfi::default();
            cfi.add_eh_frame(0, 0, bytes);
            cfi.add_debug_frame(bytes);
            guest.with(|memory| cfi.step(&cpu(CODE + 8, STACK, STACK), 0, memory));
        }
    }
}
