//! Interrupts and exceptions into the guest, through its vector or descriptor table, in every mode (Intel SDM vol. 3,
//! chapter 6; the steps are those of vol. 2, `INT n`).

use super::cpu::{
    CS, Cpu, DS, ES, FLAG_AC, FLAG_IF, FLAG_NT, FLAG_RF, FLAG_TF, FLAG_VM, FS, GS, SS_, rights,
};
use super::descriptor::{self, SYSTEM, code_of};
use super::fault::{DE, DF, Fault, GP, NP, PF, SS, Stop, TS, cannot};
use super::stack::Stack;
use trapline_formats::{Registers, Segment};

/// What is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) vector: u8,
    pub(crate) code: Option<u32>,
    /// INT n, INT3, INTO: the gate's DPL counts, and faults on the way do not have the EXT bit.
    pub(crate) is_software: bool,
    /// A fault: RF is set in the flags that are pushed (SDM vol. 3, 17.3.1.1).
    pub(crate) is_fault: bool,
}

/// Where an exception led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// To its handler, or that of an exception on the way.
    Handler,
    /// To a triple fault: the processor shuts down.
    Shutdown,
}

impl Event {
    pub(crate) fn software(vector: u8) -> Self {
        Self { vector, code: None, is_software: true, is_fault: false }
    }

    fn of(fault: &Fault) -> Self {
        Self { vector: fault.vector, code: fault.code, is_software: false, is_fault: true }
    }

    /// EXT of the error codes of faults on the way (SDM vol. 3, 6.13).
    fn external(&self) -> u32 {
        u32::from(!self.is_software)
    }
}

/// Delivers an exception: if that fails, what comes of it (SDM vol. 3, table 6-5).
pub(crate) fn raise(cpu: &mut Cpu, fault: Fault) -> Result<Delivered, Stop> {
    let mut fault = fault;
    loop {
        if let Some(address) = fault.address {
            cpu.system.control[1] = address;
        }
        let next = match deliver(cpu, &Event::of(&fault)) {
            Ok(()) => return Ok(Delivered::Handler),
            Err(Stop::Fault(next)) => next,
            Err(other) => return Err(other),
        };
        if fault.vector == DF {
            return Ok(Delivered::Shutdown);
        }
        let is_double = is_contributory(fault.vector) && is_contributory(next.vector)
            || fault.vector == PF && (next.vector == PF || is_contributory(next.vector));
        fault = if is_double { Fault { code: Some(0), ..Fault::plain(DF) } } else { next };
    }
}

/// Delivers a trap, which comes after its instruction.
pub(crate) fn trap(cpu: &mut Cpu, vector: u8) -> Result<Delivered, Stop> {
    let event = Event { vector, code: None, is_software: false, is_fault: false };
    match deliver(cpu, &event) {
        Ok(()) => Ok(Delivered::Handler),
        Err(Stop::Fault(fault)) => raise(cpu, fault),
        Err(other) => Err(other),
    }
}

fn is_contributory(vector: u8) -> bool {
    matches!(vector, DE | TS | NP | SS | GP)
}

/// Delivers one event, or changes nothing but memory below the stack pointer.
pub(crate) fn deliver(cpu: &mut Cpu, event: &Event) -> Result<(), Stop> {
    if !cpu.is_protected() {
        return through_vector_table(cpu, event);
    }
    let gate = Gate::read(cpu, event)?;
    if cpu.is_long() { through_gate_64(cpu, event, &gate) } else { through_gate(cpu, event, &gate) }
}

/// Real mode: SDM vol. 3, 20.1.4.
fn through_vector_table(cpu: &mut Cpu, event: &Event) -> Result<(), Stop> {
    let (base, limit) = cpu.system.idt;
    let at = u64::from(event.vector) * 4;
    if at + 3 > u64::from(limit) {
        return Err(Fault::coded(GP, 0).into());
    }
    let entry = cpu.number(base.wrapping_add(at), 4, SYSTEM)?;
    let mut stack = Stack::current(cpu, 0);
    stack.push(cpu, pushed_flags(cpu, event), 2)?;
    stack.push(cpu, cpu.system.segments[CS].selector.into(), 2)?;
    stack.push(cpu, cpu.registers.rip, 2)?;
    let cs = &mut cpu.system.segments[CS];
    cs.selector = (entry >> 16) as u16;
    cs.base = u64::from(cs.selector) << 4;
    cpu.registers.general[Registers::RSP] = stack.pointer;
    cpu.registers.rip = entry & 0xffff;
    cpu.registers.rflags &= !(FLAG_IF | FLAG_TF | FLAG_RF | FLAG_AC);
    Ok(())
}

