//! An alarm: kicks the thread that set it once a time has passed.

use crate::error::MachineError;
use crate::ioctl::check;
use crate::kick;
use std::ptr;
use std::time::Duration;

/// Kicks the thread that made it.
#[derive(Debug)]
pub struct Alarm(libc::timer_t);

// SAFETY: a timer's name is good in the whole process, and it goes on kicking the thread that made it, wherever the name is.
unsafe impl Send for Alarm {}

impl Alarm {
    /// An alarm of the calling thread, not set, for when that has used so much time of a processor, in the guest or outside. What other
    /// programs use while it waits for its turn does not count, so that a busy machine does the same as one that is not.
    pub fn of_this_thread() -> Result<Self, MachineError> {
        Self::by(libc::CLOCK_THREAD_CPUTIME_ID, kick::signal())
    }

    /// An alarm of the calling thread, not set, for when so much time has passed, whoever used it.
    pub(crate) fn of_the_wall() -> Result<Self, MachineError> {
        Self::by(libc::CLOCK_MONOTONIC, kick::signal())
    }

    /// The same, that takes out the guest, and is no kick.
    pub(crate) fn that_takes_out() -> Result<Self, MachineError> {
        Self::by(libc::CLOCK_MONOTONIC, kick::take_out_signal())
    }

    fn by(clock: libc::clockid_t, signal: libc::c_int) -> Result<Self, MachineError> {
        kick::install();
        let mut timer = ptr::null_mut();
        // SAFETY: `event` is zeroed where it is not set, which every field allows; both pointers live through the call; gettid has no
        // preconditions.
        let result = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::gettid();
            libc::timer_create(clock, &raw mut event, &raw mut timer)
        };
        check("timer_create", result).map(|()| Self(timer))
    }

    /// Kicks once, after so much time.
    pub fn set(&self, time: Duration) -> Result<(), MachineError> {
        self.set_to(time, Duration::ZERO)
    }

    /// Kicks after so much time, and again and again from then on.
    pub(crate) fn repeat(&self, first: Duration, then: Duration) -> Result<(), MachineError> {
        self.set_to(first, then)
    }

    /// Does not kick. A kick may be on its way.
    pub fn clear(&self) -> Result<(), MachineError> {
        self.set_to(Duration::ZERO, Duration::ZERO)
    }

    /// Whether it has kicked, after it was set to do so once.
    pub fn has_rung(&self) -> Result<bool, MachineError> {
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let mut left = libc::itimerspec { it_interval: never, it_value: never };
        // SAFETY: the timer lives until `self` is dropped, and `left` through the call.
        check("timer_gettime", unsafe { libc::timer_gettime(self.0, &raw mut left) })?;
        Ok((left.it_value.tv_sec, left.it_value.tv_nsec) == (0, 0))
    }

    fn set_to(&self, first: Duration, then: Duration) -> Result<(), MachineError> {
        let spec = |time: Duration| libc::timespec {
            tv_sec: time.as_secs() as libc::time_t,
            tv_nsec: time.subsec_nanos().into(),
        };
        let when = libc::itimerspec { it_interval: spec(then), it_value: spec(first) };
        // SAFETY: the timer lives until `self` is dropped, and `when` through the call.
        check("timer_settime", unsafe { libc::timer_settime(self.0, 0, &raw const when, ptr::null_mut()) })
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: made by timer_create and deleted nowhere else.
        unsafe { libc::timer_delete(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_kicks_who_computes_and_not_once_it_is_cleared() {
        let alarm = Alarm::of_this_thread().unwrap();
        kick::take();
        alarm.set(Duration::from_millis(1)).unwrap();
        let mut sum = 0u64;
        while !kick::is_pending() {
            sum = std::hint::black_box(sum + 1);
        }
        kick::take();
        assert!(alarm.has_rung().unwrap());
        alarm.set(Duration::from_secs(1000)).unwrap();
        assert!(!alarm.has_rung().unwrap());
        alarm.clear().unwrap();
        for _ in 0..50_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(!kick::is_pending() && sum > 0);
    }
}
