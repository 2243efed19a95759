//! The watchdog of probe guests: kicks the vCPU thread when time is up, and again until it is called off.
//!
//! There are engines on which one instruction keeps KVM_RUN busy for ever; a probe of such an instruction must end too.

use crate::alarm::Alarm;
use crate::error::MachineError;
use crate::kick;
use std::time::Duration;

/// Kicks repeat, because one that comes between two entries only stops the second.
const REPEAT: Duration = Duration::from_millis(20);

/// Kicks the thread it was made on.
#[derive(Debug)]
pub(super) struct Watchdog {
    alarm: Alarm,
}

impl Watchdog {
    /// A watchdog that sleeps.
    pub(super) fn new() -> Result<Self, MachineError> {
        Ok(Self { alarm: Alarm::of_the_wall()? })
    }

    /// Kicks after `limit`, unless something else is said before.
    pub(super) fn bark_after(&self, limit: Duration) {
        // Refused are only timers that are not there and times that are none.
        let _ = self.alarm.repeat(limit, REPEAT);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.alarm.clear();
        // A kick that came too late concerns nobody.
        kick::take();
    }
}
