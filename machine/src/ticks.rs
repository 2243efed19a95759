//! The clock of the timing stream, the host's time stamp counter, and those of processor time.

use std::time::Duration;

/// Reads the time stamp counter. Not serializing: at a thousand cycles an exit, the few it may be off do not show.
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor, touches no memory, and Linux lets processes execute it unless they
    // forbade it to themselves (PR_SET_TSC).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The processor time of the calling thread so far, that of the guest it runs included.
pub fn thread_time() -> Duration {
    time(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The processor time of all threads so far, the kernel's work for them included.
pub fn process_time() -> Duration {
    time(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec, which is exclusively ours. Both clocks exist on every Linux: it cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
