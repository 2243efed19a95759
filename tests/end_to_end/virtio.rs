//! Virtio devices under drivers of a few instructions: on every engine, in seconds.

use crate::support::compare::{assert_replays_exactly, assert_replays_exactly_with};
use crate::support::host::{Extent, Host, host};
use crate::support::live::{Live, Peer};
use crate::support::plain::Plain;
use crate::support::recorded::{RAM, Recorded, record_on};
use std::io::Write;
use std::time::Duration;
use tempfile::NamedTempFile;
use trapline_formats::{ClockMode, EndReason, Event, Preempt};
use trapline_guests::{Guest, virtio_disk_32, virtio_net_32, virtio_net_computes_32};
use trapline_recorder::RecordOptions;
use trapline_recorder::devices::virtio::disk::Disk;
use trapline_recorder::devices::virtio::net::{Feed, LONGEST};
use trapline_recorder::devices::virtio::{Config, net::Link};
use trapline_recorder::guest::flat;
use trapline_recorder::pc::PcConfig;
use trapline_replayer::ReplayOptions;

const LIMIT: Duration = Duration::from_mins(2);
/// What the disk's driver asks for at a time.
const PIECE: usize = 64 << 10;
/// The word of the last frame.
const LAST: u32 = u32::MAX;

fn run(host: &Host, guest: &Guest, virtio: Config, clock: ClockMode) -> Recorded {
    run_with(host, guest, virtio, RecordOptions { clock, ..RecordOptions::default() })
}

/// The same with interrupts between exits, of which there have to be so many.
fn run_preempted(host: &Host, guest: &Guest, virtio: Config, least: u64) -> Recorded {
    let options = RecordOptions { preempt: Preempt::Positions, ..RecordOptions::default() };
    let recorded = run_with(host, guest, virtio, options);
    let preemption = &recorded.end.preemption;
    assert!(preemption.positions.count >= least, "{preemption:?}");
    recorded
}

fn run_with(host: &Host, guest: &Guest, virtio: Config, options: RecordOptions) -> Recorded {
    let loaded = flat::from_bytes(guest.image.to_vec(), flat::Mode::Bits32, RAM).unwrap();
    let config = PcConfig { virtio, ..PcConfig::with_ram(RAM) };
    let recorded = record_on(host, &loaded, config, RecordOptions { timeout: Some(LIMIT), ..options });
    let said = recorded.com1().escape_ascii();
    assert_eq!(recorded.end.reason, EndReason::ExitDevice(0), "it said: {said}");
    recorded
}

fn words(recorded: &Recorded) -> Vec<u32> {
    let text = String::from_utf8(recorded.com1().to_vec()).unwrap();
    text.split_whitespace().map(|word| u32::from_str_radix(word, 16).unwrap()).collect()
}

/// A disk of sixteen pieces, and what its driver says of it.
fn disk() -> (NamedTempFile, Vec<u32>) {
    let mut file = NamedTempFile::new().unwrap();
    let mut sum = 0u32;
    for number in 0..16u32 {
        let word = number.wrapping_mul(0x9E37_79B9);
        file.write_all(&word.to_le_bytes().repeat(PIECE / 4)).unwrap();
        sum = sum.rotate_left(1).wrapping_add(word);
    }
    (file, vec![0x1122_3344, sum])
}

fn of_file(recorded: &Recorded) -> usize {
    let events = |e: &Event| matches!(e, Event::FileRead { .. });
    Plain::read(&recorded.path).stream().iter().flat_map(|(_, _, _, e, _)| e.clone()).filter(events).count()
}

#[test]
fn a_disk_is_read_and_written_and_replayed_with_its_image() {
    let Some(host) = host() else { return };
    let (image, said) = disk();
    let before = std::fs::read(image.path()).unwrap();
    for clock in [ClockMode::Host, ClockMode::Virtual] {
        let disks = || vec![Disk::open(image.path(), false, false).unwrap()];
        let recorded = run(&host, &virtio_disk_32(), Config { disks: disks(), ..Config::default() }, clock);
        assert_eq!(words(&recorded), said);
        assert!(of_file(&recorded) >= 16, "what was read is not in the trace a second time");
        let options = ReplayOptions { disks: vec![image.path().to_owned()], ..ReplayOptions::default() };
        assert_replays_exactly_with(&host, &recorded, &options);
        if clock == ClockMode::Virtual {
            let again = run(&host, &virtio_disk_32(), Config { disks: disks(), ..Config::default() }, clock);
            assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
        }
    }
    assert!(std::fs::read(image.path()).unwrap() == before, "the image is never changed");
}

#[test]
fn a_disk_in_the_trace_is_replayed_without_its_image() {
    let Some(host) = host() else { return };
    let (image, said) = disk();
    let disks = vec![Disk::open(image.path(), false, true).unwrap()];
    let recorded = run(&host, &virtio_disk_32(), Config { disks, ..Config::default() }, ClockMode::Virtual);
    drop(image);
    assert_eq!((words(&recorded), of_file(&recorded)), (said, 0));
    assert_replays_exactly(&host, &recorded);
}

/// A frame whose word behind the addresses and the type is this.
fn frame(length: usize, word: u32) -> Vec<u8> {
    let mut frame = vec![0x5A; length];
    frame[6..12].fill(0x6B);
    frame[14..18].copy_from_slice(&word.to_le_bytes());
    frame
}

/// A feed of frames at these times, in microseconds.
fn feed(frames: &[(u32, Vec<u8>)]) -> Box<dyn Link> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xA1B2_C3D4, 4 << 16 | 2, 0, 0, 65535, 1]);
    for (us, frame) in frames {
        let length = frame.len() as u32;
        file.extend(words(&[us / 1_000_000, us % 1_000_000, length, length]));
        file.extend(frame);
    }
    Box::new(Feed::of_capture(&file, "test.pcap".into()).unwrap())
}

