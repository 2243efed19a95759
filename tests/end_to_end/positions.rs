//! Guests that compute without an exit, and get their interrupts all the same.

use crate::support::compare::{assert_replays_exactly, assert_same_machine};
use crate::support::host::{Extent, Host, host};
use crate::support::images::image;
use crate::support::plain::{Plain, PlainEvent};
use crate::support::recorded::{RAM, Recorded, reason, record_flat, record_loaded, record_preempted};
use crate::support::replayed::{replay, try_replay};
use std::time::Duration;
use trapline_formats::{ClockMode, EndReason, Preempt};
use trapline_guests::{COPY_RAM, Guest};
use trapline_machine::doctor::{breakpoints, user_mode_can_call};
use trapline_recorder::guest::flat;
use trapline_recorder::guest::kernel::{self, Kernel, Protocol};
use trapline_recorder::pc::{Pc, PcConfig};
use trapline_recorder::{RecordOptions, Recorder, RecorderError};
use trapline_replayer::ReplayOptions;

macro_rules! computing {
    ($($guest:ident)*) => {
        $(mod $guest {
            #[test]
            fn is_interrupted_between_exits_and_replays_exactly() {
                super::is_interrupted(&trapline_guests::$guest());
            }

            #[test]
            fn is_interrupted_at_no_exit_and_replays_exactly_up_to_its_last() {
                super::is_not_interrupted(&trapline_guests::$guest());
            }
        })*

        #[test]
        fn every_guest_that_computes_is_here() {
            let names: Vec<_> = trapline_guests::computing().iter().map(|g| g.name).collect();
            assert_eq!(names, [$(stringify!($guest)),*]);
        }
    };
}

computing! {
    compute_16 compute_32 compute_64 copy_64 wait_word_16 wait_word_32 wait_word_64 shadows_16 shadows_32 shadows_64 user_64
}

/// Long enough for a guest to come by.
const ATTEMPT: Duration = Duration::from_secs(1);

fn ram(guest: &Guest) -> u64 {
    if guest.name == trapline_guests::copy_64().name { COPY_RAM } else { RAM }
}

fn is_interrupted(guest: &Guest) {
    let Some(host) = host() else { return };
    let recorded = record_preempted(&host, guest, ram(guest));
    let printed = recorded.com1().escape_ascii().to_string();
    let wanted = guest.prints.map(|text| text.escape_ascii().to_string());
    assert_eq!((Some(printed), &recorded.end.reason), (wanted, &reason(guest.ends)));
    assert_eq!(recorded.end.unclosed, []);
    let carried = carried(&recorded);
    assert!(carried > 0, "not one interrupt came between two exits");
    assert_eq!(recorded.end.preemption.positions.count, carried);
    assert_replays_exactly(&host, &recorded);
}

/// The same guest as ever: without preemption it computes on, or is through with it before its first interrupt.
fn is_not_interrupted(guest: &Guest) {
    if Extent::of_environment() == Extent::Quick {
        return;
    }
    let Some(host) = host() else { return };
    let options = RecordOptions { timeout: Some(Duration::from_millis(600)), ..RecordOptions::default() };
    let recorded = record_flat(&host, guest, ram(guest), options);
    assert_eq!(carried(&recorded), 0);
    assert_ne!(Some(recorded.com1()), guest.prints);
    let replayed = replay(&host, &recorded.path);
    assert_eq!((replayed.exits, replayed.console), (recorded.end.exits, recorded.console.clone()));
    if !recorded.end.reason.is_by_host_time() {
        assert_same_machine(&host, &recorded.machine, &replayed.machine);
    }
}

/// Positions between exits that a trace carries.
fn carried(recorded: &Recorded) -> u64 {
    let plain = Plain::read(&recorded.path);
    let events = plain.exits.iter().flat_map(|exit| &exit.events);
    events.filter(|e| matches!(e, PlainEvent::Keyframe(k) if k.keyframe.carried)).count() as u64
}