fn pushed_flags(cpu: &Cpu, event: &Event) -> u64 {
    let resume = if event.is_fault { FLAG_RF } else { 0 };
    cpu.registers.rflags & !FLAG_RF | resume
}

/// A gate of the IDT (SDM vol. 3, figures 6-2 and 6-8).
struct Gate {
    selector: u16,
    offset: u64,
    /// Bit 3 of the type: a 32-bit gate. Bit 0: a trap gate, which leaves IF.
    kind: u8,
    interrupt_stack: u8,
}

impl Gate {
    fn read(cpu: &Cpu, event: &Event) -> Result<Self, Stop> {
        let (vector, external) = (u32::from(event.vector), event.external());
        // Bit 1 of the error code: an index into the IDT.
        let code = vector * 8 + 2 + external;
        let (base, limit) = cpu.system.idt;
        let bytes: u32 = if cpu.is_long() { 16 } else { 8 };
        if vector * bytes + bytes - 1 > u32::from(limit) {
            return Err(Fault::coded(GP, code).into());
        }
        let at = base.wrapping_add(u64::from(vector * bytes));
        let low = cpu.number(at, 8, SYSTEM)?;
        let high = if cpu.is_long() { cpu.number(at + 8, 8, SYSTEM)? } else { 0 };
        let (kind, dpl) = ((low >> 40 & 0x1f) as u8, (low >> 45 & 3) as u8);
        let is_gate =
            if cpu.is_long() { matches!(kind, 14 | 15) } else { matches!(kind, 5 | 6 | 7 | 14 | 15) };
        if !is_gate || event.is_software && dpl < cpu.cpl() {
            return Err(Fault::coded(GP, code).into());
        }
        if low >> 47 & 1 == 0 {
            return Err(Fault::coded(NP, code).into());
        }
        if kind == 5 {
            return cannot("a task switch through the task gate of its vector");
        }
        let offset = low & 0xffff | if kind & 8 != 0 { low >> 32 & 0xffff_0000 } else { 0 };
        Ok(Self {
            selector: (low >> 16) as u16,
            offset: offset | high << 32,
            kind,
            interrupt_stack: (low >> 32 & 7) as u8,
        })
    }

    /// The code segment of the handler, checked.
    fn code_segment(&self, cpu: &Cpu, external: u32) -> Result<descriptor::Descriptor, Stop> {
        if self.selector & 0xfffc == 0 {
            return Err(Fault::coded(GP, external).into());
        }
        let found = descriptor::read(cpu, self.selector, GP, external)?;
        let s = &found.segment;
        let suits = !cpu.is_long() || rights::is_long(s) && !rights::is_big(s);
        if !rights::is_code(s) || rights::dpl(s) > cpu.cpl() || !suits {
            return Err(Fault::coded(GP, code_of(self.selector, external)).into());
        }
        if !rights::is_present(s) {
            return Err(Fault::coded(NP, code_of(self.selector, external)).into());
        }
        Ok(found)
    }

    /// What the flags become.
    fn flags(&self, flags: u64) -> u64 {
        let interrupts = if self.kind & 1 == 0 { FLAG_IF } else { 0 };
        flags & !(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | interrupts)
    }
}

/// The privilege level of a handler.
fn level_of(cpu: &Cpu, code: &Segment) -> u8 {
    if rights::is_conforming(code) { cpu.cpl() } else { rights::dpl(code) }
}

