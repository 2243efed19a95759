//! A walk by single steps, to find the instruction that a diverged replay owes its divergence to. A tool for narrowing down:
//! the machine that walked is of no further use.

use super::Machine;
use crate::code::CodeSegment;
use crate::convention::decoder;
use crate::error::{MachineError, refused};
use crate::features::MissingFeatures;
use crate::{kick, state};
use kvm_bindings::KVM_EXIT_DEBUG;
use rustix::io::Errno;
use trapline_formats::{Gva, disassemble};

/// Steps at most: seconds on every engine.
const STEPS: u32 = 100_000;
/// Kicks without a step: the guest computes where stepping does not reach, in the handler of a fault.
const IDLE_KICKS: u32 = 4;

/// An instruction that the guest came to, and that needs what this host lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUse {
    /// The feature, as CPUID's documentation names it.
    pub feature: String,
    /// Linear address of the instruction.
    pub address: Gva,
    /// Its disassembly.
    pub instruction: String,
}

impl Machine {
    /// Steps from here towards the next exit, and gives the first instruction that uses one of the features. Valid before
    /// the first exit and once settled; kicks of the calling thread end a guest that cannot be stepped.
    pub fn find_use(&mut self, missing: &MissingFeatures) -> Result<Option<FeatureUse>, MachineError> {
        self.armed = Some(kick::arm(self.run.immediate_exit()));
        let found = self.walk(missing);
        self.armed = None;
        found
    }

    fn walk(&mut self, missing: &MissingFeatures) -> Result<Option<FeatureUse>, MachineError> {
        let mut kicks = 0;
        for _ in 0..STEPS {
            if let Some(found) = self.use_here(missing)? {
                return Ok(Some(found));
            }
            // POPF ends stepping on some engines: asked for each time.
            self.single_step(true)?;
            match self.run_vcpu() {
                Ok(()) if self.run.get().exit_reason == KVM_EXIT_DEBUG => kicks = 0,
                Err(Errno::INTR | Errno::AGAIN) if kicks < IDLE_KICKS => kicks += 1,
                _ => break,
            }
            kick::take();
            self.run.get_mut().immediate_exit = 0;
        }
        Ok(None)
    }

    /// The use of a missing feature by the instruction that comes next.
    fn use_here(&self, missing: &MissingFeatures) -> Result<Option<FeatureUse>, MachineError> {
        let registers = *state::as_registers(&self.vcpu.get_regs().map_err(refused("KVM_GET_REGS"))?);
        let segment = CodeSegment::of(&self.vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?);
        let address = Gva(segment.linear(registers.rip));
        let mut bytes = [0; 15];
        let length = self.read_linear(address, &mut bytes);
        let x86 = decoder(&bytes[..length], segment.mode, registers.rip).decode();
        Ok(missing.used_by(&x86, &registers).map(|feature| FeatureUse {
            feature,
            address,
            instruction: disassemble(&bytes[..length], segment.mode, address.0)
                .map(|(_, text)| text)
                .unwrap_or_default(),
        }))
    }
}
