//! A place between two exits, reached by executing: a breakpoint at it, and single steps away from it.

use super::Machine;
use crate::convention::decoder;
use crate::error::{MachineError, refused};
use crate::{kick, state};
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_USE_HW_BP, kvm_guest_debug, kvm_guest_debug_arch,
};
use rustix::io::Errno;
use trapline_formats::{CpuMode, Gva};

/// DR7 with one breakpoint, on execution (SDM vol. 3, 18.2.4): G0 and the bit that is always set; GD, so that a guest that touches
/// debug registers, which it would find to be others, is stopped instead.
const DR7: u64 = 1 << 1 | 1 << 10 | 1 << 13;

/// What came of an attempt to go somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The guest is there.
    There,
    /// It was not yet when a kick came. It can be sent there again.
    Kicked,
    /// An exit came first, or something else. The guest is of no use any more but to be brought elsewhere ([`Machine::bring_to`]).
    Elsewhere,
}

impl Machine {
    /// Runs the guest until it is about to execute the instruction at this linear address. Valid before the first exit, once settled,
    /// and after a step.
    pub fn run_to(&mut self, address: Gva) -> Result<Reached, MachineError> {
        self.has_run = true;
        let armed = self.armed.is_none().then(|| kick::arm(self.run.immediate_exit()));
        self.break_at(Some(address))?;
        let entered = self.run_vcpu();
        self.break_at(None)?;
        drop(armed);
        if self.has_taken_kick(entered) {
            return Ok(Reached::Kicked);
        }
        if entered.is_err() || self.run.get().exit_reason != KVM_EXIT_DEBUG {
            return Ok(Reached::Elsewhere);
        }
        self.run.get_mut().kvm_dirty_regs = 0;
        self.fetch_registers()?;
        let rip = self.registers().rip;
        let is_there = self.read_code_segment()?.linear(rip) == address.0;
        Ok(if is_there { Reached::There } else { Reached::Elsewhere })
    }

    /// Executes the instruction that comes next, where its single step is no other than the instruction: it neither sees the trap
    /// flag nor changes what is stepped. Elsewhere: it is another, or it came to something else. Valid after [`Machine::run_to`].
    pub fn step_plainly(&mut self) -> Result<Reached, MachineError> {
        let rip = self.registers().rip;
        let segment = self.read_code_segment()?;
        let x86 = self.decode_at(Gva(segment.linear(rip)), segment.mode, rip);
        let Some(next) = ways_on(&x86) else { return Ok(Reached::Elsewhere) };
        let entered = self.step()?;
        if self.has_taken_kick(entered) {
            return Ok(Reached::Kicked);
        }
        // In a fault's handler, the trap flag would be among the flags that were saved.
        let is_step = entered.is_ok() && self.run.get().exit_reason == KVM_EXIT_DEBUG;
        let is_there = is_step && next.contains(&Some(self.registers().rip));
        Ok(if is_there { Reached::There } else { Reached::Elsewhere })
    }

    /// Whether KVM_RUN returned because of a kick, which is then forgotten.
    fn has_taken_kick(&mut self, entered: Result<(), Errno>) -> bool {
        let is_kick = matches!(entered, Err(Errno::INTR | Errno::AGAIN));
        if is_kick {
            kick::take();
            self.run.get_mut().immediate_exit = 0;
        }
        is_kick
    }

    /// Whether the guest uses breakpoints of its own, which ours would replace.
    pub fn uses_breakpoints(&self) -> Result<bool, MachineError> {
        Ok(state::debug(&self.vcpu)?.has_breakpoints())
    }

    /// Whether a breakpoint at this address is hit whenever the guest comes there, as its page tables are now: there is an instruction,
    /// and no repeated one, where it is hit before the first iteration only.
    pub fn stops_at(&self, address: Gva, mode: CpuMode) -> bool {
        let x86 = self.decode_at(address, mode, address.0);
        let repeats = x86.is_string_instruction() && (x86.has_rep_prefix() || x86.has_repne_prefix());
        !x86.is_invalid() && !repeats
    }

    /// What stands at a linear address, as an instruction at this RIP.
    fn decode_at(&self, address: Gva, mode: CpuMode, rip: u64) -> Instruction {
        let mut bytes = [0; 15];
        let read = self.read_linear(address, &mut bytes);
        decoder(&bytes[..read], mode, rip).decode()
    }

