//! Delivery and IRET in the cases that no guest of ours can show on every engine: other privilege levels, other stacks,
//! faults on the way. What is expected is the SDM's.

use super::super::cpu::{CS, DS, SS_, TR};
use super::super::iret::iret;
use super::*;
use crate::memory::Memory;
use std::sync::Arc;
use trapline_formats::{Gpa, MemoryRegion, SystemRegisters};

const GDT: u64 = 0x1000;
const IDT: u64 = 0x2000;
const TSS: u64 = 0x3000;
const STACK: u64 = 0x5000;
const HANDLER: u64 = 0x8000;
const KERNEL_CODE: u64 = 8;
const USER_CODE: u64 = 0x18 | 3;
const USER_DATA: u64 = 0x20 | 3;

fn put(cpu: &Cpu, at: u64, values: &[u64]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    cpu.memory.write(Gpa(at), &bytes).unwrap();
}

fn words(cpu: &Cpu, at: u64, count: usize, bytes: usize) -> Vec<u64> {
    (0..count).map(|i| cpu.number(at + (i * bytes) as u64, bytes, SYSTEM).unwrap()).collect()
}

/// Rights of code and data segments: accessed, present; with DPL, and D/B or L.
fn rights_of(kind: u16, dpl: u16, size: u16) -> u16 {
    kind | 1 << 4 | dpl << 5 | 1 << 7 | size
}

/// At CPL `cpl`, paging off, with a GDT of kernel and user segments; IA-32e mode or not.
fn cpu(cpl: u16, is_long: bool) -> Cpu {
    let memory = Memory::new(&[MemoryRegion { gpa: 0, bytes: 1 << 16, readonly: false }]).unwrap();
    let mut system = SystemRegisters::default();
    let size = if is_long { 1 << 9 } else { 1 << 10 };
    let flat = |selector: u64, rights: u16| Segment {
        base: 0,
        limit: 0xffff_ffff,
        selector: selector as u16,
        rights: rights | 1 << 11,
    };
    let (code, data) = if cpl == 3 { (USER_CODE, USER_DATA) } else { (KERNEL_CODE, 0x10) };
    system.segments[CS] = flat(code, rights_of(0xb, cpl, size));
    for s in [SS_, DS, ES, FS, GS] {
        system.segments[s] = flat(data, rights_of(3, cpl, 1 << 10));
    }
    system.segments[TR] = Segment { base: TSS, limit: 0x67, selector: 0x28, rights: 0x8b };
    (system.gdt, system.idt) = ((GDT, 0x27), (IDT, 0x3ff));
    (system.control, system.efer) = ([1, 0, 0, 0, 0], if is_long { 1 << 10 } else { 0 });
    let mut cpu = Cpu {
        memory: Arc::new(memory),
        registers: Registers { rip: 0x1234, rflags: 0x3202, ..Registers::default() },
        system,
        physical_bits: 40,
        image: None,
        xcr0_offered: 1,
        tsc_aux: 0,
    };
    cpu.registers.general[Registers::RSP] = 0x7008;
    let kernel_code = if is_long { 0x00af_9b00_0000_ffff } else { 0x00cf_9b00_0000_ffff };
    let user_code = if is_long { 0x00af_fb00_0000_ffff } else { 0x00cf_fb00_0000_ffff };
    put(&cpu, GDT, &[0, kernel_code, 0x00cf_9300_0000_ffff, user_code, 0x00cf_f300_0000_ffff]);
    cpu
}

/// A 32-bit gate, or the lower half of a 64-bit one.
fn gate(cpu: &Cpu, vector: u64, access: u64, selector: u64, interrupt_stack: u64) {
    let bytes = if cpu.is_long() { 16 } else { 8 };
    let low = HANDLER | selector << 16 | interrupt_stack << 32 | access << 40;
    put(cpu, IDT + vector * bytes, &[low, 0][..bytes as usize / 8]);
}

