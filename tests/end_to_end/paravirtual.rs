//! KVM's own writes into guest memory: closed in a recording; opened here, to see that it matters.

use crate::support::host::{Host, host};
use crate::support::recorded::record;
use crate::support::replayed::replay;
use trapline_formats::{ClockMode, EndReason, ExitKind, MsrRange, StandIns};
use trapline_machine::{
    Control, Exit, Flow, Handler, MSRS_ALLOWED, Machine, MachineConfig, MachineError, fixed_table,
};
use trapline_recorder::guest::flat;

/// KVM_CPUID_SIGNATURE and KVM_CPUID_FEATURES, with KVM_FEATURE_CLOCKSOURCE2 (KVM's Documentation, x86/cpuid.rst).
const KVM_LEAVES: [(u32, [u32; 4]); 2] =
    [(0x4000_0000, [0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d]), (0x4000_0001, [1 << 3, 0, 0, 0])];
/// MSR_KVM_SYSTEM_TIME_NEW.
const KVM_CLOCK: MsrRange = MsrRange { start: 0x4b56_4d01, end: 0x4b56_4d02 };

#[test]
fn a_recorded_guest_cannot_have_kvm_write_its_memory() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &trapline_guests::kvmclock_64(), ClockMode::Host);
    assert_eq!(recorded.end.reason, EndReason::ExitDevice(13));
    replay(&host, &recorded.path);
}

#[test]
fn where_it_could_two_runs_would_differ() {
    let Some(host) = host() else { return };
    let [Some(first), Some(second)] = [opened(&host), opened(&host)] else {
        eprintln!("this KVM keeps no clock for its guests: there is nothing to close");
        return;
    };
    assert_eq!(first.len(), 4);
    assert_ne!(first, second, "the clock of two runs");
}

/// What the guest reads where nothing is closed; `None` where KVM does not know the MSR.
fn opened(host: &Host) -> Option<Vec<u64>> {
    let guest =
        flat::from_bytes(trapline_guests::kvmclock_64().image.to_vec(), flat::Mode::Bits64, 4 << 20).unwrap();
    let mut cpuid = fixed_table(host.kvm).unwrap();
    cpuid.extend(KVM_LEAVES.map(|(leaf, registers)| trapline_formats::CpuidEntry {
        leaf,
        subleaf: 0,
        flags: 0,
        registers,
    }));
    let config = MachineConfig {
        memory: guest.memory.clone(),
        cpuid,
        msrs_allowed: [MSRS_ALLOWED, &[KVM_CLOCK]].concat(),
        stand_ins: StandIns::default(),
    };
    let mut machine = Machine::new(host.kvm, &config).unwrap();
    machine.set_convention(host.convention);
    for (gpa, bytes) in &guest.contents {
        machine.memory().write(*gpa, bytes).unwrap();
    }
    let start = guest.start.apply(machine.save().unwrap());
    machine.restore(&start).unwrap();
    let mut shown = Shown::default();
    machine.run(&mut shown).unwrap();
    (!shown.is_denied).then_some(shown.values)
}

/// Collects what a guest writes to port 0x80, until it ends.
#[derive(Default)]
struct Shown {
    values: Vec<u64>,
    is_denied: bool,
    is_over: bool,
}

impl Handler for Shown {
    type Error = MachineError;

    fn exit(&mut self, _: &mut Machine, exit: &mut Exit) -> Result<Flow, MachineError> {
        match (exit.kind(), exit.address) {
            (ExitKind::PortWrite, 0x80) => self.values.push(exit.value()),
            (ExitKind::MsrWrite, _) => (self.is_denied, exit.fault) = (true, true),
            (ExitKind::PortWrite, 0xf4) => self.is_over = true,
            other => panic!("not expected: {other:?}"),
        }
        Ok(if self.is_over { Flow::Settle } else { Flow::Continue })
    }

    fn settled(&mut self, _: &mut Machine) -> Result<Control, MachineError> {
        Ok(if self.is_over { Control::Stop } else { Control::Continue })
    }

    fn kicked(&mut self, _: &mut Machine) -> Result<Control, MachineError> {
        Ok(Control::Continue)
    }
}
