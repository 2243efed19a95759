//! A keyframe is changed, or damaged.

use crate::support::host::{Host, host};
use crate::support::mutated::{Mutated, assert_diverged, assert_named};
use crate::support::plain::{Plain, PlainEvent};
use crate::support::recorded::record_every;
use crate::support::replayed::try_replay;
use std::num::NonZeroU64;
use trapline_formats::digests::MemoryDigest;
use trapline_formats::envelope::{BLOCK_HEADER_BYTES, BlockType};
use trapline_formats::{BlockPlace, ClockMode, Keyframe, Trace};
use trapline_guests::Guest;
use trapline_recorder::Every;
use trapline_replayer::{ReplayOptions, What};

/// A recording with a keyframe every five exits, and a checkpoint at every one.
fn recording(host: &Host, guest: &Guest) -> Mutated {
    let every = Every { keyframe: NonZeroU64::new(5), digest: NonZeroU64::MIN };
    Mutated::of_recording(record_every(host, guest, ClockMode::Virtual, every))
}

#[test]
fn a_register_of_a_keyframe_is_found_at_its_exit_and_named() {
    let Some(host) = host() else { return };
    let mut mutated = recording(&host, &trapline_guests::port64());
    mutated.keyframe(1).keyframe.cpu.system.control[1] ^= 0x1000;
    let exit = mutated.keyframe(1).keyframe.exit as usize;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::State, exit);
    assert_named(&divergence, "CR2");
}

#[test]
fn a_byte_of_a_keyframe_is_found_at_its_exit_and_named() {
    let Some(host) = host() else { return };
    let mut mutated = recording(&host, &trapline_guests::pages_64());
    let keyframe = mutated.keyframe(1);
    let exit = keyframe.keyframe.exit as usize;
    let (page, content) = keyframe.pages.iter_mut().find(|(page, _)| *page >= 0x100).unwrap();
    content[0xff9] ^= 0x20;
    let (name, gpa) = (format!("page {:#x}", *page << 12), (*page << 12) + 0xff9);
    let told = |byte: u8| format!("{byte:#04x} at {gpa:#x}");
    let (recorded, replayed) = (told(content[0xff9]), told(content[0xff9] ^ 0x20));
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Memory, exit);
    assert_named(&divergence, &name);
    assert_eq!(divergence.differences.len(), 1, "{divergence}");
    assert_eq!(
        (&divergence.differences[0].expected, &divergence.differences[0].actual),
        (&recorded, &replayed)
    );
}

#[test]
fn a_page_that_a_keyframe_does_not_have_is_found_at_its_exit() {
    let Some(host) = host() else { return };
    let mut mutated = recording(&host, &trapline_guests::pages_64());
    // No checkpoint but this keyframe looks at what the guest did before it.
    for exit in &mut mutated.plain.exits {
        exit.events.retain(|event| !matches!(event, PlainEvent::Checkpoint(_)));
    }
    let keyframe = mutated.keyframe(0);
    let exit = keyframe.keyframe.exit as usize;
    let at = keyframe.pages.iter().position(|(page, _)| *page >= 0x100).unwrap();
    let (page, content) = keyframe.pages.remove(at);
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Memory, exit);
    assert_named(&divergence, &format!("page {:#x}", page << 12));
    let byte = content.iter().position(|b| *b != 0).unwrap();
    let told = format!("{:#04x} at {:#x}", content[byte], (page << 12) + byte as u64);
    assert_eq!(divergence.differences[0].actual, told);
}

#[test]
fn a_page_of_a_checkpoint_is_found_at_its_exit_and_named() {
    let Some(host) = host() else { return };
    let mut mutated = recording(&host, &trapline_guests::pages_64());
    let changes = mutated.plain.exits.iter_mut().enumerate().flat_map(|(i, exit)| {
        exit.events.iter_mut().filter_map(move |event| match event {
            PlainEvent::Checkpoint(c) => match &mut c.memory {
                MemoryDigest::Changed(pages) => pages.iter_mut().find(|p| p.0 >= 0x100).map(|p| (i, p)),
                _ => None,
            },
            _ => None,
        })
    });
    let (exit, page) = changes.into_iter().next().unwrap();
    page.1 ^= 1;
    let name = format!("page {:#x}", page.0 << 12);
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Memory, exit);
    assert_named(&divergence, &name);
}

#[test]
fn accessed_bits_alone_are_told_and_are_no_divergence() {
    let Some(host) = host() else { return };
    let mut mutated = recording(&host, &trapline_guests::demo());
    // A page table whose entries point into memory, and one that the guest's walks have marked.
    let is_table = |content: &[u8]| {
        let entries = content.as_chunks::<8>().0.iter().map(|e| u64::from_le_bytes(*e));
        let present: Vec<_> = entries.filter(|e| e & 1 != 0).collect();
        !present.is_empty() && present.iter().all(|e| e & 0x000f_ffff_ffff_f000 < 4 << 20)
    };
    let keyframe = mutated.keyframe(0);
    let Some((page, content)) = keyframe.pages.iter_mut().find(|(_, content)| is_table(content)) else {
        // This engine marks nothing: whatever it interprets.
        return;
    };
    let entry = content.as_chunks::<8>().0.iter().position(|e| e[0] & 1 != 0).unwrap();
    content[8 * entry] ^= 1 << 5;
    let page = *page;
    mutated.plain.exits.iter_mut().for_each(|exit| {
        exit.events.retain(|event| !matches!(event, PlainEvent::Checkpoint(c) if matches!(c.memory, MemoryDigest::Changed(_))));
    });
    mutated.write();
    let replayed = try_replay(&host, &mutated.recorded.path, &ReplayOptions::default()).unwrap();
    let exit = mutated.keyframe(0).keyframe.exit;
    assert_eq!(replayed.accessed, [(exit, page)]);
    // A dirty bit is another matter.
    let content = &mut mutated.keyframe(0).pages.iter_mut().find(|(p, _)| *p == page).unwrap().1;
    content[8 * entry] ^= 1 << 6;
    assert_diverged(&mutated.divergence(&host), What::Memory, exit as usize);
}

