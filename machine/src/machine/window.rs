//! An interrupt window that opened too early.
//!
//! STI leaves interrupts off for one more instruction (SDM vol. 3, 7.8.3). Under QEMU's emulation of SVM that shadow is lost when
//! the host is interrupted in it, which is rare: the window then opens right behind the STI, and not one
//! instruction later as it does the other times. So, the same when recording and replaying: a window never opens right behind
//! the byte that STI consists of; one more instruction is executed first. Where that byte was the end of something else, an
//! interrupt comes an instruction later than it could.

use super::Machine;
use crate::error::{MachineError, refused};
use crate::exit::Exit;
use crate::ioctl;
use kvm_bindings::{KVM_EXIT_DEBUG, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, kvm_guest_debug};
use rustix::io::Errno;
use trapline_formats::{ExitKind, Gva};

const STI: u8 = 0xfb;
/// Steps that may lead nowhere, in a row.
const STEPS: usize = 8;
/// PUSHF would store the trap flag that stepping sets.
const PUSHF: u8 = 0x9c;

impl Machine {
    /// An open window was reported. True: an exit is in `exit`, this one or the next. False: KVM_RUN was interrupted.
    pub(super) fn window_opened(&mut self, exit: &mut Exit) -> Result<bool, MachineError> {
        // The request is fulfilled; KVM would report the open window again and again.
        self.run.get_mut().request_interrupt_window = 0;
        if !self.is_behind_sti()? {
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
    fn step(&mut self) -> Result<Result<(), Errno>, MachineError> {
        let before = *self.registers();
        self.single_step(true)?;
        let mut entered = Ok(());
        for _ in 0..STEPS {
            entered = ioctl::run(&mut self.vcpu);
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

    fn is_behind_sti(&mut self) -> Result<bool, MachineError> {
        let rip = self.registers().rip;
        let linear = self.read_code_segment()?.linear(rip);
        let mut bytes = [0; 2];
        let length = self.read_linear(Gva(linear.wrapping_sub(1)), &mut bytes);
        Ok(length == bytes.len() && bytes[0] == STI && bytes[1] != PUSHF)
    }

    pub(super) fn single_step(&self, on: bool) -> Result<(), MachineError> {
        let control = if on { KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP } else { 0 };
        let debug = kvm_guest_debug { control, ..Default::default() };
        self.vcpu.set_guest_debug(&debug).map_err(refused("KVM_SET_GUEST_DEBUG"))
    }
}
