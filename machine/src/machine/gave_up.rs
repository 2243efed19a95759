//! What there is to say of a guest that KVM gave up on.

use super::Machine;
use crate::error::GaveUp;
use crate::state;
use kvm_bindings::{KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR};
use trapline_formats::{Gva, Registers, disassemble};

impl Machine {
    pub(super) fn unhandled(&mut self, reason: u32) -> GaveUp {
        let why = match reason {
            KVM_EXIT_INTERNAL_ERROR => match self.run.internal_error() {
                // KVM API 5, KVM_EXIT_INTERNAL_ERROR.
                (2, _) => "an exception during the delivery of another could not be delivered".to_owned(),
                (suberror, data) => format!("KVM reports internal error {suberror} {data:x?}"),
            },
            KVM_EXIT_FAIL_ENTRY => {
                format!(
                    "the processor refused to enter the guest, hardware reason {:#x}",
                    self.run.entry_failure()
                )
            }
            reason => format!("KVM stopped with exit reason {reason}, which Trapline does not know"),
        };
        self.gave_up(why)
    }

    pub(crate) fn gave_up(&mut self, reason: String) -> GaveUp {
        let mut gave_up = GaveUp {
            reason,
            address: 0,
            mode: "an unknown mode".into(),
            bytes: Vec::new(),
            disassembly: String::new(),
            needed: None,
            registers: Registers::default(),
        };
        let Ok(regs) = self.vcpu.get_regs() else { return gave_up };
        gave_up.registers = *state::as_registers(&regs);
        let Ok(segment) = self.read_code_segment() else { return gave_up };
        gave_up.address = segment.linear(regs.rip);
        gave_up.mode = segment.describe();
        let mut bytes = [0; 15];
        let length = self.read_linear(Gva(gave_up.address), &mut bytes);
        let (used, text) =
            disassemble(&bytes[..length], segment.mode, gave_up.address).unwrap_or((length, String::new()));
        gave_up.bytes = bytes[..used].to_vec();
        gave_up.disassembly = text;
        gave_up
    }
}
