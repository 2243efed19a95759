//! The clock of the timing stream: the host's time stamp counter.

/// Reads the time stamp counter. Not serializing: at a thousand cycles an exit, the few it may be off do not show.
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor, touches no memory, and Linux lets processes execute it unless they
    // forbade it to themselves (PR_SET_TSC).
    unsafe { core::arch::x86_64::_rdtsc() }
}