    fn break_at(&self, address: Option<Gva>) -> Result<(), MachineError> {
        let mut debug = kvm_guest_debug::default();
        if let Some(address) = address {
            let mut arch = kvm_guest_debug_arch::default();
            (arch.debugreg[0], arch.debugreg[7]) = (address.0, DR7);
            debug = kvm_guest_debug { control: KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP, pad: 0, arch };
        }
        self.vcpu.set_guest_debug(&debug).map_err(refused("KVM_SET_GUEST_DEBUG"))
    }
}

/// Where an instruction may lead to, if it is a plain one: it moves or computes in general registers and memory, or jumps.
fn ways_on(x86: &Instruction) -> Option<[Option<u64>; 2]> {
    use Mnemonic as M;
    let is_general = |register: Register| register.is_gpr() || register == Register::None;
    let in_registers = (0..x86.op_count()).all(|operand| match x86.op_kind(operand) {
        OpKind::Register => is_general(x86.op_register(operand)),
        _ => true,
    });
    match x86.flow_control() {
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
            if x86.near_branch_target() != 0 =>
        {
            Some([Some(x86.next_ip()), Some(x86.near_branch_target())])
        }
        FlowControl::Next if in_registers => matches!(
            x86.mnemonic(),
            M::Mov
                | M::Movzx
                | M::Movsx
                | M::Movsxd
                | M::Lea
                | M::Add
                | M::Adc
                | M::Sub
                | M::Sbb
                | M::And
                | M::Or
                | M::Xor
                | M::Cmp
                | M::Test
                | M::Inc
                | M::Dec
                | M::Neg
                | M::Not
                | M::Nop
                | M::Pause
                | M::Xchg
                | M::Xadd
                | M::Cmpxchg
                | M::Bt
                | M::Shl
                | M::Shr
                | M::Sar
                | M::Rol
                | M::Ror
                | M::Imul
                | M::Push
                | M::Pop
        )
        .then_some([Some(x86.next_ip()), None]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(bytes: &[u8]) -> Option<[Option<u64>; 2]> {
        ways_on(&decoder(bytes, CpuMode::Long64, 0x1000).decode())
    }

    #[test]
    fn what_computes_or_jumps_is_plain_and_says_where_it_leads() {
        let cases: [(&[u8], [Option<u64>; 2]); 6] = [
            (&[0x3b, 0x1f], [Some(0x1002), None]),         // cmp ebx, [rdi]
            (&[0xf3, 0x90], [Some(0x1002), None]),         // pause
            (&[0x48, 0x8b, 0x07], [Some(0x1003), None]),   // mov rax, [rdi]
            (&[0x74, 0xfe], [Some(0x1002), Some(0x1000)]), // je to itself
            (&[0xeb, 0x10], [Some(0x1002), Some(0x1012)]), // jmp
            (&[0xf0, 0xff, 0x0f], [Some(0x1003), None]),   // lock dec dword ptr [rdi]
        ];
        for (bytes, expected) in cases {
            assert_eq!(ways(bytes), Some(expected), "{bytes:x?}");
        }
    }

    #[test]
    fn what_sees_the_trap_flag_or_is_swallowed_is_not_plain() {
        let cases: [&[u8]; 17] = [
            &[0x9c],             // pushf
            &[0x9d],             // popf
            &[0x48, 0xcf],       // iretq
            &[0x0f, 0x05],       // syscall
            &[0xcd, 0x80],       // int 0x80
            &[0xcc],             // int3
            &[0xfb],             // sti
            &[0x8e, 0xd0],       // mov ss, eax
            &[0x0f, 0x23, 0xf8], // mov dr7, rax
            &[0x0f, 0x22, 0xd8], // mov cr3, rax
            &[0xf3, 0xa4],       // rep movsb
            &[0xf4],             // hlt
            &[0xe6, 0x80],       // out 0x80, al
            &[0x0f, 0x31],       // rdtsc
            &[0xff, 0xe0],       // jmp rax
            &[0x06],             // none in 64-bit mode
            &[],                 // nothing mapped
        ];
        for bytes in cases {
            assert_eq!(ways(bytes), None, "{bytes:x?}");
        }
    }
}