#[test]
fn a_feed_plays_and_is_replayed_without_it_and_plays_the_same_again_under_the_virtual_clock() {
    let Some(host) = host() else { return };
    let lengths = [60, 18, LONGEST, 100, 61, 62];
    let numbers = [1, 2, 3, 4, 5, LAST];
    let times = [0, 0, 1_000, 30_000, 30_001, 90_000];
    let frames: Vec<_> = (0..6).map(|n| (times[n], frame(lengths[n], numbers[n]))).collect();
    let said: Vec<u32> = (0..6).flat_map(|n| [lengths[n] as u32, numbers[n]]).collect();
    for clock in [ClockMode::Host, ClockMode::Virtual] {
        let play = || Config { net: Some(feed(&frames)), ..Config::default() };
        let recorded = run(&host, &virtio_net_32(), play(), clock);
        assert_eq!(words(&recorded), said);
        assert_replays_exactly(&host, &recorded);
        if clock == ClockMode::Virtual {
            let again = run(&host, &virtio_net_32(), play(), clock);
            assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
        }
    }
}

#[test]
fn a_feed_reaches_a_guest_that_computes_without_an_exit() {
    let Some(host) = host() else { return };
    let frames: Vec<_> = [5_000, 40_000, 40_001, 90_000]
        .into_iter()
        .zip([1, 2, 3, LAST])
        .map(|(us, n)| (us, frame(60, n)))
        .collect();
    let net = Some(feed(&frames));
    let recorded = run_preempted(&host, &virtio_net_computes_32(), Config { net, ..Config::default() }, 2);
    assert_eq!(words(&recorded), [60, 1, 60, 2, 60, 3, 60, LAST]);
    assert_replays_exactly(&host, &recorded);
}

/// A peer that says three things, with pauses.
fn talkative() -> Live {
    Live::start(|peer: &Peer| {
        for number in [7, 8, LAST] {
            std::thread::sleep(Duration::from_millis(20));
            peer.say(frame(64, number));
        }
    })
}

fn assert_answered(live: &Live, recorded: &Recorded) {
    assert_eq!(words(recorded), [64, 7, 64, 8, 64, LAST]);
    let heard = live.heard();
    assert_eq!(heard.len(), 3);
    let mut answer = frame(64, 7);
    answer[..12].rotate_left(6);
    assert_eq!(heard[0], answer, "it came back to who sent it");
}

#[test]
fn a_frame_wakes_a_halted_guest_under_both_clocks() {
    let Some(host) = host() else { return };
    for clock in [ClockMode::Host, ClockMode::Virtual] {
        let live = talkative();
        let net = Some(Box::new(live.link()) as Box<dyn Link>);
        let recorded = run(&host, &virtio_net_32(), Config { net, ..Config::default() }, clock);
        assert_answered(&live, &recorded);
        assert_replays_exactly(&host, &recorded);
    }
}

#[test]
fn a_frame_interrupts_a_guest_that_computes_without_an_exit() {
    let Some(host) = host() else { return };
    let live = talkative();
    let net = Some(Box::new(live.link()) as Box<dyn Link>);
    let recorded = run_preempted(&host, &virtio_net_computes_32(), Config { net, ..Config::default() }, 1);
    assert_answered(&live, &recorded);
    assert_replays_exactly(&host, &recorded);
}

#[test]
fn without_interrupts_between_exits_no_frame_reaches_a_guest_that_computes() {
    if Extent::of_environment() == Extent::Quick {
        return;
    }
    let Some(host) = host() else { return };
    let live = Live::start(|peer: &Peer| {
        std::thread::sleep(Duration::from_millis(300));
        peer.say(frame(64, LAST));
    });
    let net = Some(Box::new(live.link()) as Box<dyn Link>);
    let guest = flat::from_bytes(virtio_net_computes_32().image.to_vec(), flat::Mode::Bits32, RAM).unwrap();
    let config = PcConfig { virtio: Config { net, ..Config::default() }, ..PcConfig::with_ram(RAM) };
    let options = RecordOptions { timeout: Some(Duration::from_millis(900)), ..RecordOptions::default() };
    let recorded = record_on(&host, &guest, config, options);
    assert_eq!((&recorded.end.reason, recorded.com1()), (&EndReason::Timeout, &b""[..]));
}

#[test]
fn a_peer_that_floods_neither_starves_the_guest_nor_fills_memory() {
    let Some(host) = host() else { return };
    let flooded = |net| run(&host, &virtio_net_32(), Config { net, ..Config::default() }, ClockMode::Host);
    flood(&host, flooded);
}

#[test]
fn a_peer_that_floods_a_guest_that_computes_between_frames_does_not_starve_it_either() {
    let Some(host) = host() else { return };
    let guest = virtio_net_computes_32();
    flood(&host, |net| run_preempted(&host, &guest, Config { net, ..Config::default() }, 0));
}

fn flood(host: &Host, run: impl FnOnce(Option<Box<dyn Link>>) -> Recorded) {
    let live = Live::start(|peer: &Peer| {
        let mut said = 0u64;
        while !peer.is_over() {
            peer.say(frame(LONGEST, 1));
            said += 1;
            // The guest gets to it: it takes what came before, and no more.
            if said == 20_000 {
                break;
            }
        }
        while !peer.is_over() {
            peer.say(frame(64, LAST));
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let recorded = run(Some(Box::new(live.link())));
    assert!(live.dropped() > 0 && live.most_waiting() <= Live::ROOM, "{} dropped", live.dropped());
    assert_replays_exactly(host, &recorded);
}
