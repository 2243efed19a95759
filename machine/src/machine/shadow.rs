//! An interrupt shadow that is lost where the host interrupts the guest.
//!
//! STI and MOV SS leave interrupts off for one more instruction (SDM vol. 3, 6.8.3). Under QEMU's emulation of SVM that shadow is
//! gone when the host interrupts the guest in it, and KVM reports that the guest can take an interrupt (see [`super::window`], too).
//! A guest that was kicked and
//! stands right behind such an instruction without a shadow is therefore taken one instruction on: then it is behind the shadow,
//! if there was one. Where what stands before it only looks like such an instruction, nothing is lost either.

use super::Machine;
use crate::convention::decoder;
use crate::error::{MachineError, refused};
use iced_x86::{Code, Register};
use kvm_bindings::KVM_EXIT_DEBUG;
use trapline_formats::{CpuMode, Gva};

/// The longest of these instructions: MOV SS from memory, without prefixes that nobody writes before it.
const LONGEST: usize = 8;

impl Machine {
    /// Takes a guest that was kicked out of a shadow that KVM may have lost. False: that led to an exit, which is handled next.
    /// Valid after a kick.
    pub fn leave_lost_shadow(&mut self) -> Result<bool, MachineError> {
        self.fetch_registers()?;
        let events = self.vcpu.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
        if events.interrupt.shadow != 0 || !self.interrupts_enabled() || !self.is_behind_shadower()? {
            return Ok(true);
        }
        let entered = self.step()?;
        if entered.is_ok() && self.run.get().exit_reason == KVM_EXIT_DEBUG {
            return Ok(true);
        }
        self.left_over = Some(entered);
        Ok(false)
    }

    /// Whether the bytes before RIP are an instruction that shadows the next one. User mode shadows nothing that matters: it
    /// cannot switch interrupts off, and not every engine can step through it.
    pub(super) fn is_behind_shadower(&mut self) -> Result<bool, MachineError> {
        let rip = self.registers().rip;
        let segment = self.read_code_segment()?;
        if segment.cpl == 3 {
            return Ok(false);
        }
        let mut bytes = [0; LONGEST + 1];
        let from = segment.linear(rip.wrapping_sub(LONGEST as u64));
        let read = self.read_linear(Gva(from), &mut bytes);
        // PUSHF would store the trap flag that stepping sets.
        let is_whole = read == bytes.len() && bytes[LONGEST] != 0x9c;
        Ok(is_whole && (1..=LONGEST).any(|length| shadows(&bytes[LONGEST - length..LONGEST], segment.mode)))
    }
}

/// Whether these bytes are one instruction, all of them, that shadows the next.
fn shadows(bytes: &[u8], mode: CpuMode) -> bool {
    let x86 = decoder(bytes, mode, 0).decode();
    let is_ours = match x86.code() {
        Code::Sti | Code::Popw_SS | Code::Popd_SS => true,
        Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16 => {
            x86.op0_register() == Register::SS
        }
        _ => false,
    };
    is_ours && x86.len() == bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sti_mov_ss_and_pop_ss_shadow_and_what_ends_like_them_in_another_mode_does_not() {
        let cases: [(&[u8], CpuMode, bool); 9] = [
            (&[0xfb], CpuMode::Long64, true),
            (&[0xfb], CpuMode::Real16, true),
            (&[0x90, 0xfb], CpuMode::Long64, false), // two instructions
            (&[0x8e, 0xd0], CpuMode::Long64, true),  // mov ss, eax
            (&[0x8e, 0xd8], CpuMode::Long64, false), // mov ds, eax
            (&[0x8e, 0x14, 0x25, 0, 0x70, 0, 0], CpuMode::Long64, true), // mov ss, [0x7000]
            (&[0x17], CpuMode::Protected32, true),   // pop ss
            (&[0x17], CpuMode::Long64, false),       // none
            (&[0xb0, 0xfb], CpuMode::Long64, false), // mov al, 0xfb
        ];
        for (bytes, mode, expected) in cases {
            assert_eq!(shadows(bytes, mode), expected, "{bytes:x?} in {mode:?}");
        }
    }
}
