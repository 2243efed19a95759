//! Sources that nothing closed: the recording says so, or the replay names them.

use crate::support::host::{Host, host};
use crate::support::recorded::{Recorded, record};
use crate::support::replayed::try_replay;
use trapline_formats::{ClockMode, EndReason};
use trapline_replayer::{Divergence, ReplayOptions};

/// Where the guests write the code that no disassembly finds.
const HIDDEN: u64 = 0x9000;

#[test]
fn a_clock_read_that_no_disassembly_finds_is_told_at_the_end_of_the_recording() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &trapline_guests::hidden_clock_64(), ClockMode::Virtual);
    let sources: Vec<_> = recorded.end.unclosed.iter().map(|u| u.source.as_str()).collect();
    assert_eq!(sources, ["RDTSC"; 9], "one at each exit: the last still shows the one before");
    assert_eq!(recorded.end.unclosed[0].exit, 0);
    named_by_a_replay(&host, &recorded, "rdtsc");
}

#[test]
fn a_clock_read_that_left_no_trace_is_named_by_the_replay_that_differs() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &trapline_guests::hidden_bits_64(), ClockMode::Virtual);
    named_by_a_replay(&host, &recorded, "rdtsc");
}

#[test]
fn a_random_number_that_no_disassembly_finds_is_named_by_the_replay_that_differs() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &trapline_guests::hidden_random_64(), ClockMode::Virtual);
    match recorded.end.reason {
        // Hiding it in CPUID kept it from running: a replay has nothing to differ in.
        EndReason::ExitDevice(6) => {
            try_replay(&host, &recorded.path, &ReplayOptions::default()).unwrap_or_else(|d| panic!("{d}"));
        }
        EndReason::ExitDevice(0) => named_by_a_replay(&host, &recorded, "rdrand"),
        other => panic!("it ended by {other:?}"),
    }
}

/// Eight reads agree with those of the recording once in four billion times.
fn named_by_a_replay(host: &Host, recorded: &Recorded, name: &str) {
    let outcome = try_replay(host, &recorded.path, &ReplayOptions::default());
    let divergence: Box<Divergence> = outcome.err().unwrap_or_else(|| panic!("the replay saw nothing"));
    let lead = divergence.leads.first().unwrap_or_else(|| panic!("no lead:\n{divergence}"));
    assert_eq!(lead.address.0, HIDDEN, "{divergence}");
    assert!(lead.text().starts_with(name), "{divergence}");
    assert!(divergence.to_string().contains("a possible cause"), "{divergence}");
}
