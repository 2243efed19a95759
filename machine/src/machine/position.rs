//! Positions: the complete state saved, restored, and taken over in the middle of a run.

use super::Machine;
use crate::error::{MachineError, refused};
use crate::{kick, state};
use kvm_bindings::{KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_SHUTDOWN};
use rustix::io::Errno;
use trapline_formats::CpuState;

/// Exits that the rest of one instruction may have: its accesses, each cut in pieces of eight bytes.
const LEFT_OVER: usize = 64;

impl Machine {
    /// The complete CPU state. Valid before the first exit and once settled.
    pub fn save(&self) -> Result<CpuState, MachineError> {
        state::save(&self.vcpu, &self.layout)
    }

    /// The MSRs that belong to the state, as far as this KVM has them.
    pub fn msrs(&self) -> &[u32] {
        &self.layout.msrs
    }

    /// Restores a complete CPU state. Valid before the first exit.
    pub fn restore(&mut self, state: &CpuState) -> Result<(), MachineError> {
        self.code.forget();
        state::restore(&mut self.vcpu, &self.layout, state)
    }

    /// Whether a state saved here is the same once it is restored: nothing is about to be delivered that KVM would not say
    /// everything about. Valid once settled. Where it is not, the next exit is as good a place.
    pub fn can_be_left(&self) -> Result<bool, MachineError> {
        let events = self.vcpu.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
        let exception = events.exception.injected | events.exception.pending;
        let nmi = events.nmi.injected | events.nmi.pending;
        let smi = events.smi.smm | events.smi.pending;
        Ok(exception | nmi | smi | events.triple_fault.pending == 0)
    }

    /// Gives the vCPU the state in which it stands, as a replay will: what KVM holds besides, here as there, is then gone for both.
    /// Valid once settled, and after a kick.
    pub fn retake(&mut self, state: &CpuState) -> Result<(), MachineError> {
        self.flush_translations(state)?;
        self.restore(state)?;
        self.show()
    }

    /// Has the processor forget what it knows of the guest's page tables: the guest may have told it so where nobody executed it. KVM
    /// does that when a bit of CR4 changes that translation depends on; the bit is put back with the state that follows.
    fn flush_translations(&self, state: &CpuState) -> Result<(), MachineError> {
        /// CR4.PGE (SDM vol. 3, 2.5).
        const PGE: u64 = 1 << 7;
        let mut system = state::system(&self.vcpu, &self.layout)?;
        system.control[3] = state.system.control[3] ^ PGE;
        state::set_system(&self.vcpu, &self.layout, &system)
    }

    /// Brings the guest to another position, whatever it was doing: what is left of its last exit is dropped, `load` writes
    /// memory as it is there and says whether there was anything to write, and then the vCPU gets its state.
    pub fn bring_to<E: From<MachineError>>(
        &mut self,
        state: &CpuState,
        window_requested: bool,
        load: impl FnOnce(&Self) -> Result<bool, E>,
    ) -> Result<(), E> {
        if self.has_run {
            self.drop_exit()?;
        }
        let is_written = load(self)?;
        if self.has_run && is_written {
            // Page tables may be among it, of which KVM has made its own.
            self.memory.forget_translations(&self.vm)?;
        } else if self.has_run {
            self.flush_translations(state)?;
        }
        self.restore(state)?;
        self.run.get_mut().request_interrupt_window = window_requested.into();
        Ok(self.show()?)
    }

    /// Has KVM complete the instruction of the last exit with whatever is there: everything it touches is written anew.
    fn drop_exit(&mut self) -> Result<(), MachineError> {
        self.finisher.forget();
        for _ in 0..LEFT_OVER {
            if self.run.get().exit_reason == KVM_EXIT_SHUTDOWN {
                return Ok(());
            }
            // The last element of a repeated instruction, whichever it was at.
            let mut regs = self.vcpu.get_regs().map_err(refused("KVM_GET_REGS"))?;
            regs.rcx = 1;
            self.vcpu.set_regs(&regs).map_err(refused("KVM_SET_REGS"))?;
            match self.enter_and_leave()? {
                None | Some(KVM_EXIT_SHUTDOWN | KVM_EXIT_INTERNAL_ERROR | KVM_EXIT_FAIL_ENTRY) => {
                    return Ok(());
                }
                Some(_) => {}
            }
        }
        Err(MachineError::Restore("the instruction of the last exit does not come to an end".into()))
    }

    /// Has KVM show in its shared page what was set behind it.
    fn show(&mut self) -> Result<(), MachineError> {
        match self.enter_and_leave()? {
            None => self.fetch_registers(),
            Some(reason) => Err(MachineError::Restore(format!("KVM left it at once, for reason {reason}"))),
        }
    }

    /// KVM_RUN that does not enter the guest. An exit all the same: its reason.
    fn enter_and_leave(&mut self) -> Result<Option<u32>, MachineError> {
        let run = self.run.get_mut();
        run.kvm_dirty_regs = 0;
        run.immediate_exit = 1;
        let result = self.run_vcpu();
        // A kick that came meanwhile wanted the flag set.
        self.run.get_mut().immediate_exit = kick::is_pending().into();
        match result {
            Err(Errno::INTR | Errno::AGAIN) => Ok(None),
            Ok(()) => Ok(Some(self.run.get().exit_reason)),
            Err(error) => Err(MachineError::Refused { request: "KVM_RUN", source: error.into() }),
        }
    }
}
