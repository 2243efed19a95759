//! The probe guest that finds where RIP stands at each kind of exit, on the engine at hand.

use crate::convention::{Convention, RipAt};
use crate::error::MachineError;
use crate::exit::Exit;
use crate::kvm;
use crate::machine::{Control, Flow, Handler, Machine, MachineConfig};
use crate::{MSRS_ALLOWED, fixed_table};
use kvm_ioctls::Kvm;
use trapline_formats::{CpuState, ExitKind, Gpa, MemoryRegion, Registers, StandIns};

/// One instruction of each kind, in 32-bit protected mode without paging: (offset, kind, length).
const GUEST: &[u8] = &[
    0xe4, 0x10, // in al, 0x10
    0xe6, 0x10, // out 0x10, al
    0xe6, 0x7e, // out 0x7e, al
    0xa0, 0x00, 0x00, 0x10, 0x00, // mov al, [0x100000]
    0xa2, 0x00, 0x00, 0x10, 0x00, // mov [0x100000], al
    0x0f, 0x32, // rdmsr, ECX = 0x10 (TSC): denied
    0x0f, 0x30, // wrmsr
    0xf4, // hlt
];
const STARTS: [u64; 8] = [0, 2, 4, 6, 11, 16, 18, 20];
const TEXT: u64 = 0x1000;

#[derive(Debug, Default)]
struct Probe {
    found: Convention,
    next: usize,
}

impl Handler for Probe {
    type Error = MachineError;

    fn exit(&mut self, _: &mut Machine, exit: &mut Exit) -> Result<Flow, MachineError> {
        let at = match STARTS.get(self.next) {
            Some(start) if exit.rip == TEXT + start => RipAt::Instruction,
            Some(_) => RipAt::Next,
            None => return Ok(Flow::Settle),
        };
        let field = match self.next {
            0 => &mut self.found.port_read,
            1 => &mut self.found.port_write,
            2 => &mut self.found.port_write_7e,
            3 => &mut self.found.mmio_read,
            4 => &mut self.found.mmio_write,
            5 => &mut self.found.msr_read,
            6 => &mut self.found.msr_write,
            _ => &mut self.found.halt,
        };
        *field = at;
        self.next += 1;
        Ok(if exit.kind() == ExitKind::Halt { Flow::Settle } else { Flow::Continue })
    }

    fn settled(&mut self, _: &mut Machine) -> Result<Control, MachineError> {
        Ok(Control::Stop)
    }

    fn kicked(&mut self, _: &mut Machine) -> Result<Control, MachineError> {
        Ok(Control::Continue)
    }
}

impl Convention {
    /// Runs the probe guest.
    pub fn probe(kvm: &Kvm) -> Result<Self, MachineError> {
        let config = MachineConfig {
            memory: vec![MemoryRegion { gpa: 0, bytes: 0x4000, readonly: false }],
            cpuid: fixed_table(kvm)?,
            msrs_allowed: MSRS_ALLOWED.to_vec(),
            stand_ins: StandIns::default(),
        };
        let mut machine = Machine::new(kvm, &config)?;
        machine.memory().write(Gpa(TEXT), GUEST)?;
        let state = flat_32_bit(machine.save()?);
        machine.restore(&state)?;
        let mut probe = Probe::default();
        machine.run(&mut probe)?;
        Ok(probe.found)
    }
}

/// 32-bit protected mode, flat segments, at the probe's text.
fn flat_32_bit(mut state: CpuState) -> CpuState {
    const CODE: u16 = 0xb | 1 << 4 | 1 << 7 | 1 << 10 | 1 << 11; // execute/read, accessed; S, P, D, G
    const DATA: u16 = 0x3 | 1 << 4 | 1 << 7 | 1 << 10 | 1 << 11; // read/write, accessed
    for (i, segment) in state.system.segments.iter_mut().take(6).enumerate() {
        segment.base = 0;
        segment.limit = 0xffff_ffff;
        segment.selector = if i == 0 { 8 } else { 16 };
        segment.rights = if i == 0 { CODE } else { DATA };
    }
    state.system.control[0] |= 1;
    state.registers.rip = TEXT;
    state.registers.rflags = 2;
    state.registers.general[Registers::RCX] = 0x10;
    state
}

/// Opens KVM and probes it: what every program that runs guests does first.
pub fn open_and_probe() -> Result<(Kvm, Convention), MachineError> {
    let kvm = kvm::open()?;
    let convention = Convention::probe(&kvm)?;
    Ok((kvm, convention))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_guest_meets_every_kind_of_exit() {
        let (kvm, _) = open_and_probe().expect("tests need a usable /dev/kvm");
        let found = Convention::probe(&kvm).unwrap();
        // The same on every engine that was ever seen.
        assert_eq!(found.port_read, RipAt::Instruction);
        assert_eq!(found.mmio_write, RipAt::Next);
        assert_eq!(found.halt, RipAt::Next);
    }

    #[test]
    fn save_restore_save_is_equal_field_by_field() {
        let kvm = kvm::open().expect("tests need a usable /dev/kvm");
        let config = MachineConfig {
            memory: vec![MemoryRegion { gpa: 0, bytes: 0x4000, readonly: false }],
            cpuid: fixed_table(&kvm).unwrap(),
            msrs_allowed: MSRS_ALLOWED.to_vec(),
            stand_ins: StandIns::default(),
        };
        let mut machine = Machine::new(&kvm, &config).unwrap();
        let mut state = flat_32_bit(machine.save().unwrap());
        state.registers.general = std::array::from_fn(|i| 0x1111_1111_1111_1111 * i as u64);
        state.debug.addresses = [0x1000, 0x2000, 0x3000, 0x4000];
        state.xsave[160] = 0x5a;
        state.xsave[512] |= 2;
        state.system.control[1] = 0xdead_b000;
        state.system.control[4] = 5;
        for (index, value) in &mut state.msrs {
            match *index {
                0x174 => *value = 0x10,
                0xc000_0102 => *value = 0xffff_8000_0000_1000,
                0x277 => *value = 0x0007_0406_0007_0406,
                _ => {}
            }
        }
        machine.restore(&state).unwrap();
        let back = machine.save().unwrap();
        assert_eq!(state.differences(&back), []);
        assert_eq!(state, back);
        let mut other = Machine::new(&kvm, &config).unwrap();
        other.restore(&back).unwrap();
        assert_eq!(other.save().unwrap(), back);
    }
}
