//! Registers that an interrupt, an exception or a system call left on the stack, as Linux on x86-64 lays them out
//! (`struct pt_regs`, arch/x86/include/asm/ptrace.h).

use super::cpu::{Cpu, Step};
use super::memory::Memory;
use super::table::Method;
use trapline_formats::Registers;

/// [`Registers::general`] of each word below `orig_ax`.
const GENERAL: [usize; 15] = [15, 14, 13, 12, 7, 1, 11, 10, 9, 8, 0, 2, 3, 4, 5];
/// What the processor pushes: RIP, CS, RFLAGS, RSP, SS; above the general registers and `orig_ax`.
const IRET_FRAME: u64 = 16 * 8;
/// RFLAGS bit 1 is always set (Intel SDM vol. 1, 3.4.3), and those above 21 never.
const FLAGS_SET: u64 = 2;
const FLAGS_KNOWN: u64 = (1 << 22) - 1;

/// All registers.
pub(super) fn whole(at: u64, memory: &mut Memory<'_>) -> Option<Step> {
    let mut cpu = interrupted(at.wrapping_add(IRET_FRAME), memory)?;
    for (word, register) in (0..).zip(GENERAL) {
        cpu.general[register] = memory.number(at.wrapping_add(word * 8), 8);
    }
    Some(Step::To(cpu, Method::TrapFrame))
}

/// What the processor pushed alone.
pub(super) fn partial(at: u64, memory: &mut Memory<'_>) -> Option<Step> {
    Some(Step::To(interrupted(at, memory)?, Method::TrapFrame))
}

fn interrupted(at: u64, memory: &mut Memory<'_>) -> Option<Cpu> {
    let mut word = |n: u64| memory.number(at.wrapping_add(n * 8), 8);
    let (ip, code, flags, sp) = (word(0)?, word(1)?, word(2)?, word(3)?);
    let is_selector = code & 0xffff == code && code & 0xfffc != 0;
    if !is_selector || flags & FLAGS_SET == 0 || flags & !FLAGS_KNOWN != 0 {
        return None;
    }
    let mut cpu = Cpu { ip, is_return: false, general: [None; 16] };
    cpu.general[Registers::RSP] = Some(sp);
    Some(cpu)
}
