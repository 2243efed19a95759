//! Compares two machines without any of the product's digests: every byte of memory, every structure that KVM lets one read.

use super::host::{Extent, Host};
use super::recorded::Recorded;
use super::replayed::try_replay;
use trapline_formats::Gpa;
use trapline_machine::Machine;
use trapline_replayer::ReplayOptions;

/// Replays a recording as often as the run wants it; fails with everything that differs.
pub fn assert_replays_exactly(host: &Host, recorded: &Recorded) {
    assert_replays_exactly_with(host, recorded, &ReplayOptions::default());
}

/// The same, with what the replay needs.
pub fn assert_replays_exactly_with(host: &Host, recorded: &Recorded, options: &ReplayOptions) {
    for _ in 0..Extent::of_environment().replays() {
        let replayed =
            try_replay(host, &recorded.path, options).unwrap_or_else(|divergence| panic!("{divergence}"));
        assert_eq!(replayed.exits, recorded.end.exits);
        assert_eq!(replayed.console, recorded.console);
        assert_same_machine(host, &recorded.machine, &replayed.machine);
    }
}

/// Fails with everything that differs.
pub fn assert_same_machine(host: &Host, recorded: &Machine, replayed: &Machine) {
    assert_same_memory(recorded, replayed);
    let (ours, theirs) = (recorded.dump(host.kvm).unwrap(), replayed.dump(host.kvm).unwrap());
    let differences = ours.differences(&theirs);
    assert!(
        differences.is_empty(),
        "recorded and replayed vCPU differ (volatile: {:x?}):\n{}",
        ours.volatile_msrs,
        differences.join("\n")
    );
}

fn assert_same_memory(recorded: &Machine, replayed: &Machine) {
    let regions = recorded.memory().regions();
    assert_eq!(regions, replayed.memory().regions());
    for region in regions {
        let read = |machine: &Machine| {
            let mut bytes = vec![0; region.bytes as usize];
            machine.memory().read(Gpa(region.gpa), &mut bytes).unwrap();
            bytes
        };
        let (ours, theirs) = (read(recorded), read(replayed));
        if ours != theirs {
            let differing: Vec<_> = ours
                .iter()
                .zip(&theirs)
                .enumerate()
                .filter(|(_, (a, b))| a != b)
                .map(|(at, (a, b))| format!("{:#x}: {a:#04x} and {b:#04x}", region.gpa + at as u64))
                .collect();
            panic!(
                "{} bytes of memory differ: {:?} ...",
                differing.len(),
                &differing[..differing.len().min(16)]
            );
        }
    }
}