#[test]
fn int_from_user_mode_takes_the_stack_of_the_tss_and_iret_goes_back() {
    let mut cpu = cpu(3, false);
    gate(&cpu, 0x40, 0xee, KERNEL_CODE, 0);
    put(&cpu, TSS + 4, &[STACK | 0x10 << 32]);
    let before = cpu.clone();
    deliver(&mut cpu, &Event::software(0x40)).unwrap();
    assert_eq!(
        (cpu.cpl(), cpu.registers.rip, cpu.registers.general[Registers::RSP]),
        (0, HANDLER, STACK - 20)
    );
    assert_eq!(words(&cpu, STACK - 20, 5, 4), [0x1234, USER_CODE, 0x3202, 0x7008, USER_DATA]);
    assert_eq!(cpu.registers.rflags, 0x3002);
    iret(&mut cpu, 4).unwrap();
    assert_eq!((cpu.registers, cpu.cpl()), (before.registers, 3));
    assert_eq!(cpu.system.segments[CS], before.system.segments[CS]);
    assert_eq!(cpu.system.segments[SS_], before.system.segments[SS_]);
    assert_eq!(cpu.system.segments[DS], before.system.segments[DS]);
}

#[test]
fn iret_to_user_mode_takes_the_kernels_data_segments_away() {
    let mut cpu = cpu(0, false);
    put(&cpu, 0x7008, &[0x4321 | USER_CODE << 32, 0x202 | 0x6000 << 32, USER_DATA]);
    iret(&mut cpu, 4).unwrap();
    assert_eq!((cpu.cpl(), cpu.registers.rip, cpu.registers.general[Registers::RSP]), (3, 0x4321, 0x6000));
    assert_eq!(cpu.system.segments[DS], descriptor::null(0, 0));
}

#[test]
fn iret_to_a_more_privileged_level_is_refused() {
    let mut cpu = cpu(3, false);
    put(&cpu, 0x7008, &[0x4321 | KERNEL_CODE << 32, 0x202]);
    let before = cpu.registers;
    let Err(Stop::Fault(fault)) = iret(&mut cpu, 4) else { panic!("it went through") };
    assert_eq!((fault, cpu.registers), (Fault::coded(GP, KERNEL_CODE as u32), before));
}

#[test]
fn user_mode_may_not_call_a_gate_of_the_kernel() {
    for is_long in [false, true] {
        let mut cpu = cpu(3, is_long);
        gate(&cpu, 0x20, 0x8e, KERNEL_CODE, 0);
        let Err(Stop::Fault(fault)) = deliver(&mut cpu, &Event::software(0x20)) else {
            panic!("it went through")
        };
        assert_eq!(fault, Fault::coded(GP, 0x20 * 8 + 2));
    }
}

#[test]
fn a_gate_that_is_not_present_raises_np_with_its_index() {
    let mut cpu = cpu(0, false);
    gate(&cpu, 0x30, 0x0e, KERNEL_CODE, 0);
    let Err(Stop::Fault(fault)) = deliver(&mut cpu, &Event::software(0x30)) else {
        panic!("it went through")
    };
    assert_eq!(fault, Fault::coded(NP, 0x30 * 8 + 2));
}

#[test]
fn a_64_bit_gate_aligns_the_stack_and_switches_to_its_own() {
    let mut cpu = cpu(0, true);
    gate(&cpu, 3, 0x8e, KERNEL_CODE, 0);
    deliver(&mut cpu, &Event::software(3)).unwrap();
    assert_eq!(cpu.registers.general[Registers::RSP], 0x7000 - 40);
    assert_eq!(words(&cpu, 0x7000 - 40, 5, 8), [0x1234, KERNEL_CODE, 0x3202, 0x7008, 0x10]);
    iret(&mut cpu, 8).unwrap();
    assert_eq!((cpu.registers.rip, cpu.registers.general[Registers::RSP]), (0x1234, 0x7008));
    gate(&cpu, 8, 0x8e, KERNEL_CODE, 2);
    put(&cpu, TSS + 0x24 + 8, &[STACK]);
    let fault = Fault::coded(DF, 0);
    assert_eq!(raise(&mut cpu, fault).unwrap(), Delivered::Handler);
    assert_eq!(cpu.registers.general[Registers::RSP], STACK - 48);
    // An exception pushes its error code, and RF in the flags.
    assert_eq!(words(&cpu, STACK - 48, 4, 8), [0, 0x1234, KERNEL_CODE, 0x1_3202]);
}

