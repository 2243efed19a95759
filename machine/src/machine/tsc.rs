//! The guest's time stamp counter: moved to a value that nothing else has, or held still.

use super::Machine;
use crate::error::MachineError;
use crate::hardware_clock::Shown;
use crate::held_tsc::HeldTsc;
use crate::msr;

impl Machine {
    /// Sets the guest's hardware TSC, where it is not held. Only a canary: nothing that Trapline lets a guest read may depend on it.
    pub fn set_hardware_tsc(&mut self, value: u64) -> Result<(), MachineError> {
        msr::set(&self.vcpu, &[(msr::IA32_TSC, value)])
    }

    /// The guest's hardware TSC.
    pub fn hardware_tsc(&self) -> Result<u64, MachineError> {
        msr::tsc(&self.vcpu)
    }

    /// Has the guest's TSC stand still at this value, while the calling thread runs it. False: this host has no TSC scaling.
    pub fn hold_tsc(&mut self, value: u64) -> Result<bool, MachineError> {
        self.held_tsc = HeldTsc::start(&self.vcpu, value)?;
        Ok(self.holds_tsc())
    }

    /// Whether the guest's TSC stands still.
    pub fn holds_tsc(&self) -> bool {
        self.held_tsc.is_some()
    }

    /// A TSC that stands still shows this from now on. Not while an instruction of the guest is half done that reads it.
    #[inline]
    pub fn set_held_tsc(&mut self, value: u64) {
        if let Some(held) = &mut self.held_tsc {
            held.set(value);
        }
    }

    /// The same where nobody logs it: what the guest sees from now on is a slip.
    pub fn let_tsc_slip_to(&mut self, value: u64) {
        if let Some(held) = &mut self.held_tsc {
            held.slip_to(value);
        }
    }

    /// Whether the guest may have seen of a TSC that should have stood still what was not set: the host was busy.
    #[inline]
    pub fn tsc_has_slipped(&self) -> bool {
        self.held_tsc.as_ref().is_some_and(HeldTsc::has_slipped)
    }

    /// These numbers, since this was last asked.
    pub fn take_tsc_slips(&mut self) -> Vec<Shown> {
        self.held_tsc.as_mut().map_or_else(Vec::new, HeldTsc::take_slips)
    }
}
