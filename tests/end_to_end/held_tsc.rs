//! Clock reads that nothing closes, where the guest's TSC is held: they are replayed as exactly as those that are closed.

use crate::support::compare::assert_replays_exactly;
use crate::support::host::{Extent, Host, host};
use crate::support::plain::Plain;
use crate::support::recorded::{RAM, Recorded, record, record_every, record_flat, record_preempted};
use crate::support::replayed::try_replay;
use std::num::NonZeroU64;
use std::time::Duration;
use trapline_formats::{ClockMode, EndReason, Trace};
use trapline_guests::{
    Guest, hidden_bits_64, hidden_clock_64, hidden_set_64, hidden_spin_64, hidden_wait_64, user_clock_64,
};
use trapline_machine::doctor::can_hold_tsc;
use trapline_recorder::{Every, RecordOptions, Tsc};
use trapline_replayer::ReplayOptions;

/// Whether the TSC was held: as this host can. TRAPLINE_HOLDS_TSC=1 says that it can, where that is known.
fn is_held(host: &Host, recorded: &Recorded) -> bool {
    let is_held = says_that_it_was_held(recorded);
    assert_eq!(is_held, can_hold_tsc(host.kvm).unwrap());
    assert!(is_held || std::env::var("TRAPLINE_HOLDS_TSC").is_err());
    is_held
}

fn says_that_it_was_held(recorded: &Recorded) -> bool {
    let trace = Trace::open(&recorded.path).unwrap();
    trace.inputs().next().unwrap().unwrap().held.is_some()
}

/// Records a guest; `None` where there is nothing to be seen.
fn recorded_held(host: &Host, guest: &Guest, clock: ClockMode) -> Option<Recorded> {
    let recorded = record(host, guest, clock);
    assert_eq!(recorded.end.reason, EndReason::ExitDevice(0), "{}", guest.name);
    is_held(host, &recorded).then_some(recorded)
}

#[test]
fn hidden_clock_reads_replay_exactly_under_the_host_clock() {
    let Some(host) = host() else { return };
    for guest in [hidden_clock_64(), hidden_bits_64(), hidden_wait_64()] {
        let Some(recorded) = recorded_held(&host, &guest, ClockMode::Host) else { return };
        assert_eq!(recorded.end.unclosed, [], "{}", guest.name);
        assert_replays_exactly(&host, &recorded);
    }
}

#[test]
fn hidden_clock_reads_replay_exactly_and_record_identically_under_the_virtual_clock() {
    let Some(host) = host() else { return };
    if Extent::of_environment() == Extent::Quick {
        return;
    }
    for guest in [hidden_clock_64(), hidden_wait_64()] {
        let Some(recorded) = recorded_held(&host, &guest, ClockMode::Virtual) else { return };
        assert_eq!(recorded.end.unclosed, [], "{}", guest.name);
        assert_replays_exactly(&host, &recorded);
        let again = record(&host, &guest, ClockMode::Virtual);
        assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
    }
}

#[test]
fn hidden_clock_reads_replay_exactly_with_interrupts_between_exits() {
    let Some(host) = host() else { return };
    let recorded = record_preempted(&host, &hidden_wait_64(), RAM);
    if is_held(&host, &recorded) {
        assert_eq!(recorded.end.unclosed, []);
        assert_replays_exactly(&host, &recorded);
    }
}

#[test]
fn clock_reads_of_user_mode_replay_exactly() {
    let Some(host) = host() else { return };
    let timeout = Some(Duration::from_mins(2));
    let options = RecordOptions { max_exits: Some(2000), timeout, ..RecordOptions::default() };
    let recorded = record_flat(&host, &user_clock_64(), RAM, options);
    assert_eq!(recorded.end.reason, EndReason::MaxExits);
    if is_held(&host, &recorded) {
        assert_eq!(recorded.end.unclosed, []);
        assert_replays_exactly(&host, &recorded);
    }
}

#[test]
fn a_tsc_that_the_guest_sets_shows_that_at_once() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &hidden_set_64(), ClockMode::Host);
    if is_held(&host, &recorded) {
        assert_eq!(recorded.end.reason, EndReason::ExitDevice(0));
        assert_replays_exactly(&host, &recorded);
    }
}

#[test]
fn a_replay_that_starts_in_the_middle_shows_what_the_tsc_showed_there() {
    let Some(host) = host() else { return };
    let every = NonZeroU64::new(16).unwrap();
    let every = Every { keyframe: Some(every), digest: every };
    let recorded = record_every(&host, &hidden_wait_64(), ClockMode::Virtual, every);
    if !is_held(&host, &recorded) {
        return;
    }
    for from in (0..recorded.end.exits).step_by(recorded.end.exits as usize / 7) {
        let options = ReplayOptions { from: Some(from), ..ReplayOptions::default() };
        let replayed =
            try_replay(&host, &recorded.path, &options).unwrap_or_else(|d| panic!("from {from}: {d}"));
        assert_eq!(replayed.exits, recorded.end.exits);
    }
}

/// The checker, checked: a value that is not the recorded one is seen where the guest shows it.
#[test]
fn a_value_of_the_tsc_that_is_another_than_recorded_is_found_at_the_next_exit() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &hidden_wait_64(), ClockMode::Virtual);
    if !is_held(&host, &recorded) {
        return;
    }
    let mut plain = Plain::read(&recorded.path);
    let (moved, exit) =
        plain.exits.iter_mut().enumerate().filter(|(_, exit)| exit.tsc.is_some()).nth(1).unwrap();
    exit.tsc = exit.tsc.map(|value| value + 1);
    plain.write(&recorded.path);
    let divergence = try_replay(&host, &recorded.path, &ReplayOptions::default()).err().unwrap();
    assert_eq!(divergence.exit, moved as u64 + 1, "{divergence}");
    assert!(divergence.differences.iter().any(|d| d.name == "RAX"), "{divergence}");
}

/// It would wait for ever for a TSC that stands still. What it saw of one that did not, is told.
#[test]
fn a_guest_that_waits_for_its_tsc_without_an_exit_goes_on_and_that_is_said() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &hidden_spin_64(), ClockMode::Host);
    assert_eq!(recorded.end.reason, EndReason::ExitDevice(0));
    assert_eq!(recorded.end.unclosed[0].source, "RDTSC");
    assert_eq!(recorded.end.unclosed[0].exit, 0);
}

#[test]
fn a_tsc_that_is_to_be_free_is_not_held() {
    let Some(host) = host() else { return };
    let options = RecordOptions { tsc: Tsc::Free, ..RecordOptions::default() };
    let recorded = record_flat(&host, &hidden_clock_64(), RAM, options);
    assert!(!says_that_it_was_held(&recorded));
    assert_eq!(recorded.end.unclosed[0].source, "RDTSC");
}