#[test]
fn from_user_mode_a_64_bit_gate_leaves_a_null_stack_segment() {
    let mut cpu = cpu(3, true);
    gate(&cpu, 0x21, 0xef, KERNEL_CODE, 0);
    put(&cpu, TSS + 4, &[STACK]);
    deliver(&mut cpu, &Event::software(0x21)).unwrap();
    assert_eq!((cpu.cpl(), cpu.system.segments[SS_]), (0, descriptor::null(0, 0)));
    assert_eq!(words(&cpu, STACK - 40, 5, 8), [0x1234, USER_CODE, 0x3202, 0x7008, USER_DATA]);
    // A trap gate leaves interrupts as they are.
    assert_eq!(cpu.registers.rflags & FLAG_IF, FLAG_IF);
    iret(&mut cpu, 8).unwrap();
    assert_eq!((cpu.cpl(), cpu.registers.rip), (3, 0x1234));
}

#[test]
fn a_fault_of_a_fault_is_a_double_fault_and_one_more_shuts_down() {
    let mut cpu = cpu(0, false);
    gate(&cpu, 8, 0x8e, KERNEL_CODE, 0);
    // Nothing at vector 13: #GP, #GP with its index, #DF.
    assert_eq!(raise(&mut cpu, Fault::coded(GP, 0)).unwrap(), Delivered::Handler);
    assert_eq!(words(&cpu, 0x7008 - 16, 2, 4), [0, 0x1234]);
    cpu.system.idt = (0, 0);
    assert_eq!(raise(&mut cpu, Fault::coded(GP, 0)).unwrap(), Delivered::Shutdown);
}

#[test]
fn a_page_fault_leaves_its_address_in_cr2() {
    let mut cpu = cpu(0, false);
    gate(&cpu, 14, 0x8e, KERNEL_CODE, 0);
    raise(&mut cpu, Fault { vector: PF, code: Some(2), address: Some(0xdead_b000) }).unwrap();
    assert_eq!(cpu.system.control[1], 0xdead_b000);
    assert_eq!(words(&cpu, 0x7008 - 16, 1, 4), [2]);
}

#[test]
fn a_task_gate_is_refused_in_words() {
    let mut cpu = cpu(0, false);
    gate(&cpu, 9, 0x85, KERNEL_CODE, 0);
    assert!(matches!(deliver(&mut cpu, &Event::software(9)), Err(Stop::Cannot(_))));
}

#[test]
fn real_mode_pushes_three_words_and_comes_back() {
    let mut cpu = cpu(0, false);
    cpu.system.control[0] = 0;
    cpu.system.segments[CS] = Segment { base: 0x100, limit: 0xffff, selector: 0x10, rights: 0x9b };
    cpu.system.segments[SS_] = Segment { base: 0x200, limit: 0xffff, selector: 0x20, rights: 0x93 };
    let before = cpu.clone();
    put(&cpu, IDT + 0x15 * 4, &[0x0034_8888]);
    deliver(&mut cpu, &Event::software(0x15)).unwrap();
    assert_eq!((cpu.registers.rip, cpu.system.segments[CS].base), (0x8888, 0x340));
    assert_eq!(words(&cpu, 0x200 + 0x7008 - 6, 3, 2), [0x1234, 0x10, 0x3202]);
    iret(&mut cpu, 2).unwrap();
    assert_eq!((cpu.registers, &cpu.system), (before.registers, &before.system));
}
