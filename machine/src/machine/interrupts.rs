//! Interrupts, and the CPU's part of the local APIC.

use super::Machine;
use crate::error::{MachineError, refused};
use crate::ioctl;

impl Machine {
    /// Whether the guest can take an external interrupt right now. Valid once settled.
    pub fn can_take_interrupt(&self) -> bool {
        self.run.get().ready_for_interrupt_injection != 0 && self.run.get().if_flag != 0
    }

    /// Whether the guest has interrupts enabled (RFLAGS.IF), whatever may shadow them for an instruction.
    pub fn interrupts_enabled(&self) -> bool {
        self.run.get().if_flag != 0
    }

    /// Queues an external interrupt.
    pub fn inject_interrupt(&mut self, vector: u8) -> Result<(), MachineError> {
        ioctl::interrupt(&self.vcpu, vector)
    }

    /// Whether the guest takes a non-maskable interrupt at once: nothing masks or shadows it, and nothing else is about to be
    /// delivered. Valid once settled. Where this is so, KVM need not look for the place where it can deliver one, which some
    /// engines do by single-stepping.
    pub fn can_take_nmi(&self) -> Result<bool, MachineError> {
        let events = self.vcpu.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
        let nmi = events.nmi.injected | events.nmi.pending | events.nmi.masked;
        let others = events.exception.injected | events.exception.pending | events.interrupt.injected;
        Ok(nmi | others | events.interrupt.shadow == 0)
    }

    /// Queues a non-maskable interrupt.
    pub fn inject_nmi(&mut self) -> Result<(), MachineError> {
        self.vcpu.nmi().map_err(refused("KVM_NMI"))
    }

    /// Asks KVM to exit as soon as the guest can take an interrupt, or no longer to. That exit ends the request.
    pub fn request_interrupt_window(&mut self, wanted: bool) {
        self.run.get_mut().request_interrupt_window = wanted.into();
    }

    /// What the CPU holds of its local APIC: (`IA32_APIC_BASE`, CR8). Valid at an exit: without an in-kernel APIC, KVM shows
    /// both in `kvm_run` whenever KVM_RUN returns (KVM API 5, `apic_base` and `cr8`).
    #[inline]
    pub fn apic_state(&self) -> (u64, u8) {
        let run = self.run.get();
        (run.apic_base, run.cr8 as u8)
    }

    /// Sets CR8. KVM loads it from `kvm_run` at every KVM_RUN, before it completes the instruction of the last exit.
    pub fn set_cr8(&mut self, cr8: u8) {
        self.run.get_mut().cr8 = cr8.into();
    }
}
