//! IRET, IRETD and IRETQ in every mode (Intel SDM vol. 2, `IRET/IRETD/IRETQ`).

use super::cpu::{CS, Cpu, DS, ES, FLAG_AC, FLAG_IF, FLAG_NT, FLAG_RF, FLAG_VM, FS, GS, SS_, rights};
use super::descriptor::{self, code_of};
use super::fault::{Fault, GP, NP, SS, Stop, cannot};
use super::stack::Stack;
use trapline_formats::{Registers, Segment};

/// CF, PF, AF, ZF, SF, TF, DF, OF: what every IRET loads.
const ALWAYS: u64 = 0xdd5 & !FLAG_IF;
const IOPL: u64 = 3 << 12;
const VIF: u64 = 1 << 19;
const VIP: u64 = 1 << 20;
const ID: u64 = 1 << 21;

/// Returns; `width` is the operand size in bytes.
pub(crate) fn iret(cpu: &mut Cpu, width: usize) -> Result<(), Stop> {
    let mut stack = Stack::current(cpu, 0);
    if cpu.is_virtual8086() && cpu.registers.rflags & IOPL != IOPL {
        return Err(Fault::coded(GP, 0).into());
    }
    if cpu.is_protected() && !cpu.is_virtual8086() && cpu.registers.rflags & FLAG_NT != 0 {
        // In IA-32e mode there are no nested tasks (SDM vol. 3, 7.7).
        if cpu.is_long() {
            return Err(Fault::coded(GP, 0).into());
        }
        return cannot("a task switch: IRET with RFLAGS.NT set");
    }
    let rip = stack.pop(cpu, width)?;
    let cs = stack.pop(cpu, width)? as u16;
    let flags = stack.pop(cpu, width)?;
    if !cpu.is_protected() || cpu.is_virtual8086() {
        return to_real(cpu, &stack, rip, cs, flags, width);
    }
    if flags & FLAG_VM != 0 && cpu.cpl() == 0 && width == 4 && !cpu.is_long() {
        return to_virtual8086(cpu, stack, rip, cs, flags);
    }
    let code = code_segment(cpu, cs)?;
    let level = (cs & 3) as u8;
    let is_outer = level > cpu.cpl();
    let new_stack = if is_outer || cpu.is_64() {
        let pointer = stack.pop(cpu, width)?;
        let selector = stack.pop(cpu, width)? as u16;
        Some((pointer, stack_segment(cpu, selector, level, &code.segment)?))
    } else {
        None
    };
    let is_64 = cpu.is_long() && rights::is_long(&code.segment);
    let fits = if is_64 { cpu.is_canonical(rip) } else { rip <= code.segment.limit.into() };
    if !fits {
        return Err(Fault::coded(GP, 0).into());
    }
    let mut loaded = code.load(cpu)?;
    loaded.selector = cs;
    load_flags(cpu, flags, width);
    cpu.system.segments[CS] = loaded;
    cpu.registers.rip = rip;
    match new_stack {
        Some((pointer, segment)) => {
            let old = cpu.registers.general[Registers::RSP];
            cpu.registers.general[Registers::RSP] = match (is_64, rights::is_big(&segment)) {
                (true, _) => pointer,
                (false, true) => pointer & 0xffff_ffff,
                (false, false) => old & !0xffff | pointer & 0xffff,
            };
            cpu.system.segments[SS_] = segment;
        }
        None => cpu.registers.general[Registers::RSP] = stack.pointer,
    }
    if is_outer {
        drop_privileged(cpu, level);
    }
    Ok(())
}

/// The flags that this privilege may load.
fn load_flags(cpu: &mut Cpu, popped: u64, width: usize) {
    let cpl = cpu.cpl();
    let old = cpu.registers.rflags;
    let mut mask = ALWAYS | FLAG_NT;
    if width > 2 {
        mask |= FLAG_RF | FLAG_AC | ID;
    }
    if cpl == 0 {
        mask |= IOPL | if width > 2 { VIF | VIP } else { 0 };
    }
    if u64::from(cpl) <= old >> 12 & 3 {
        mask |= FLAG_IF;
    }
    cpu.registers.rflags = old & !mask & !FLAG_RF | popped & mask | 2;
}

