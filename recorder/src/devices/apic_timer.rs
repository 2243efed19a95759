//! The timer of a local APIC (Intel SDM vol. 3, 11.5.4), in one-shot and periodic mode.
//!
//! Nothing here counts: everything observable is arithmetic on the time since the count was loaded. When several periods
//! have passed since anyone looked, they are one expiry, as they are for an APIC whose request is still standing.

use crate::platform::Time;

/// Nanoseconds of one tick of the clock before it is divided: 1 GHz. Processors have their bus or crystal clock here, and
/// guests measure it, for nothing tells them (CPUID leaf 0x15 is left out).
const TICK_NS: u64 = 1;
/// Bits of the divide configuration register that exist.
const DIVIDE_WRITABLE: u32 = 0b1011;

/// A count that runs down.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// When it stood at `from`.
    since: u64,
    from: u64,
}

/// The timer.
#[derive(Debug, Default)]
pub struct ApicTimer {
    initial: u32,
    divide: u32,
    periodic: bool,
    run: Option<Run>,
    /// When it reaches zero next.
    next: Option<u64>,
    expired: bool,
}

impl ApicTimer {
    /// The initial count register.
    pub fn initial_count(&self) -> u32 {
        self.initial
    }

    /// Writes the initial count: the timer starts, or stops at 0.
    pub fn set_initial_count(&mut self, now: Time, count: u32) {
        self.initial = count;
        self.run = (count != 0).then_some(Run { since: now.0, from: count.into() });
        self.schedule(now);
    }

    /// The current count register.
    pub fn current_count(&self, now: Time) -> u32 {
        let Some(run) = self.run else { return 0 };
        let passed = now.0.saturating_sub(run.since) / self.tick_ns();
        if passed < run.from {
            return (run.from - passed) as u32;
        }
        if !self.periodic {
            return 0;
        }
        let initial = u64::from(self.initial).max(1);
        (initial - (passed - run.from) % initial) as u32
    }

    /// The divide configuration register.
    pub fn divide(&self) -> u32 {
        self.divide
    }

    /// Writes the divide configuration: a count that runs goes on from where it is.
    pub fn set_divide(&mut self, now: Time, value: u32) {
        self.hold(now);
        self.divide = value & DIVIDE_WRITABLE;
        self.schedule(now);
    }

    /// Chooses between one-shot and periodic mode.
    pub fn set_periodic(&mut self, now: Time, periodic: bool) {
        if periodic != self.periodic {
            self.hold(now);
            self.periodic = periodic;
            self.schedule(now);
        }
    }

    /// Lets the expiries up to `now` happen.
    pub fn fire(&mut self, now: Time) {
        if self.next.is_some_and(|next| next <= now.0) {
            self.expired = true;
            self.schedule(now);
        }
    }

    /// Takes the expiry, if there was one.
    pub fn take_expiry(&mut self) -> bool {
        std::mem::take(&mut self.expired)
    }

    /// When the count reaches zero next.
    pub fn deadline(&self) -> Option<Time> {
        self.next.map(Time)
    }

    /// Nanoseconds of one tick after the divider: bits 3, 1 and 0 are 0b000 for 2, 0b110 for 128, 0b111 for 1.
    fn tick_ns(&self) -> u64 {
        let code = self.divide >> 1 & 0b100 | self.divide & 0b011;
        TICK_NS << ((code + 1) & 7)
    }

    /// Counts on from the count of now, at whatever speed follows.
    fn hold(&mut self, now: Time) {
        let count = self.current_count(now);
        self.run = (count != 0).then_some(Run { since: now.0, from: count.into() });
    }

    fn schedule(&mut self, now: Time) {
        self.next = self.run.and_then(|run| {
            let first = run.since.saturating_add(run.from.saturating_mul(self.tick_ns()));
            if first > now.0 {
                return Some(first);
            }
            let period = u64::from(self.initial).max(1).saturating_mul(self.tick_ns());
            let periods = (now.0 - first) / period + 1;
            self.periodic.then(|| first.saturating_add(periods.saturating_mul(period)))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Divide by 1.
    fn timer() -> ApicTimer {
        let mut timer = ApicTimer::default();
        timer.set_divide(Time(0), 0b1011);
        timer
    }

    #[test]
    fn one_shot_expires_once_at_its_deadline_and_not_before() {
        let mut timer = timer();
        timer.set_initial_count(Time(1000), 500);
        timer.fire(Time(1499));
        assert!(!timer.take_expiry());
        assert_eq!((timer.current_count(Time(1499)), timer.deadline()), (1, Some(Time(1500))));
        timer.fire(Time(1500));
        assert!(timer.take_expiry() && !timer.take_expiry());
        assert_eq!((timer.current_count(Time(9999)), timer.deadline()), (0, None));
    }

    #[test]
    fn periodic_reloads_and_stays_on_its_grid_when_nobody_came_for_long() {
        let mut timer = timer();
        timer.set_periodic(Time(0), true);
        timer.set_initial_count(Time(0), 100);
        for late in [100, 200, 750] {
            timer.fire(Time(late));
            assert!(timer.take_expiry() && !timer.take_expiry());
        }
        assert_eq!(timer.deadline(), Some(Time(800)));
        assert_eq!(timer.current_count(Time(750)), 50);
        assert_eq!(timer.current_count(Time(800)), 100);
    }

    #[test]
    fn every_divider_is_the_one_of_the_table() {
        for (bits, divider) in [
            (0b0000, 2),
            (0b0001, 4),
            (0b0010, 8),
            (0b0011, 16),
            (0b1000, 32),
            (0b1001, 64),
            (0b1010, 128),
            (0b1011, 1),
        ] {
            let mut timer = ApicTimer::default();
            timer.set_divide(Time(0), bits);
            timer.set_initial_count(Time(0), 10);
            assert_eq!(timer.deadline(), Some(Time(10 * divider)), "{bits:04b}");
        }
    }

    #[test]
    fn a_new_divider_changes_the_speed_from_the_count_of_now() {
        let mut timer = timer();
        timer.set_initial_count(Time(0), 1000);
        timer.set_divide(Time(400), 0b0000);
        assert_eq!(timer.current_count(Time(400)), 600);
        assert_eq!(timer.deadline(), Some(Time(400 + 1200)));
    }

    #[test]
    fn an_initial_count_of_zero_stops_it() {
        let mut timer = timer();
        timer.set_periodic(Time(0), true);
        timer.set_initial_count(Time(0), 10);
        timer.set_initial_count(Time(5), 0);
        timer.fire(Time(100));
        assert!(!timer.take_expiry());
        assert_eq!((timer.current_count(Time(100)), timer.deadline()), (0, None));
    }

    #[test]
    fn extremes_of_time_neither_overflow_nor_loop() {
        let mut timer = ApicTimer::default();
        timer.set_divide(Time(0), 0b1010);
        timer.set_periodic(Time(0), true);
        timer.set_initial_count(Time(u64::MAX - 5), u32::MAX);
        timer.fire(Time(u64::MAX));
        timer.set_initial_count(Time(0), 1);
        timer.fire(Time(u64::MAX));
        assert!(timer.take_expiry());
    }
}