/// Protected mode, through an interrupt or trap gate.
fn through_gate(cpu: &mut Cpu, event: &Event, gate: &Gate) -> Result<(), Stop> {
    let external = event.external();
    let code = gate.code_segment(cpu, external)?;
    let level = level_of(cpu, &code.segment);
    let from_virtual8086 = cpu.is_virtual8086();
    if from_virtual8086 && level != 0 {
        return Err(Fault::coded(GP, code_of(gate.selector, external)).into());
    }
    let (width, outer) = (if gate.kind & 8 != 0 { 4 } else { 2 }, level < cpu.cpl());
    let mut stack = if outer { inner_stack(cpu, level, external)? } else { Stack::current(cpu, external) };
    if from_virtual8086 {
        for s in [GS, FS, DS, ES] {
            stack.push(cpu, cpu.system.segments[s].selector.into(), width)?;
        }
    }
    if outer {
        stack.push(cpu, cpu.system.segments[SS_].selector.into(), width)?;
        stack.push(cpu, cpu.registers.general[Registers::RSP], width)?;
    }
    stack.push(cpu, pushed_flags(cpu, event), width)?;
    stack.push(cpu, cpu.system.segments[CS].selector.into(), width)?;
    stack.push(cpu, cpu.registers.rip, width)?;
    if let Some(error) = event.code {
        stack.push(cpu, error.into(), width)?;
    }
    if gate.offset > code.segment.limit.into() {
        return Err(Fault::coded(GP, external).into());
    }
    let mut loaded = code.load(cpu)?;
    loaded.selector = loaded.selector & 0xfffc | u16::from(level);
    cpu.system.segments[CS] = loaded;
    if outer {
        cpu.system.segments[SS_] = stack.segment;
    }
    if from_virtual8086 {
        for s in [GS, FS, DS, ES] {
            cpu.system.segments[s] = descriptor::null(0, 0);
        }
    }
    cpu.registers.general[Registers::RSP] = stack.pointer;
    cpu.registers.rip = gate.offset;
    cpu.registers.rflags = gate.flags(cpu.registers.rflags);
    Ok(())
}

/// The stack of a more privileged level, out of the TSS, checked.
fn inner_stack(cpu: &Cpu, level: u8, external: u32) -> Result<Stack, Stop> {
    let (selector, pointer) = descriptor::stack_of(cpu, level, external)?;
    let invalid = Fault::coded(TS, code_of(selector, external));
    if selector & 0xfffc == 0 {
        return Err(Fault::coded(TS, external).into());
    }
    let found = descriptor::read(cpu, selector, TS, external)?;
    let s = &found.segment;
    if (selector & 3) as u8 != level || rights::dpl(s) != level || !rights::is_writable(s) {
        return Err(invalid.into());
    }
    let full = Fault::coded(SS, code_of(selector, external));
    if !rights::is_present(s) {
        return Err(full.into());
    }
    Ok(Stack::new(cpu, found.load(cpu)?, pointer, level, full))
}

/// IA-32e mode: SDM vol. 3, 6.14.
fn through_gate_64(cpu: &mut Cpu, event: &Event, gate: &Gate) -> Result<(), Stop> {
    let external = event.external();
    let code = gate.code_segment(cpu, external)?;
    let level = level_of(cpu, &code.segment);
    let inner = level < cpu.cpl();
    let top = match gate.interrupt_stack {
        0 if inner => descriptor::stack_of(cpu, level, external)?.1,
        0 => cpu.registers.general[Registers::RSP],
        entry => descriptor::interrupt_stack(cpu, entry, external)?,
    };
    // The frame is aligned to 16 bytes (SDM vol. 3, 6.14.2).
    let mut stack = Stack::flat(top & !0xf, level, Fault::coded(SS, external));
    stack.push(cpu, cpu.system.segments[SS_].selector.into(), 8)?;
    stack.push(cpu, cpu.registers.general[Registers::RSP], 8)?;
    stack.push(cpu, pushed_flags(cpu, event), 8)?;
    stack.push(cpu, cpu.system.segments[CS].selector.into(), 8)?;
    stack.push(cpu, cpu.registers.rip, 8)?;
    if let Some(error) = event.code {
        stack.push(cpu, error.into(), 8)?;
    }
    if !cpu.is_canonical(gate.offset) {
        return Err(Fault::coded(GP, external).into());
    }
    let mut loaded = code.load(cpu)?;
    loaded.selector = loaded.selector & 0xfffc | u16::from(level);
    cpu.system.segments[CS] = loaded;
    if inner {
        // SS becomes a null selector of the new level (SDM vol. 3, 6.14.4).
        cpu.system.segments[SS_] = descriptor::null(level.into(), level);
    }
    cpu.registers.general[Registers::RSP] = stack.pointer;
    cpu.registers.rip = gate.offset;
    cpu.registers.rflags = gate.flags(cpu.registers.rflags);
    Ok(())
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
