//! Return addresses guessed from what lies on the stack.
//!
//! A stack is full of old return addresses, so a CALL before an address proves little. A call straight to the function that is
//! looked from proves more, and such a one is taken before others. All of it stays a guess.

use super::call::{self, Call};
use super::cpu::{Cpu, Segments, Step};
use super::memory::Memory;
use super::table::Method;

/// Words looked at for one frame.
const WINDOW: u64 = 256;

/// The likeliest caller. `function` is where the function that is looked from starts, if that is known.
pub(super) fn step(
    cpu: &Cpu,
    function: Option<u64>,
    memory: &mut Memory<'_>,
    segments: &Segments,
) -> Option<Step> {
    let sp = cpu.sp()?;
    let mut first = None;
    for &width in segments.widths() {
        for word in 0..WINDOW {
            let at = sp.wrapping_add(word * width);
            let Some(offset) = memory.pushed(segments, at, width) else { break };
            if !may_be_code(offset, cpu) {
                continue;
            }
            let Some(call) = call::before(memory, segments, offset) else { continue };
            let caller = Cpu::caller(segments.code(offset), at.wrapping_add(width), None);
            if function.is_some_and(|start| call == Call::Direct(start)) {
                return Some(Step::To(caller, Method::Guess));
            }
            first.get_or_insert(caller);
        }
    }
    first.map(|caller| Step::To(caller, Method::Guess))
}

/// Code that calls is not far from what it calls, as addresses go: the other half of the address space is another program's.
fn may_be_code(offset: u64, cpu: &Cpu) -> bool {
    offset > 1 && offset >> 47 == cpu.ip >> 47
}
