//! Sites that are found by watching them execute.

use crate::support::compare::assert_replays_exactly;
use crate::support::host::{Extent, Host, host};
use crate::support::images::image;
use crate::support::recorded::{RAM, record_loaded};
use std::collections::BTreeSet;
use std::time::Duration;
use trapline_formats::{ClockMode, EndReason, Suspect, Trace};
use trapline_guests::Mode;
use trapline_recorder::guest::{
    firmware::{self, Firmware},
    flat,
};
use trapline_recorder::learn::{Learner, Step, Window};
use trapline_recorder::pc::{Pc, PcConfig};
use trapline_recorder::{Guest, LearnedSites, Limit, RecordOptions, State};

/// A guest that should end has not, if it takes this long.
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn what_executes_behind_computed_calls_is_learned_and_data_is_not_in_64_bit_mode() {
    // RDRAND RBX.
    learns(&trapline_guests::computed_64(), |random| (random - 1, vec![0x48, 0x0f, 0xc7, 0xf3]));
}

#[test]
fn what_executes_behind_computed_calls_is_learned_and_data_is_not_in_32_bit_mode() {
    // DEC EAX, RDRAND EBX: what would be a prefix in 64-bit mode is none.
    learns(&trapline_guests::computed_32(), |random| (random, vec![0x0f, 0xc7, 0xf3]));
}

fn load(guest: &trapline_guests::Guest) -> Guest {
    let mode = if guest.mode == Mode::Bits64 { flat::Mode::Bits64 } else { flat::Mode::Bits32 };
    let loaded = flat::from_bytes(guest.image.to_vec(), mode, RAM).unwrap();
    let bytes: Vec<_> = loaded.suspects.iter().map(|s| s.bytes.as_slice()).collect();
    let rdtsc = &[0x0f, 0x31][..];
    assert_eq!(bytes, [rdtsc, rdtsc, rdtsc, &[0x0f, 0xc7, 0xf3]], "data, data, code, code");
    loaded
}

fn learns(guest: &trapline_guests::Guest, random: fn(u64) -> (u64, Vec<u8>)) {
    let Some(host) = host() else { return };
    let mut loaded = load(guest);
    let window = Window { timeout: LIMIT, ..window(&host) };
    let (sites, runs) = learn(&host, &loaded, window, LearnedSites::of(&loaded), usize::MAX);
    let states: Vec<_> = sites.suspects().iter().map(|s| s.state.clone()).collect();
    assert!(
        matches!(&states[0], State::Spoils { end, .. } if end.contains("0x09")),
        "the guest checks it: {states:?}"
    );
    assert!(matches!(states[1], State::NotSeen { until: Limit::Guest(_), .. }), "{states:?}");
    let (clock, number) = (loaded.suspects[2].gpa, random(loaded.suspects[3].gpa));
    assert_eq!(states[2], State::Executes { gpa: clock, bytes: vec![0x0f, 0x31] });
    assert_eq!(states[3], State::Executes { gpa: number.0, bytes: number.1 });
    assert!(runs <= 7, "{runs} runs");

    sites.close(&mut loaded).unwrap();
    let recorded = record(&host, &loaded, ClockMode::Host);
    assert_eq!(recorded.end.reason, EndReason::ExitDevice(0));
    assert_eq!(recorded.end.unclosed, []);
    assert_eq!(recorded.com1(), b"ok\n");
    let header = Trace::open(&recorded.path).unwrap().header().clone();
    let found: Vec<_> = header.rewrites.iter().map(|r| (r.gpa, r.found_by.as_str())).collect();
    assert_eq!(found, [(clock, "watching it execute"), (number.0, "watching it execute")]);
    assert_replays_exactly(&host, &recorded);
}

#[test]
fn learning_goes_on_where_it_was_interrupted_and_tries_nothing_twice() {
    let Some(host) = host() else { return };
    let loaded = load(&trapline_guests::computed_64());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sites");
    let window = || Window { timeout: LIMIT, ..window(&host) };
    let (whole, runs) = learn(&host, &loaded, window(), LearnedSites::of(&loaded), usize::MAX);

    let (half, first) = learn(&host, &loaded, window(), LearnedSites::of(&loaded), 2);
    let tried = |s: &LearnedSites| s.suspects().iter().filter(|s| s.state != State::NotTried).count();
    assert_eq!(tried(&half), 2);
    half.write(&path).unwrap();
    let half = LearnedSites::read(&path, &loaded).unwrap();
    let (rest, second) = learn(&host, &loaded, window(), half, usize::MAX);
    assert_eq!(tried(&rest), 4);
    assert_eq!(rest.suspects()[2..], whole.suspects()[2..]);
    assert!(first + second <= runs + 1, "{first} and {second} runs instead of {runs}");
    let (again, none) = learn(&host, &loaded, window(), rest.clone(), usize::MAX);
    assert_eq!((again, none), (rest, 0), "the guest came to its end: there is no more to see");
}

