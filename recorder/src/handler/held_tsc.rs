//! The guest's TSC where it is held: it shows what the platform's clock showed a moment ago.

use super::RecordHandler;
use crate::platform::{Platform, Time};
use crate::snapshots::Snapshots;
use trapline_machine::Machine;

/// It is moved on at the first exit after so much time, in ns: each time costs a request to KVM.
const STEP: u64 = 1_000_000;
/// A guest that has made no exit for so long, in ns, may be waiting for its TSC. Then it runs on, and nobody logs it.
const SILENCE: u64 = 250_000_000;
/// Numbers from which on a register that holds one of a few tells something.
const TELLING: u64 = 1 << 16;

impl<P: Platform + ?Sized> RecordHandler<'_, P> {
    /// The TSC is held, and what it shows first is logged.
    pub(crate) fn hold_tsc(&mut self) {
        self.next_tsc = Time(STEP);
    }

    /// The guest sees what the clock shows now: behind the exit that is being handled, or the carried keyframe of this number.
    #[cold]
    pub(super) fn move_tsc(&mut self, machine: &mut Machine, keyframe: Option<u32>) {
        let Some(value) = self.tsc() else { return };
        machine.set_held_tsc(value);
        if let Some(log) = &mut self.log {
            log.hold_tsc(keyframe, value);
        }
        self.next_tsc = Time(self.now.0.saturating_add(STEP));
    }

    pub(super) fn move_tsc_behind_keyframe(&mut self, machine: &mut Machine) {
        let keyframe = self.snapshots.as_ref().and_then(Snapshots::last_keyframe);
        if machine.holds_tsc() && keyframe.is_some() {
            self.move_tsc(machine, keyframe);
        }
    }

    /// Lets a guest go on that may be waiting for its TSC, as it would where the TSC is not held. It is logged from the next exit on: what
    /// the guest reads up to there, a replay cannot show.
    pub(super) fn let_tsc_run_on(&mut self, machine: &mut Machine) {
        if !machine.holds_tsc() || !self.clock.is_host() {
            return;
        }
        self.now = self.clock.now();
        if self.now.0 < self.next_tsc.0.saturating_add(SILENCE) {
            return;
        }
        if let Some(value) = self.tsc() {
            machine.let_tsc_slip_to(value);
            self.next_tsc = Time(0);
        }
    }

    /// The guest may have seen numbers that are not logged: tells whether it still holds one. Not of the first ones, which anything may be.
    #[cold]
    pub(super) fn note_slips(&mut self, machine: &mut Machine) {
        let slips = machine.take_tsc_slips();
        let Some(leaks) = &mut self.leaks else { return };
        for numbers in slips.iter().filter(|numbers| numbers.first() >= TELLING) {
            leaks.look_for(numbers, self.exits, machine.registers());
        }
    }
}
