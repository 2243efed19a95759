//! The watchdog of probe guests: kicks the vCPU thread when time is up, and again until it is called off.
//!
//! There are engines on which one instruction keeps KVM_RUN busy for ever; a probe of such an instruction must end too.

use crate::error::MachineError;
use crate::kick::{self, Kicker};
use std::ptr;
use std::time::Duration;

/// Kicks repeat, because one that comes between two entries only stops the second.
const REPEAT: Duration = Duration::from_millis(20);

/// A timer that kicks the thread it was made on.
#[derive(Debug)]
pub(super) struct Watchdog {
    timer: libc::timer_t,
}

impl Watchdog {
    /// A watchdog that sleeps.
    pub(super) fn new() -> Result<Self, MachineError> {
        // Installs the signal handler.
        let _ = Kicker::of_this_thread();
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: `event` is fully initialized: a kick signal for this very thread, whose handler is installed; `timer`
        // is ours to be written.
        let result = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = kick::signal();
            event.sigev_notify_thread_id = libc::gettid();
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)
        };
        if result == 0 {
            Ok(Self { timer })
        } else {
            Err(MachineError::Refused { request: "timer_create", source: std::io::Error::last_os_error() })
        }
    }

    /// Kicks after `limit`, unless something else is said before.
    pub(super) fn bark_after(&self, limit: Duration) {
        self.set(limit, REPEAT);
    }

    fn set(&self, first: Duration, repeat: Duration) {
        let spec = |d: Duration| libc::timespec {
            tv_sec: d.as_secs() as libc::time_t,
            tv_nsec: d.subsec_nanos().into(),
        };
        let when = libc::itimerspec { it_interval: spec(repeat), it_value: spec(first) };
        // SAFETY: the timer exists until `self` is dropped; `when` lives through the call, and its nanoseconds are below a
        // second. It cannot fail otherwise.
        unsafe { libc::timer_settime(self.timer, 0, &raw const when, ptr::null_mut()) };
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `new` and is deleted once.
        unsafe { libc::timer_delete(self.timer) };
        // A kick that came too late concerns nobody.
        kick::take();
    }
}
