//! Unwinding by ORC tables, as Linux does it itself (arch/x86/kernel/unwind_orc.c).

use super::cpu::{Cpu, RBP, Step};
use super::memory::Memory;
use super::orc_table::{Base, Entry, Kind};
use super::table::Method;
use super::trap_frame;

/// The way out of a frame for whose instruction this entry holds.
pub(super) fn step(entry: &Entry, cpu: &Cpu, memory: &mut Memory<'_>) -> Option<Step> {
    if entry.kind == Kind::End {
        return Some(Step::Outermost);
    }
    let sp = stack_pointer(entry, cpu, memory)?;
    let mut step = match entry.kind {
        Kind::Call => {
            let ip = memory.number(sp.wrapping_sub(8), 8)?;
            Step::To(Cpu::caller(ip, sp, cpu.bp()), Method::Orc)
        }
        Kind::Registers => trap_frame::whole(sp, memory)?,
        Kind::Interrupt => trap_frame::partial(sp, memory)?,
        Kind::End | Kind::Unknown => return None,
    };
    if let Step::To(caller, _) = &mut step {
        let from = |base: u64| base.wrapping_add_signed(entry.bp_offset.into());
        match entry.bp {
            Base::PreviousSp => caller.general[RBP] = Some(memory.number(from(sp), 8)?),
            Base::Register(RBP) => caller.general[RBP] = Some(memory.number(from(cpu.bp()?), 8)?),
            // It was not touched.
            _ => caller.general[RBP] = caller.general[RBP].or(cpu.bp()),
        }
    }
    Some(step)
}

fn stack_pointer(entry: &Entry, cpu: &Cpu, memory: &mut Memory<'_>) -> Option<u64> {
    let shifted = |base: u64| base.wrapping_add_signed(entry.sp_offset.into());
    match entry.sp {
        // These hold the stack pointer itself.
        Base::Register(register @ (3 | 5 | 10 | 13)) => cpu.general[register],
        Base::Register(register) => cpu.general[register].map(shifted),
        Base::SpIndirect => Some(shifted(memory.number(cpu.sp()?, 8)?)),
        Base::BpIndirect => memory.number(shifted(cpu.bp()?), 8),
        Base::Undefined | Base::PreviousSp => None,
    }
}
