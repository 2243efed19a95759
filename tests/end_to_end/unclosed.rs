//! Sources that nothing closed, where the TSC is not held: the recording says so, or the replay names them.

use crate::support::host::{Host, host};
use crate::support::recorded::{RAM, Recorded, record_flat, record_loaded};
use crate::support::replayed::try_replay;
use trapline_formats::{ClockMode, EndReason};
use trapline_recorder::guest::flat;
use trapline_recorder::{RecordOptions, Tsc};
use trapline_replayer::{Divergence, ReplayOptions, What};

/// Where the guests write the code that no disassembly finds.
const HIDDEN: u64 = 0x9000;

#[test]
fn a_clock_read_that_no_disassembly_finds_is_told_at_the_end_of_the_recording() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &trapline_guests::hidden_clock_64());
    let sources: Vec<_> = recorded.end.unclosed.iter().map(|u| u.source.as_str()).collect();
    assert_eq!(sources, ["RDTSC"; 9], "one at each exit: the last still shows the one before");
    assert_eq!(recorded.end.unclosed[0].exit, 0);
    named_by_a_replay(&host, &recorded, "rdtsc");
}

#[test]
fn a_clock_read_that_left_no_trace_is_named_by_the_replay_that_differs() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &trapline_guests::hidden_bits_64());
    named_by_a_replay(&host, &recorded, "rdtsc");
}

#[test]
fn a_random_number_that_no_disassembly_finds_is_named_by_the_replay_that_differs() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &trapline_guests::hidden_random_64());
    match recorded.end.reason {
        // Hiding it in CPUID kept it from running: a replay has nothing to differ in.
        EndReason::ExitDevice(6) => {
            try_replay(&host, &recorded.path, &ReplayOptions::default()).unwrap_or_else(|d| panic!("{d}"));
        }
        EndReason::ExitDevice(0) => named_by_a_replay(&host, &recorded, "rdrand"),
        other => panic!("it ended by {other:?}"),
    }
}

/// Such a guest makes exits for ever.
fn recorded_in_user_mode(host: &Host, guest: &trapline_guests::Guest) -> Recorded {
    let loaded = flat::from_bytes(guest.image.to_vec(), flat::Mode::Bits64, RAM).unwrap();
    let options = RecordOptions {
        clock: ClockMode::Virtual,
        max_exits: Some(10),
        tsc: Tsc::Free,
        ..RecordOptions::default()
    };
    record_loaded(host, &loaded, options)
}

fn record(host: &Host, guest: &trapline_guests::Guest) -> Recorded {
    let options = RecordOptions { clock: ClockMode::Virtual, tsc: Tsc::Free, ..RecordOptions::default() };
    record_flat(host, guest, RAM, options)
}

#[test]
fn a_clock_read_of_user_mode_that_is_in_memory_alone_is_told_where_the_tsc_can_be_moved() {
    let Some(host) = host() else { return };
    let recorded = recorded_in_user_mode(&host, &trapline_guests::user_clock_64());
    assert_eq!(recorded.end.reason, EndReason::MaxExits);
    let divergence = diverged(&host, &recorded);
    assert_eq!(divergence.what, What::Memory, "{divergence}");
    let found: Vec<_> = recorded.end.unclosed.iter().map(|u| (u.source.as_str(), u.exit)).collect();
    if recorded.machine.hardware_tsc().unwrap() >> 48 != 0xc3 {
        assert_eq!((found, divergence.clock), (vec![], None), "the host's clock looks like any number");
        return;
    }
    assert_eq!(found, [("RDTSC", 9)]);
    let evidence = &recorded.end.unclosed[0].evidence;
    assert!(evidence.starts_with("at the end, memory at 0xa000 held 0xc3"), "{evidence}");
    assert_eq!(divergence.clock.as_deref(), Some("memory at 0xa000"), "{divergence}");
}

#[test]
fn a_random_number_of_user_mode_is_named_by_the_replay_that_differs() {
    let Some(host) = host() else { return };
    let recorded = recorded_in_user_mode(&host, &trapline_guests::user_random_64());
    match recorded.end.reason {
        // Hiding it in CPUID kept it from running, in user mode, too.
        EndReason::TripleFault => {
            try_replay(&host, &recorded.path, &ReplayOptions::default()).unwrap_or_else(|d| panic!("{d}"));
        }
        EndReason::MaxExits => {
            named_by_a_replay(&host, &recorded, "rdrand");
            assert_eq!(diverged(&host, &recorded).leads[0].cpl, 3);
        }
        other => panic!("it ended by {other:?}"),
    }
}

fn diverged(host: &Host, recorded: &Recorded) -> Box<Divergence> {
    let outcome = try_replay(host, &recorded.path, &ReplayOptions::default());
    outcome.err().unwrap_or_else(|| panic!("the replay saw nothing"))
}

/// Eight reads agree with those of the recording once in four billion times.
fn named_by_a_replay(host: &Host, recorded: &Recorded, name: &str) {
    let divergence = diverged(host, recorded);
    let lead = divergence.leads.first().unwrap_or_else(|| panic!("no lead:\n{divergence}"));
    assert_eq!(lead.address.0, HIDDEN, "{divergence}");
    assert!(lead.text().starts_with(name), "{divergence}");
    assert!(divergence.to_string().contains("a possible cause"), "{divergence}");
}
