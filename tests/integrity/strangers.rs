//! Traces that a stranger made: changed, and their checksums made right again. Whatever still opens is read, reported, compared and
//! replayed; a replay that is called faithful left the guest as the recording did.

use crate::blocks::Blocks;
use crate::bounds::{alone, cases, folder, reads, report_and_compare, within_bounds};
use crate::support::host::{Host, host};
use crate::support::recorded::{Recorded, record};
use crate::support::replayed::attempt;
use fastrand::Rng;
use std::path::Path;
use std::time::Duration;
use trapline_formats::{ClockMode, ExitKind, Gpa, Site, Trace};
use trapline_guests::Guest;
use trapline_machine::Machine;
use trapline_replayer::ReplayOptions;

fn guests() -> [Guest; 4] {
    [
        trapline_guests::port64(),
        trapline_guests::demo(),
        trapline_guests::timer_hlt_32(),
        trapline_guests::msrs_64(),
    ]
}

/// A recording, taken apart.
struct Original {
    recorded: Recorded,
    blocks: Blocks,
    outputs: Vec<(Site, Vec<u8>)>,
}

impl Original {
    fn of(host: &Host, guest: &Guest) -> Self {
        let recorded = record(host, guest, ClockMode::Virtual);
        let blocks = Blocks::of(&std::fs::read(&recorded.path).unwrap());
        let outputs = outputs(&recorded.path);
        Self { recorded, blocks, outputs }
    }

    fn changed(&self, random: &mut Rng) -> (Vec<u8>, String) {
        let mut blocks = self.blocks.clone();
        let changes: Vec<_> = (0..random.usize(1..3)).map(|_| blocks.change(random)).collect();
        (blocks.bytes(), changes.join(", "))
    }
}

/// What a guest gave out, exit by exit.
fn outputs(path: &Path) -> Vec<(Site, Vec<u8>)> {
    let trace = Trace::open(path).unwrap();
    let is_output = |kind| matches!(kind, ExitKind::PortWrite | ExitKind::MmioWrite | ExitKind::MsrWrite);
    let mut all = Vec::new();
    for chunk in trace.inputs() {
        for exit in chunk.unwrap().exits() {
            let site = &trace.sites()[exit.site as usize];
            if is_output(site.kind) {
                all.push((site.clone(), exit.data.to_vec()));
            }
        }
    }
    all
}

#[test]
fn changed_traces_with_good_checksums_are_read_within_bounds() {
    let Some(host) = host() else { return };
    let _turn = alone();
    let originals = guests().map(|guest| Original::of(&host, &guest));
    let folder = folder();
    let path = folder.path().join("strange.trap");
    let mut random = Rng::with_seed(0x7374_7261);
    let mut readable = 0;
    let cases = cases(3000, 100_000);
    for case in 0..cases {
        let original = &originals[case as usize % originals.len()];
        let (bytes, changes) = original.changed(&mut random);
        std::fs::write(&path, &bytes).unwrap();
        let what = format!("case {case}, {changes}");
        readable += u64::from(within_bounds(&what, || reads(&path)));
        if case.is_multiple_of(8) {
            within_bounds(&what, || report_and_compare(&path, &original.recorded.path));
        }
    }
    assert!(readable > cases / 50, "only {readable} of {cases} could be read: they come to nothing");
}

#[test]
fn a_changed_trace_that_replays_faithfully_left_the_guest_as_the_recording_did() {
    let Some(host) = host() else { return };
    let _turn = alone();
    let originals = guests().map(|guest| Original::of(&host, &guest));
    let folder = folder();
    let path = folder.path().join("strange.trap");
    let mut random = Rng::with_seed(0x7265_706c);
    let options = ReplayOptions { silence: Duration::from_secs(1), ..ReplayOptions::default() };
    let (mut faithful, mut refused, mut diverged) = (0, 0, 0);
    let replays = cases(300, 5000);
    let mut case = 0u64;
    while faithful + refused + diverged < replays {
        case += 1;
        let original = &originals[case as usize % originals.len()];
        let (bytes, changes) = original.changed(&mut random);
        std::fs::write(&path, &bytes).unwrap();
        if Trace::open(&path).is_err() {
            continue;
        }
        let what = format!("case {case}, {changes}");
        match within_bounds(&what, || attempt(&host, &path, &options)) {
            Err(_) => refused += 1,
            Ok(Err(_)) => diverged += 1,
            Ok(Ok(replayed)) => {
                faithful += 1;
                assert_eq!(replayed.exits, original.recorded.end.exits, "{what}");
                assert_eq!(outputs(&path), original.outputs, "{what}");
                assert_left_alike(&host, &original.recorded.machine, &replayed.machine, &what);
            }
        }
    }
    eprintln!("{replays} replays: {faithful} faithful, {diverged} diverged, {refused} refused");
    assert!(faithful > 0 && refused > 0 && diverged > 0, "{faithful} {refused} {diverged}");
}

/// Memory as far as the recording had it, and the vCPU. Not the CPUID table: that is what the trace says of the host, and a row for which
/// the guest never asked leaves no mark.
fn assert_left_alike(host: &Host, recorded: &Machine, replayed: &Machine, what: &str) {
    for region in recorded.memory().regions() {
        let read = |machine: &Machine| {
            let mut bytes = vec![0; region.bytes as usize];
            machine.memory().read(Gpa(region.gpa), &mut bytes).map(|()| bytes)
        };
        assert!(read(recorded).unwrap() == read(replayed).unwrap(), "{what}: memory at {:#x}", region.gpa);
    }
    let mut differences = recorded.dump(host.kvm).unwrap().differences(&replayed.dump(host.kvm).unwrap());
    differences.retain(|difference| !difference.starts_with("cpuid2 "));
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}
