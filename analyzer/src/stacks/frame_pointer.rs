//! Chains of frame pointers: RBP points at the caller's RBP, and the return address stands above it.
//!
//! A chain is believed where it leads up the stack, and a CALL stands before every return address. What it cannot know: a function
//! that has not set up its frame (yet) hides its caller.

use super::call;
use super::cpu::{Cpu, Segments, Step};
use super::memory::Memory;
use super::table::Method;
use super::trap_frame;

/// No frame is larger.
const LARGEST: u64 = 1 << 20;

pub(super) fn step(cpu: &Cpu, memory: &mut Memory<'_>, segments: &Segments) -> Option<Step> {
    let (sp, bp) = cpu.sp().zip(cpu.bp())?;
    // Linux marks the registers that an interrupt saved by an odd frame pointer (ENCODE_FRAME_POINTER in its calling.h).
    if bp & 1 == 1 && segments.widths() == [8] {
        return trap_frame::whole(bp - 1, memory);
    }
    segments.widths().iter().find_map(|&width| frame(sp, bp, width, memory, segments))
}

fn frame(sp: u64, bp: u64, width: u64, memory: &mut Memory<'_>, segments: &Segments) -> Option<Step> {
    let (sp, bp) = (sp & segments.stack_mask, bp & segments.stack_mask);
    if bp.checked_sub(sp)? > LARGEST || !bp.is_multiple_of(width) {
        return None;
    }
    let saved = memory.pushed(segments, bp, width)?;
    let offset = memory.pushed(segments, bp.wrapping_add(width), width)?;
    if saved == 0 && offset == 0 {
        return Some(Step::Outermost);
    }
    call::before(memory, segments, offset)?;
    let above = bp.wrapping_add(2 * width);
    Some(Step::To(Cpu::caller(segments.code(offset), above, Some(saved)), Method::FramePointer))
}
