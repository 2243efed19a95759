//! Coming to a carried position by executing.
//!
//! The trace says where the guest stood and in which state, not how often it had come by there. So a breakpoint is set, and the first
//! few times that the guest comes by, it is compared with what the trace carries: registers first, then the complete state and memory.
//! Where all of it is equal, the guest came there by itself, and what it computed up to there is as checked as everything else. A guest
//! that waits for something spins, and is there at the first or second hit; one that computes is there at the millionth, so that an
//! attempt has bounds. One that fails costs time and nothing else: the position is then carried, whatever the guest did meanwhile.
//!
//! Not to come by proves nothing, but for one case: a guest that comes round to the very same state from hit to hit will do so for
//! ever, and what the trace carries is wrong, or what was computed here is.

use crate::error::ReplayError;
use crate::memory_check::{self, MemoryCheck};
use crate::replay::Place;
use std::collections::BTreeSet;
use std::time::Duration;
use trapline_formats::digests::{Compared, compared};
use trapline_formats::{Change, CpuState, Difference, Gva, Keyframe, RFLAGS_RF};
use trapline_machine::doctor::{Breakpoints, breakpoints};
use trapline_machine::{Alarm, Kvm, Machine, MachineError, Reached};

/// Hits of the breakpoint at most.
const HITS: u32 = 8;
/// Attempts that fail in a row make the next ones rarer: 1, 2, 4 … and at most so many positions are carried without one.
const MOST_SKIPPED: u32 = 64;
/// RFLAGS.TF, with which a guest steps itself (SDM vol. 1, 3.4.3.3).
const RFLAGS_TF: u64 = 1 << 8;

/// What came of an attempt.
pub(crate) enum Attempt {
    /// The guest is there, in the state that the trace carries.
    Came,
    /// It is somewhere, and of no use.
    Failed,
    /// It will never come there: it comes round to the same state for ever, which differs in this.
    Never(Vec<Difference>, Vec<memory_check::Difference>),
}

/// Attempts, and when the next one is made.
pub(crate) struct Attempts<'a> {
    kvm: &'a Kvm,
    is_on: bool,
    /// Time of a processor at most.
    time: Duration,
    /// What is found out before the first: where breakpoints work, and what ends an attempt.
    means: Option<(Breakpoints, Alarm)>,
    /// Where an attempt succeeded.
    found: BTreeSet<Gva>,
    /// Positions that are carried before the next attempt elsewhere, and how many that are the next time.
    skipped: u32,
    patience: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(place: &'a Place<'_>, time: Duration) -> Self {
        // Another engine or processor is compared less strictly, and not in memory.
        let is_on = !time.is_zero() && place.elsewhere.is_none();
        Self { kvm: place.kvm, is_on, time, means: None, found: BTreeSet::new(), skipped: 0, patience: 1 }
    }

    /// Tries to bring the machine to a keyframe that is carried. `changes` are the pages that changed since the keyframe before.
    pub(crate) fn make(
        &mut self,
        machine: &mut Machine,
        memory: &mut MemoryCheck<'_>,
        keyframe: &Keyframe,
        changes: &[Change],
    ) -> Result<Attempt, ReplayError> {
        let address = keyframe.cpu.system.code_address(keyframe.cpu.registers.rip);
        if !self.is_on || !self.is_due(address) {
            return Ok(Attempt::Failed);
        }
        let Some((breakpoints, alarm)) = self.means.take().or_else(|| self.find_means()) else {
            self.is_on = false;
            return Ok(Attempt::Failed);
        };
        let can_stop = can_stop(breakpoints, machine, &keyframe.cpu, address)?;
        let mut came = Ok(Attempt::Failed);
        if can_stop {
            alarm.set(self.time)?;
            came = come_by(machine, memory, keyframe, changes, address, &alarm);
            alarm.clear()?;
            self.learn(address, matches!(came, Ok(Attempt::Came)));
        }
        self.means = Some((breakpoints, alarm));
        came
    }

    /// What it takes. A host that refuses it refuses no replay.
    fn find_means(&self) -> Option<(Breakpoints, Alarm)> {
        Some((breakpoints(self.kvm).ok()?, Alarm::of_this_thread().ok()?))
    }

    fn is_due(&mut self, address: Gva) -> bool {
        if self.skipped == 0 || self.found.contains(&address) {
            return true;
        }
        self.skipped -= 1;
        false
    }

    fn learn(&mut self, address: Gva, came: bool) {
        if came {
            self.found.insert(address);
            (self.skipped, self.patience) = (0, 1);
        } else {
            self.found.remove(&address);
            self.skipped = self.patience;
            self.patience = (self.patience * 2).min(MOST_SKIPPED);
        }
    }
}

/// Whether a breakpoint stops the guest at this state, each time that it comes there.
fn can_stop(
    breakpoints: Breakpoints,
    machine: &Machine,
    cpu: &CpuState,
    address: Gva,
) -> Result<bool, MachineError> {
    let is_hit = if cpu.system.is_user_mode() { breakpoints.user } else { breakpoints.kernel };
    // With RF, and in the shadow of MOV SS, no breakpoint is hit.
    let is_passed = cpu.registers.rflags & (RFLAGS_RF | RFLAGS_TF) != 0 || cpu.events.shadow != 0;
    let is_taken = cpu.debug.has_breakpoints() || machine.uses_breakpoints()?;
    Ok(is_hit && !is_passed && !is_taken && machine.stops_at(address, cpu.system.mode()))
}

/// Looks at the guest each time that it comes by.
fn come_by(
    machine: &mut Machine,
    memory: &mut MemoryCheck<'_>,
    keyframe: &Keyframe,
    changes: &[Change],
    address: Gva,
    alarm: &Alarm,
) -> Result<Attempt, ReplayError> {
    let wanted = compared(&keyframe.cpu.registers);
    let mut before: Option<(Compared, Option<CpuState>)> = None;
    for _ in 0..HITS {
        if !reaches(alarm, || machine.run_to(address))? {
            return Ok(Attempt::Failed);
        }
        let here = compared(machine.registers());
        let (is_again, state_before) = match before {
            Some((registers, state)) => (registers == here, state),
            None => (false, None),
        };
        before = Some((here, None));
        if here == wanted || is_again {
            let is_unchanged = !memory.has_changed(machine)?;
            let state = machine.save()?;
            let differences = keyframe.cpu.differences(&state);
            let pages = memory.differences_from(changes);
            if differences.is_empty() && pages.is_empty() {
                return Ok(Attempt::Came);
            }
            let is_round = |before: &CpuState| is_unchanged && before.differences(&state).is_empty();
            if is_again && state_before.as_ref().is_some_and(is_round) {
                return Ok(Attempt::Never(differences, pages));
            }
            before = Some((here, Some(state)));
        }
        if !reaches(alarm, || machine.step_plainly())? {
            return Ok(Attempt::Failed);
        }
    }
    Ok(Attempt::Failed)
}

/// Whether the guest comes where it is sent before the alarm rings. Of other kicks there are the watchdog's, which mean nothing here.
fn reaches(
    alarm: &Alarm,
    mut send: impl FnMut() -> Result<Reached, MachineError>,
) -> Result<bool, MachineError> {
    loop {
        match send()? {
            Reached::There => return Ok(true),
            Reached::Kicked if !alarm.has_rung()? => {}
            Reached::Kicked | Reached::Elsewhere => return Ok(false),
        }
    }
}