fn code_segment(cpu: &Cpu, selector: u16) -> Result<descriptor::Descriptor, Stop> {
    if selector & 0xfffc == 0 {
        return Err(Fault::coded(GP, 0).into());
    }
    let found = descriptor::read(cpu, selector, GP, 0)?;
    let s = &found.segment;
    let (level, dpl) = ((selector & 3) as u8, rights::dpl(s));
    let wrong_level = if rights::is_conforming(s) { dpl > level } else { dpl != level };
    // L and D together are reserved in IA-32e mode (SDM vol. 3, 5.2.1).
    let impossible = cpu.is_long() && rights::is_long(s) && rights::is_big(s);
    if !rights::is_code(s) || level < cpu.cpl() || wrong_level || impossible {
        return Err(Fault::coded(GP, code_of(selector, 0)).into());
    }
    if !rights::is_present(s) {
        return Err(Fault::coded(NP, code_of(selector, 0)).into());
    }
    Ok(found)
}

fn stack_segment(cpu: &Cpu, selector: u16, level: u8, code: &Segment) -> Result<Segment, Stop> {
    if selector & 0xfffc == 0 {
        // A null SS is good for 64-bit code below CPL 3 of the same RPL.
        let good = cpu.is_long() && rights::is_long(code) && level < 3 && (selector & 3) as u8 == level;
        return if good { Ok(descriptor::null(selector, level)) } else { Err(Fault::coded(GP, 0).into()) };
    }
    let found = descriptor::read(cpu, selector, GP, 0)?;
    let s = &found.segment;
    if (selector & 3) as u8 != level || rights::dpl(s) != level || !rights::is_writable(s) {
        return Err(Fault::coded(GP, code_of(selector, 0)).into());
    }
    if !rights::is_present(s) {
        return Err(Fault::coded(SS, code_of(selector, 0)).into());
    }
    found.load(cpu)
}

/// Data segments that the outer level must not have become null.
fn drop_privileged(cpu: &mut Cpu, level: u8) {
    for i in [DS, ES, FS, GS] {
        let s = &cpu.system.segments[i];
        let keeps = rights::is_unusable(s) || rights::is_conforming(s) || rights::dpl(s) >= level;
        if !keeps {
            let base = if cpu.is_long() { s.base } else { 0 };
            cpu.system.segments[i] = Segment { base, ..descriptor::null(0, 0) };
        }
    }
}

/// Real and virtual-8086 mode.
fn to_real(cpu: &mut Cpu, stack: &Stack, rip: u64, cs: u16, flags: u64, width: usize) -> Result<(), Stop> {
    if rip > cpu.system.segments[CS].limit.into() {
        return Err(Fault::coded(GP, 0).into());
    }
    let is_virtual = cpu.is_virtual8086();
    let mut mask = ALWAYS | FLAG_NT | FLAG_IF | if width > 2 { FLAG_RF | FLAG_AC | ID } else { 0 };
    if !is_virtual {
        mask |= IOPL;
    }
    cpu.registers.rflags = cpu.registers.rflags & !mask & !FLAG_RF | flags & mask | 2;
    let s = &mut cpu.system.segments[CS];
    s.selector = cs;
    s.base = u64::from(cs) << 4;
    cpu.registers.rip = rip;
    cpu.registers.general[Registers::RSP] = stack.pointer;
    Ok(())
}

/// From CPL 0 into virtual-8086 mode.
fn to_virtual8086(cpu: &mut Cpu, mut stack: Stack, rip: u64, cs: u16, flags: u64) -> Result<(), Stop> {
    let pointer = stack.pop(cpu, 4)?;
    let mut selectors = [(SS_, 0u16), (ES, 0), (DS, 0), (FS, 0), (GS, 0)];
    for (_, selector) in &mut selectors {
        *selector = stack.pop(cpu, 4)? as u16;
    }
    load_flags(cpu, flags, 4);
    cpu.registers.rflags |= FLAG_VM;
    for (i, selector) in selectors.into_iter().chain([(CS, cs)]) {
        // SDM vol. 3, 20.2.1: base 16 times the selector, 64 KiB, read/write, accessed, DPL 3.
        cpu.system.segments[i] =
            Segment { base: u64::from(selector) << 4, limit: 0xffff, selector, rights: 0xf3 };
    }
    cpu.registers.rip = rip & 0xffff;
    cpu.registers.general[Registers::RSP] = pointer;
    Ok(())
}
