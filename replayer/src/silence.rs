//! Whether a guest that makes no exit has gone astray.

use crate::replay::WATCHDOG_INTERVAL;
use std::time::Duration;
use trapline_machine::thread_time;

/// How many times the limit a guest may take of everybody's time, where little of it is its own.
const PATIENCE: u32 = 10;

/// Judges a replay at each kick. What counts is the processor time of the vCPU's thread: on a machine that has more to do than it can, a
/// guest that computes for a second may take minutes.
#[derive(Debug)]
pub(crate) struct Silence {
    limit: Duration,
    /// Since the first kick at this number of exits: the thread's time then, and the kicks.
    at: Option<(u64, Duration, u32)>,
}

impl Silence {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, at: None }
    }

    /// The guest does what takes time and is no exit.
    pub(crate) fn forget(&mut self) {
        self.at = None;
    }

    /// Asked at each kick.
    pub(crate) fn is_too_long(&mut self, exits: u64) -> bool {
        let now = thread_time();
        match &mut self.at {
            Some((since, began, kicks)) if *since == exits => {
                *kicks += 1;
                now.saturating_sub(*began) >= self.limit
                    || WATCHDOG_INTERVAL * *kicks >= self.limit * PATIENCE
            }
            at => {
                *at = Some((exits, now, 0));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_is_not_silent_until_patience_ends() {
        let mut silence = Silence::new(WATCHDOG_INTERVAL);
        assert!(!silence.is_too_long(7));
        let kicks = (1..100).take_while(|_| !silence.is_too_long(7)).count();
        assert_eq!(kicks, PATIENCE as usize - 1);
        assert!(!silence.is_too_long(8));
    }

    #[test]
    fn a_thread_that_computes_is_silent_when_it_has_computed_for_so_long() {
        let mut silence = Silence::new(Duration::from_millis(20));
        assert!(!silence.is_too_long(7));
        let began = thread_time();
        while thread_time() < began + Duration::from_millis(20) {}
        assert!(silence.is_too_long(7));
    }
}
