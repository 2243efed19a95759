//! Interrupts: where they are given, what waits for them, and the CPU's part of the local APIC.

use super::RecordHandler;
use crate::error::RecorderError;
use crate::platform::{ApicState, Platform};
use crate::recording::Progress;
use crate::timer::Waiting;
use std::time::Duration;
use trapline_formats::{EndReason, Event};
use trapline_machine::{Machine, MachineError};

/// Jumps of virtual time in a row that make a guest idle enough to say so.
const IDLE_JUMPS: u64 = 10_000;
/// The longest wait for an interrupt before looking around again.
const NAP: Duration = Duration::from_millis(250);

impl<P: Platform + ?Sized> RecordHandler<'_, P> {
    /// Tells the platform what the guest wrote to the registers of the local APIC that are in the CPU.
    #[inline]
    pub(super) fn look_at_apic(&mut self, machine: &Machine) {
        let (base, cr8) = machine.apic_state();
        let state = ApicState { base, cr8 };
        if self.apic != Some(state) {
            self.apic = Some(state);
            self.platform.apic_state(self.now, state);
        }
    }

    /// Brings CR8 in step with the local APIC, after a write.
    #[inline]
    pub(super) fn follow_task_priority(&mut self, machine: &mut Machine) {
        let Some(cr8) = self.platform.cr8() else { return };
        if let Some(state) = &mut self.apic
            && state.cr8 != cr8
        {
            state.cr8 = cr8;
            machine.set_cr8(cr8);
            self.event(Event::TaskPriority { cr8 });
        }
    }

    /// Asks for an interrupt window, where one opens promptly.
    pub(super) fn want_window(&mut self, machine: &mut Machine) {
        if self.window_is_prompt && !self.window_requested {
            self.request_window(machine, true);
        }
    }

    pub(super) fn request_window(&mut self, machine: &mut Machine, wanted: bool) {
        machine.request_interrupt_window(wanted);
        self.window_requested = wanted;
        self.event(if wanted { Event::WindowRequested } else { Event::WindowCancelled });
    }

    /// Gives the guest the interrupt that waits, if it can take one here. An NMI goes first (SDM vol. 3, 6.9); what waits beside
    /// it has its turn at a later exit.
    pub(super) fn interrupt(&mut self, machine: &mut Machine) -> Result<bool, MachineError> {
        if self.platform.nmi_pending() && machine.can_take_nmi()? {
            self.platform.acknowledge_nmi();
            machine.inject_nmi()?;
            self.event(Event::Nmi);
            return Ok(true);
        }
        if !machine.can_take_interrupt() || !self.platform.interrupt_pending(self.now) {
            return Ok(false);
        }
        self.positions.note_interrupt(self.now, self.platform.interrupt_due());
        let vector = self.platform.acknowledge_interrupt(self.now);
        machine.inject_interrupt(vector)?;
        self.event(Event::Interrupt { vector });
        if self.window_requested {
            self.request_window(machine, false);
        }
        Ok(true)
    }

    /// After HLT: waits until an interrupt wakes the guest, or finds that nothing will.
    pub(super) fn wait(&mut self, machine: &mut Machine) -> Result<(), RecorderError> {
        self.silence.halted(true);
        let result = self.wait_halted(machine);
        self.silence.halted(false);
        result
    }

    fn wait_halted(&mut self, machine: &mut Machine) -> Result<(), RecorderError> {
        let is_deaf = !machine.interrupts_enabled();
        let takes_nmi = is_deaf && machine.can_take_nmi()?;
        let mut waiting = Waiting::default();
        loop {
            self.now = self.clock.now();
            self.input.offer(self.platform, self.now);
            // Timers that are due fire here, so that the NMI of one is seen.
            self.platform.interrupt_pending(self.now);
            if self.platform.has_transfer() {
                self.transfer(machine)?;
                if self.end.is_some() {
                    return Ok(());
                }
            }
            if self.interrupt(machine)? {
                return Ok(());
            }
            if is_deaf && (!takes_nmi || self.platform.next_nmi().is_none()) {
                self.end = Some(EndReason::Halted);
                return Ok(());
            }
            if let Some(reason) = self.stop.requested() {
                self.end = Some(reason);
                return Ok(());
            }
            let deadline = if is_deaf { self.platform.next_nmi() } else { self.platform.next_deadline() };
            match deadline {
                Some(deadline) => {
                    let left = Duration::from_nanos(deadline.0.saturating_sub(self.now.0));
                    let left = if self.clock.is_host() {
                        left
                    } else {
                        waiting.left_of(left, self.platform.is_live())
                    };
                    if left.is_zero() && self.clock.jump(deadline) {
                        waiting = Waiting::default();
                        self.note_jump();
                    } else {
                        self.nap(left)?;
                    }
                }
                None if self.input.may_come() || self.platform.is_live() => self.nap(NAP)?,
                None => {
                    self.end = Some(EndReason::Idle);
                    return Ok(());
                }
            }
        }
    }

    pub(super) fn note_jump(&mut self) {
        self.idle_jumps += 1;
        if self.idle_jumps == IDLE_JUMPS {
            (self.progress)(Progress::IdleJumps(IDLE_JUMPS));
        }
    }

    pub(super) fn nap(&mut self, time: Duration) -> Result<(), RecorderError> {
        self.write_if_old()?;
        std::thread::park_timeout(time.min(NAP));
        Ok(())
    }
}