/// A guest that waits for a word in memory comes round to where it was interrupted: a replay executes it up to there.
fn is_executed(guest: &Guest) {
    let Some(host) = host() else { return };
    let recorded = record_preempted(&host, guest, RAM);
    let carried = carried(&recorded);
    let replay = |attempt| {
        let options = ReplayOptions { attempt, ..ReplayOptions::default() };
        try_replay(&host, &recorded.path, &options).unwrap_or_else(|divergence| panic!("{divergence}"))
    };
    let has_breakpoints = breakpoints(host.kvm).unwrap().kernel;
    let replayed = replay(ATTEMPT);
    assert_eq!(replayed.executed + replayed.carried, carried);
    if has_breakpoints {
        assert_eq!((replayed.executed, replayed.carried), (carried, 0));
    } else {
        assert_eq!(replayed.executed, 0);
    }
    assert_same_machine(&host, &recorded.machine, &replayed.machine);
    let taken = replay(Duration::ZERO);
    assert_eq!((taken.executed, taken.carried), (0, carried));
}

#[test]
fn a_guest_that_waits_for_a_word_is_executed_up_to_where_it_was_interrupted_in_16_bits() {
    is_executed(&trapline_guests::wait_word_16());
}

#[test]
fn a_guest_that_waits_for_a_word_is_executed_up_to_where_it_was_interrupted_in_32_bits() {
    is_executed(&trapline_guests::wait_word_32());
}

#[test]
fn a_guest_that_waits_for_a_word_is_executed_up_to_where_it_was_interrupted_in_64_bits() {
    is_executed(&trapline_guests::wait_word_64());
}

#[test]
fn under_the_virtual_clock_nothing_is_due_between_exits_which_is_said() {
    let Some(host) = host() else { return };
    let loaded = flat::from_bytes(vec![0xf4], flat::Mode::Bits64, 4 << 20).unwrap();
    let mut pc = Pc::new(PcConfig::with_ram(loaded.ram_bytes));
    let (clock, preempt) = (ClockMode::Virtual, Preempt::Positions);
    let options = RecordOptions { clock, preempt, ..RecordOptions::default() };
    let refused = Recorder::new(host.kvm, host.convention, &loaded, &mut pc, options).err().unwrap();
    assert!(matches!(refused, RecorderError::TimeStandsStill), "{refused}");
}

/// What a user types, and no word about delays, timers or interrupt controllers.
pub const ORDINARY: &str = "console=ttyS0 tsc=unstable panic=-1";
/// A process that computes for ever, and one that sleeps and prints.
const BUSY: &str = "rdinit=/bin/busybox -- sh -c \"while :; do :; done & for i in 1 2 3 4 5; do /bin/busybox sleep 0.1; \
                    echo tick $i; done; /bin/busybox poweroff -f\"";

#[test]
fn linux_runs_a_process_that_computes_beside_one_that_sleeps_with_an_ordinary_command_line() {
    let Some(host) = host() else { return };
    if Extent::of_environment() == Extent::Quick || !user_mode_can_call(host.kvm).unwrap() {
        return;
    }
    let recorded = linux(&host, Preempt::Positions, Duration::from_mins(10));
    let text = String::from_utf8_lossy(recorded.com1()).into_owned();
    assert_eq!(recorded.end.reason, EndReason::PowerOff, "it said:\n{text}");
    assert_eq!(recorded.end.unclosed, [], "no clock read was missed");
    assert!((1..=5).all(|n| text.contains(&format!("tick {n}"))), "it said:\n{text}");
    assert!(carried(&recorded) > 0);
    assert_replays_exactly(&host, &recorded);
}

fn linux(host: &Host, preempt: Preempt, timeout: Duration) -> Recorded {
    let cmdline = format!("{ORDINARY} {BUSY}");
    let initrd = image("initramfs", "shell.cpio.gz");
    let guest = kernel::load(
        Kernel {
            image: &image("linux", "linux/vmlinux"),
            initrd: Some(&initrd),
            cmdline: &cmdline,
            protocol: Protocol::Auto,
        },
        64 << 20,
    )
    .unwrap();
    record_loaded(host, &guest, RecordOptions { preempt, timeout: Some(timeout), ..RecordOptions::default() })
}
