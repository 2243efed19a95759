//! Between exits: the guest computes, and something is due for it.
//!
//! After a kick the guest stands anywhere, perhaps in the middle of a loop of a million rounds. A replay could not count its way
//! there; so the log carries the place: the complete state of the processor, and the memory that has changed. Equal state means an
//! equal future, so what follows is as exact as after an exit.

use super::RecordHandler;
use crate::error::RecorderError;
use crate::platform::{Platform, Time};
use crate::snapshots::Stand;
use std::time::Duration;
use trapline_formats::{CpuState, Preempt, Preemption};
use trapline_machine::{Histogram, Machine};

/// A guest that cannot take its interrupt where it stands is looked at again after this time ...
const RETRY: Duration = Duration::from_micros(100);
/// ... so often, and from then on after this.
const TRIES: u32 = 20;
const SLOW_RETRY: Duration = Duration::from_millis(10);
/// Positions are at least so far apart ...
const APART: Duration = Duration::from_micros(200);
/// ... and so many times what the last one took: they take a fifth of the time at most, whatever the guest's timer asks for.
const SHARE: u64 = 4;
/// Memory of one position, in pages: 16 MiB, and 64 MiB more for each second since the last. Where more has changed, what is due waits
/// for an exit, or until so much is allowed.
const MOST_PAGES: u64 = 4096;
const MORE_PAGES_PER_MS: u64 = 16;

/// What is known of positions between exits.
#[derive(Debug)]
pub(super) struct Positions {
    pub(super) is_on: bool,
    /// What is due was tried to be given in vain so often, since the exit of this number.
    tries: (u64, u32),
    /// Something was due between exits and has not been given.
    is_owed: bool,
    /// When the last one was carried, and when the next one may be.
    last: Time,
    not_before: Time,
    lateness: Histogram,
    carried: Histogram,
    pages: u64,
    deferred: u64,
}

impl Positions {
    pub(super) fn new(preempt: Preempt) -> Self {
        Self {
            is_on: preempt == Preempt::Positions,
            tries: (0, 0),
            is_owed: false,
            last: Time(0),
            not_before: Time(0),
            lateness: Histogram::default(),
            carried: Histogram::default(),
            pages: 0,
            deferred: 0,
        }
    }

    /// An interrupt is given, that was due at `due` if a timer raised it.
    pub(super) fn note_interrupt(&mut self, now: Time, due: Option<Time>) {
        if let Some(due) = due {
            self.lateness.note(now.0.saturating_sub(due.0));
        }
        self.deferred += u64::from(std::mem::take(&mut self.is_owed));
    }

    /// What it came to.
    pub(super) fn into_count(self) -> Preemption {
        Preemption {
            lateness: self.lateness.summary(),
            positions: self.carried.summary(),
            pages: self.pages,
            deferred: self.deferred,
        }
    }
}

impl<P: Platform + ?Sized> RecordHandler<'_, P> {
    /// The guest was kicked: gives it what is due, where that is possible, and says when to kick it again.
    pub(super) fn look_between(&mut self, machine: &mut Machine) -> Result<(), RecorderError> {
        // The log has no place for an event before the first exit. A guest that makes exits gets what is due there, and costs less: a
        // frame that comes, and the heartbeat, kick it whatever it does. If it is silent, the next kick is not far.
        if !self.positions.is_on || self.exits == 0 || !self.silence.is_noticed(self.exits) {
            return Ok(());
        }
        self.now = self.clock.now();
        self.look_at_apic(machine);
        self.input.offer(self.platform, self.now);
        let again = if !self.is_due() {
            self.next_look()
        } else if self.give(machine)? {
            // What that took belongs to no exit.
            machine.leave_out_time();
            self.next_look()
        } else {
            Some(self.try_again())
        };
        self.silence.kick_after(self.exits, again);
        Ok(())
    }

    /// The recording ends here: carries the position where that is possible, so that a replay ends at the same.
    pub(super) fn end_between(&mut self, machine: &mut Machine) -> Result<bool, RecorderError> {
        if !self.positions.is_on || self.exits == 0 {
            return Ok(false);
        }
        self.now = self.clock.now();
        let cpu = machine.save()?;
        Ok(!cpu.events.are_in_flight() && self.carry(machine, &cpu)?)
    }

    fn is_due(&mut self) -> bool {
        // Timers fire at the first question, and may raise what is asked for by the second.
        let has_interrupt = self.platform.interrupt_pending(self.now) && !self.window_requested;
        has_interrupt || self.platform.nmi_pending() || self.platform.has_transfer()
    }

    /// When there is nothing to be given before the next timer is due.
    fn next_look(&mut self) -> Option<Duration> {
        self.positions.tries.1 = 0;
        let due = self.platform.next_deadline()?.max(self.positions.not_before);
        Some(Duration::from_nanos(due.0.saturating_sub(self.now.0)))
    }

    /// When what is due could not be given here.
    fn try_again(&mut self) -> Duration {
        let Positions { is_owed, tries, not_before, .. } = &mut self.positions;
        *is_owed = true;
        if self.now < *not_before {
            return Duration::from_nanos(not_before.0 - self.now.0);
        }
        *tries = if tries.0 == self.exits { (tries.0, tries.1 + 1) } else { (self.exits, 1) };
        if tries.1 < TRIES { RETRY } else { SLOW_RETRY }
    }

    /// Carries this position and gives the guest what is due. False: not here.
    fn give(&mut self, machine: &mut Machine) -> Result<bool, RecorderError> {
        if self.now < self.positions.not_before || !machine.leave_lost_shadow()? {
            return Ok(false);
        }
        let cpu = machine.save()?;
        if cpu.events.are_in_flight() {
            return Ok(false);
        }
        let takes_interrupt = machine.can_take_interrupt() && self.platform.interrupt_pending(self.now);
        let takes_nmi = self.platform.nmi_pending() && machine.can_take_nmi()?;
        let can_wait = self.window_is_prompt && !self.window_requested;
        if !(takes_interrupt || takes_nmi || can_wait || self.platform.has_transfer()) {
            return Ok(false);
        }
        if !self.carry(machine, &cpu)? {
            return Ok(false);
        }
        self.positions.is_owed = false;
        if self.platform.has_transfer() {
            self.transfer(machine)?;
        }
        if self.end.is_none() && !self.interrupt(machine)? && self.platform.interrupt_pending(self.now) {
            // The window opens where a replay comes to it by itself.
            self.want_window(machine);
        }
        Ok(true)
    }

    /// Carries this position in the log. False: too much memory has changed.
    fn carry(&mut self, machine: &mut Machine, cpu: &CpuState) -> Result<bool, RecorderError> {
        let stand = Stand { carried: true, ..self.stand() };
        let passed_ms = self.now.0.saturating_sub(self.positions.last.0) / 1_000_000;
        let most = MOST_PAGES + MORE_PAGES_PER_MS * passed_ms;
        if let (Some(log), Some(snapshots)) = (&mut self.log, &mut self.snapshots) {
            let pages = snapshots.carry(machine, log, stand, cpu, most)?;
            self.next_snapshot = snapshots.next();
            self.plan_look();
            let Some(pages) = pages else { return Ok(false) };
            machine.retake(cpu)?;
            self.positions.pages += pages;
            self.move_tsc_behind_keyframe(machine);
        }
        let end = self.clock.now();
        let cost = end.0.saturating_sub(self.now.0);
        self.positions.carried.note(cost);
        self.positions.last = end;
        self.positions.not_before = Time(end.0 + (SHARE * cost).max(APART.as_nanos() as u64));
        Ok(true)
    }
}
