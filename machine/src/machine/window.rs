//! An interrupt window that opened too early.
//!
//! STI and MOV SS leave interrupts off for one more instruction. Under QEMU's emulation of SVM that shadow is lost when the host is
//! interrupted in it, which is rare: the window then opens right behind them, and not one
//! instruction later as it does the other times. So, the same when recording and replaying: a window never opens right behind
//! such an instruction; one more is executed first. Where the bytes before were the end of something else, an
//! interrupt comes an instruction later than it could.

use super::Machine;
use crate::error::{MachineError, refused};
use crate::exit::Exit;
use kvm_bindings::{KVM_EXIT_DEBUG, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, kvm_guest_debug};
use rustix::io::Errno;
use trapline_formats::ExitKind;

/// Steps that may lead nowhere, in a row.
const STEPS: usize = 8;

impl Machine {
    /// An open window was reported. True: an exit is in `exit`, this one or the next. False: KVM_RUN was interrupted.
    pub(super) fn window_opened(&mut self, exit: &mut Exit) -> Result<bool, MachineError> {
        // The request is fulfilled; KVM would report the open window again and again.
        self.run.get_mut().request_interrupt_window = 0;
        if !self.is_behind_shadower()? {
            exit.set(ExitKind::InterruptWindow, 0, 0, &[]);
            return Ok(true);
        }
        let entered = self.step()?;
        let is_step = entered.is_ok() && self.run.get().exit_reason == KVM_EXIT_DEBUG;
        if is_step && self.can_take_interrupt() {
            exit.set(ExitKind::InterruptWindow, 0, 0, &[]);
            return Ok(true);
        }
        // It led elsewhere, and the window is still to open.
        self.run.get_mut().request_interrupt_window = 1;
        if is_step { self.enter(exit) } else { self.entered(entered, exit) }
    }

    /// Executes one instruction, or one iteration of a repeated one. A step that is reported and changed nothing is made again.
    pub(super) fn step(&mut self) -> Result<Result<(), Errno>, MachineError> {
        let before = *self.registers();
        self.single_step(true)?;
        let mut entered = Ok(());
        for _ in 0..STEPS {
            entered = self.run_vcpu();
            let is_step = entered.is_ok() && self.run.get().exit_reason == KVM_EXIT_DEBUG;
            if is_step {
                self.fetch_registers()?;
            }
            if !is_step || *self.registers() != before {
                break;
            }
        }
        self.single_step(false)?;
        Ok(entered)
    }

    pub(super) fn single_step(&self, on: bool) -> Result<(), MachineError> {
        let control = if on { KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP } else { 0 };
        let debug = kvm_guest_debug { control, ..Default::default() };
        self.vcpu.set_guest_debug(&debug).map_err(refused("KVM_SET_GUEST_DEBUG"))
    }
}