/// Places in each guest at which the way to a keyframe is left out.
const PLACES: u32 = 5;

#[test]
fn a_replay_goes_on_from_a_keyframe_that_is_carried_over_what_it_left_out() {
    let Some(host) = host() else { return };
    // Where a replay can try to come to such a keyframe by executing, it comes to an exit instead, of every kind.
    let guests: [fn() -> Guest; 10] = [
        trapline_guests::pages_64,
        trapline_guests::sse_64,
        trapline_guests::timer_exits_64,
        trapline_guests::string_ports_64,
        trapline_guests::mmio_wide_64,
        trapline_guests::mmio_string_64,
        trapline_guests::mmio_sse_64,
        trapline_guests::msrs_64,
        trapline_guests::popcnt_64,
        trapline_guests::timer_hlt_64,
    ];
    for guest in guests.map(|guest| guest()) {
        let mut mutated = recording(&host, &guest);
        let original = std::fs::read(&mutated.recorded.path).unwrap();
        let events = mutated.plain.exits.iter().flat_map(|exit| &exit.events);
        let keyframes = events.filter(|e| matches!(e, PlainEvent::Keyframe(_))).count() as u32;
        for number in (1..keyframes).step_by(keyframes.div_ceil(PLACES).max(1) as usize) {
            std::fs::write(&mutated.recorded.path, &original).unwrap();
            mutated.plain = Plain::read(&mutated.recorded.path);
            let exits = leave_out(&mut mutated, number);
            mutated.write();
            for from in [None, Some(exits - 1)] {
                let options = ReplayOptions { from, ..ReplayOptions::default() };
                let replayed = try_replay(&host, &mutated.recorded.path, &options)
                    .unwrap_or_else(|divergence| panic!("{}, keyframe {number}: {divergence}", guest.name));
                assert_eq!(replayed.exits, exits);
            }
        }
    }
}

/// Leaves out the way from an exit to the keyframe of this number, after a later one: a replay must be carried over it. Returns how many
/// exits are left.
fn leave_out(mutated: &mut Mutated, number: u32) -> u64 {
    let to = mutated.keyframe(number).keyframe.exit as usize;
    let plain = &mut mutated.plain;
    let exits = plain.exits.len();
    let address = |exit: usize| plain.sites[plain.exits[exit].site].instruction.address;
    // Not from one part of an access to the next.
    let from =
        (to.saturating_sub(7)..to - 1).find(|&exit| address(exit) != address(exit + 1)).unwrap_or(to - 1);
    let mut carried = Vec::new();
    for exit in plain.exits.drain(from + 1..=to) {
        carried.retain(|e| matches!(e, PlainEvent::Keyframe(_)));
        carried.extend(exit.events.into_iter().skip_while(|e| !matches!(e, PlainEvent::Keyframe(_))));
    }
    plain.exits[from].events = carried;
    let mut number = 0;
    for (i, exit) in plain.exits.iter_mut().enumerate() {
        exit.events.retain(|e| !matches!(e, PlainEvent::Checkpoint(c) if c.exit as usize != exits - 1));
        for event in &mut exit.events {
            match event {
                PlainEvent::Keyframe(plain) => {
                    let (exit, carried) = (i as u64, i == from);
                    plain.keyframe = Keyframe { number, exit, carried, ..plain.keyframe.clone() };
                    number += 1;
                }
                PlainEvent::Checkpoint(checkpoint) => checkpoint.exit = i as u64,
                PlainEvent::Plain(_) => {}
            }
        }
    }
    plain.console.clear();
    plain.timing.clear();
    let left = (exits - (to - from)) as u64;
    plain.end.as_mut().unwrap().exits = left;
    left
}

#[test]
fn a_damaged_keyframe_is_said_and_an_earlier_one_is_used() {
    let Some(host) = host() else { return };
    let mutated = recording(&host, &trapline_guests::port64());
    let path = &mutated.recorded.path;
    let places: Vec<_> = {
        let trace = Trace::open(path).unwrap();
        let is_keyframe = |b: &&BlockPlace| b.header.kind == BlockType::Keyframe as u16;
        trace.blocks().iter().filter(is_keyframe).map(|b| b.offset).collect()
    };
    let whole = std::fs::read(path).unwrap();
    let exits = mutated.recorded.end.exits;
    // The last keyframe, then the first, too: there is none left then.
    let mut bytes = whole.clone();
    for (damaged, first_exit) in [(places.len() - 1, 5 * (places.len() as u64 - 1)), (0, 0)] {
        bytes[places[damaged] as usize + BLOCK_HEADER_BYTES + 5] ^= 1;
        std::fs::write(path, &bytes).unwrap();
        let options = ReplayOptions { from: Some(exits - 1), ..ReplayOptions::default() };
        let replayed = try_replay(&host, path, &options).unwrap();
        assert_eq!((replayed.first_exit, replayed.exits), (first_exit, exits));
        assert!(replayed.notes.iter().any(|note| note.contains("could not be used")), "{:?}", replayed.notes);
    }
    // A replay from the start needs none of them.
    let replayed = try_replay(&host, path, &ReplayOptions::default()).unwrap();
    assert_eq!(replayed.exits, exits);
    assert!(replayed.notes.iter().any(|note| note.contains("was not compared")), "{:?}", replayed.notes);
}
