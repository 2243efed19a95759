//! Captures of our own making, and what a guest is given of them.

use super::*;

/// A capture in the old format: magic, unit of the second number, frames as (seconds, units, bytes, length on the wire).
fn pcap(magic: u32, link: u32, frames: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[magic, 4 << 16 | 2, 0, 0, 65535, link]);
    for (seconds, units, bytes, length) in frames {
        file.extend(words(&[*seconds, *units, bytes.len() as u32, *length]));
        file.extend(*bytes);
    }
    file
}

/// A block of the new format, little-endian.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = (12 + body.len() + padding.len()) as u32;
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), body, &padding, &length.to_le_bytes()].concat()
}

/// A capture in the new format: the resolution of its interface, frames as (time stamp, bytes).
fn pcapng(resolution: u8, frames: &[(u64, &[u8])]) -> Vec<u8> {
    let section = [&0x1A2B_3C4Du32.to_le_bytes()[..], &1u32.to_le_bytes(), &u64::MAX.to_le_bytes()].concat();
    // LINKTYPE_ETHERNET, any length, if_tsresol, end of options.
    let interface = [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, resolution, 0, 0, 0, 0, 0, 0, 0];
    let mut file = [block(0x0A0D_0D0A, &section), block(1, &interface)].concat();
    for (stamp, bytes) in frames {
        let length = (bytes.len() as u32).to_le_bytes();
        let stamp = [(stamp >> 32) as u32, *stamp as u32].map(u32::to_le_bytes).concat();
        file.extend(block(6, &[&[0; 4], &stamp[..], &length, &length, bytes].concat()));
    }
    file
}

fn feed(content: &[u8]) -> Result<Feed, String> {
    Feed::of_capture(content, String::new())
}

const MICROSECONDS: u32 = 0xA1B2_C3D4;
const NANOSECONDS: u32 = 0xA1B2_3C4D;
const ETHERNET: u32 = 1;
const A: &[u8] = &[0xAA; 60];
const B: &[u8] = &[0xBB; 14];

/// What comes, and when, after a begin at 1000 ns.
fn played(mut feed: Feed) -> Vec<(u64, Vec<u8>)> {
    assert_eq!(feed.deadline(), None, "nobody is there");
    feed.begin(Time(1000));
    feed.begin(Time(5000));
    let mut played = Vec::new();
    while let Some(due) = feed.deadline() {
        feed.fire(Time(due.0 - 1));
        assert!(!feed.has_frame());
        feed.fire(due);
        while let Some(frame) = feed.receive() {
            played.push((due.0, frame));
        }
    }
    played
}

#[test]
fn frames_come_at_their_times_after_the_guest_takes_the_first() {
    let expected = vec![(1000, A.to_vec()), (1_500_001_000, B.to_vec()), (1_500_001_000, A.to_vec())];
    let micro = [(7, 600_000, A, 60), (9, 100_000, B, 14), (8, 0, A, 60)];
    assert_eq!(played(feed(&pcap(MICROSECONDS, ETHERNET, &micro)).unwrap()), expected);
    let nano = micro.map(|(s, us, bytes, length)| (s, us * 1000, bytes, length));
    assert_eq!(played(feed(&pcap(NANOSECONDS, ETHERNET, &nano)).unwrap()), expected);
    let new = [(7_600_000, A), (9_100_000, B), (8_000_000, A)];
    assert_eq!(played(feed(&pcapng(6, &new)).unwrap()), expected);
    // Halves of a second.
    let halves = [(2, A), (5, B), (4, A)];
    assert_eq!(played(feed(&pcapng(0x81, &halves)).unwrap()), expected);
}

#[test]
fn what_is_no_whole_frame_of_ethernet_is_counted_and_left_out() {
    let long = vec![0; LONGEST + 1];
    let frames = [(1, 0, A, 100), (1, 0, A, 60), (2, 0, &B[..13], 13), (3, 0, &long[..], long.len() as u32)];
    let feed = feed(&pcap(MICROSECONDS, ETHERNET, &frames)).unwrap();
    assert_eq!(feed.counts().unusable, 3);
    assert_eq!(played(feed), [(1000, A.to_vec())]);
}

#[test]
fn a_flood_is_dropped_and_counted() {
    let flood = vec![(1, 0, A, 60); 1000];
    let mut feed = feed(&pcap(MICROSECONDS, ETHERNET, &flood)).unwrap();
    feed.begin(Time(0));
    feed.fire(Time(0));
    assert_eq!((feed.waiting.len(), feed.counts().dropped, feed.deadline()), (ROOM, 744, None));
}

#[test]
fn a_file_that_is_none_is_refused_with_the_place_and_the_reason() {
    let refusal = |content: &[u8]| feed(content).unwrap_err();
    assert!(refusal(b"").contains("neither a pcap nor a pcapng file"));
    assert!(refusal(b"GET / HTTP/1.1\r\n\r\n and some more of it").contains("neither"));
    let wifi = refusal(&pcap(MICROSECONDS, 105, &[(0, 0, A, 60)]));
    assert!(wifi.contains("no Ethernet, but on a link of type 105"), "{wifi}");
    let mut cut = pcap(MICROSECONDS, ETHERNET, &[(0, 0, A, 60), (1, 0, A, 60)]);
    cut.truncate(cut.len() - 1);
    assert_eq!(refusal(&cut), "at byte 100: the file ends in the middle of a packet");
    let mut cut = pcapng(6, &[(0, A), (1, A)]);
    cut.truncate(cut.len() - 1);
    assert!(refusal(&cut).starts_with("at byte 152: the file ends"), "{}", refusal(&cut));
    assert!(refusal(&pcap(MICROSECONDS, ETHERNET, &[])).contains("no whole Ethernet frame"));
    assert!(refusal(&pcapng(200, &[(0, A)])).contains("2^-72 s"));
}

#[test]
fn blocks_that_say_nothing_of_frames_are_passed_over_and_no_length_of_theirs_panics() {
    let interesting = pcapng(6, &[(0, A)]);
    // Process information, which pcap-parser 0.17 takes with a length that is not even its own head.
    let short = [0x8000_0001u32, 10, 0].map(u32::to_le_bytes).concat();
    assert!(feed(&[&interesting[..], &short].concat()).is_err());
    for kind in [2, 4, 5, 9, 10, 0xBAD, 0x8000_0001, 0x4000_0BAD] {
        let other = block(kind, &[0xEE; 7]);
        assert_eq!(
            played(feed(&[&interesting[..], &other].concat()).unwrap()),
            [(1000, A.to_vec())],
            "{kind:#x}"
        );
    }
    assert!(feed(&[&interesting[..], &block(3, &[0; 16])].concat()).unwrap_err().contains("without a time"));
    assert!(feed(&[&interesting[..60], &interesting[..]].concat()).is_ok(), "a section without packets");
}

#[test]
fn a_file_that_is_not_there_or_too_large_is_not_read() {
    assert!(Feed::open(Path::new("/nowhere/at.pcap")).unwrap_err().contains("No such file"));
    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len(MOST_BYTES + 1).unwrap();
    assert!(Feed::open(large.path()).unwrap_err().contains("at most"));
}