#[test]
fn what_was_not_seen_is_tried_again_only_in_a_longer_window() {
    let Some(host) = host() else { return };
    let loaded = load(&trapline_guests::computed_64());
    // Closed, the clock read is the first exit; a port write follows, then the random number.
    let window = |exits| Window { max_exits: Some(exits), timeout: LIMIT, ..window(&host) };
    let (short, _) = learn(&host, &loaded, window(1), LearnedSites::of(&loaded), usize::MAX);
    assert!(matches!(short.suspects()[2].state, State::Executes { .. }), "{short:?}");
    let unseen = State::NotSeen { exits: 1, until: Limit::MaxExits(1) };
    assert_eq!(short.suspects()[3].state, unseen);
    let (same, none) = learn(&host, &loaded, window(1), short, usize::MAX);
    assert_eq!(none, 0);
    let (long, _) = learn(&host, &loaded, window(3), same, usize::MAX);
    assert!(matches!(long.suspects()[3].state, State::Executes { .. }), "{long:?}");
}

/// What disassembly proved, watching finds too: all of it that the boot executes, wherever SeaBIOS moves it.
#[test]
fn with_disassembly_forgotten_seabios_shows_every_clock_read_that_it_makes() {
    if Extent::of_environment() == Extent::Quick {
        return;
    }
    let Some(host) = host() else { return };
    let proved = firmware::load(Firmware::of(&image("seabios", "bios.bin")), 64 << 20).unwrap();
    let until = || regex::bytes::Regex::new("No bootable device").ok();
    let options = RecordOptions {
        clock: ClockMode::Virtual,
        timeout: Some(LIMIT),
        until_console: until(),
        ..RecordOptions::default()
    };
    let reads = |guest: &Guest| {
        let recorded = record_loaded(&host, guest, options_of(&options));
        assert_eq!(recorded.end.unclosed, []);
        let trace = Trace::open(&recorded.path).unwrap();
        let at = |s: &trapline_formats::Site| s.instruction.address.0;
        let is_read = |s: &&trapline_formats::Site| s.kind == trapline_formats::ExitKind::ClockRead;
        trace.sites().iter().filter(is_read).map(at).collect::<BTreeSet<u64>>()
    };
    let expected = reads(&proved);
    if expected.is_empty() {
        eprintln!("SeaBIOS reads no clock on this engine: there is nothing to find");
        return;
    }

    let mut forgotten = forget(proved);
    let window = Window { timeout: LIMIT, until_console: until(), ..window(&host) };
    let (sites, _) = learn(&host, &forgotten, window, LearnedSites::of(&forgotten), usize::MAX);
    sites.close(&mut forgotten).unwrap();
    assert_eq!(reads(&forgotten), expected, "{:?}", sites.suspects());
}

fn options_of(options: &RecordOptions) -> RecordOptions {
    RecordOptions {
        clock: options.clock,
        timeout: options.timeout,
        until_console: options.until_console.clone(),
        ..RecordOptions::default()
    }
}

/// The guest as if no entry point of it were known.
fn forget(mut guest: Guest) -> Guest {
    for rewrite in std::mem::take(&mut guest.rewrites) {
        for (_, content) in &mut guest.contents {
            let places: Vec<_> = content
                .windows(rewrite.replacement.len())
                .enumerate()
                .filter(|(_, w)| *w == rewrite.replacement)
                .map(|(at, _)| at)
                .collect();
            for at in places {
                content[at..at + rewrite.original.len()].copy_from_slice(&rewrite.original);
            }
        }
        guest.suspects.push(Suspect { gpa: rewrite.gpa, bytes: rewrite.original });
    }
    guest.stand_ins = trapline_formats::StandIns::default();
    guest
}

fn window(host: &Host) -> Window {
    Window { window_is_prompt: host.window_is_prompt, ..Window::default() }
}

/// Tries so many suspects at most; also says how many runs that took.
fn learn(
    host: &Host,
    guest: &Guest,
    window: Window,
    sites: LearnedSites,
    steps: usize,
) -> (LearnedSites, u64) {
    let platform = || Box::new(Pc::new(PcConfig::of(guest))) as _;
    let mut learner =
        Learner::new(host.kvm, host.convention, guest.clone(), &platform, window, sites).unwrap();
    for _ in 0..steps {
        match learner.step().unwrap() {
            Step::Decided(_) => {}
            Step::Done => break,
            Step::Interrupted => panic!("nobody interrupted it"),
        }
    }
    (learner.sites().clone(), learner.runs())
}

fn record(host: &Host, guest: &Guest, clock: ClockMode) -> crate::support::recorded::Recorded {
    record_loaded(host, guest, RecordOptions { clock, timeout: Some(LIMIT), ..RecordOptions::default() })
}
