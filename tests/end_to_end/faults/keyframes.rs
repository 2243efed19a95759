//! A keyframe says what is not so.

use super::fault::Fault;
use crate::support::plain::{Plain, PlainEvent, PlainKeyframe};

const PAGE: usize = 4096;
/// Where XMM0 is in an XSAVE image (SDM vol. 1, 10.5.1).
const SSE: usize = 160;
/// What a place is made of: the exit of a keyframe, and which of its parts.
const PARTS: usize = 1 << 20;

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "general register of a keyframe",
        places: |plain| parts(plain, |_| vec![0, 7, 15]),
        put: |plain, place| {
            at(plain, place, |plain, register| plain.keyframe.cpu.registers.general[register] ^= 0x100);
        },
    },
    Fault {
        name: "control register of a keyframe",
        places: |plain| parts(plain, |_| (0..5).collect()),
        put: |plain, place| {
            at(plain, place, |plain, register| plain.keyframe.cpu.system.control[register] ^= 2);
        },
    },
    Fault {
        name: "MSR of a keyframe",
        places: |plain| parts(plain, |keyframe| (0..keyframe.keyframe.cpu.msrs.len()).collect()),
        put: |plain, place| at(plain, place, |plain, msr| plain.keyframe.cpu.msrs[msr].1 ^= 1),
    },
    Fault {
        name: "SSE byte of a keyframe",
        places: |plain| parts(plain, |_| (SSE..SSE + 256).collect()),
        put: |plain, place| at(plain, place, |plain, byte| plain.keyframe.cpu.xsave[byte] ^= 1),
    },
    Fault {
        name: "first byte of a page of a keyframe",
        places: |plain| parts(plain, |keyframe| (0..keyframe.pages.len()).collect()),
        put: |plain, place| at(plain, place, |plain, page| plain.pages[page].1[0] ^= 0x40),
    },
    Fault {
        name: "last byte of a page of a keyframe",
        places: |plain| parts(plain, |keyframe| (0..keyframe.pages.len()).collect()),
        put: |plain, place| at(plain, place, |plain, page| plain.pages[page].1[PAGE - 1] ^= 0x40),
    },
    Fault {
        // A page that has changed and is taken for one that has not.
        name: "page left out of a keyframe",
        places: |plain| parts(plain, |keyframe| (0..keyframe.pages.len()).collect()),
        put: |plain, place| at(plain, place, |plain, page| _ = plain.pages.remove(page)),
    },
    Fault {
        name: "page of a keyframe as it was before",
        places: |plain| parts(plain, |keyframe| (0..keyframe.pages.len()).collect()),
        put: put_back,
    },
    Fault {
        name: "page added to a keyframe",
        places: |plain| parts(plain, |_| vec![0x90, 0x91, 0x92]),
        put: |plain, place| {
            at(plain, place, |plain, page| {
                let number = page as u64;
                plain.pages.retain(|page| page.0 != number);
                plain.pages.push((number, vec![0x5a; PAGE]));
                plain.pages.sort_unstable();
            });
        },
    },
];

/// These parts of every keyframe, as places.
fn parts(plain: &Plain, of: impl Fn(&PlainKeyframe) -> Vec<usize>) -> Vec<usize> {
    let mut places = Vec::new();
    for (exit, recorded) in plain.exits.iter().enumerate() {
        for event in &recorded.events {
            if let PlainEvent::Keyframe(keyframe) = event {
                places.extend(of(keyframe).into_iter().map(|part| exit * PARTS + part));
            }
        }
    }
    places
}

fn at(plain: &mut Plain, place: usize, change: impl FnOnce(&mut PlainKeyframe, usize)) {
    for event in &mut plain.exits[place / PARTS].events {
        if let PlainEvent::Keyframe(keyframe) = event {
            return change(keyframe, place % PARTS);
        }
    }
    panic!("no keyframe is there");
}

/// Gives a page of a keyframe the content that it had at the keyframe before, or at the start.
fn put_back(plain: &mut Plain, place: usize) {
    let mut number = 0;
    at(plain, place, |keyframe, page| number = keyframe.pages[page].0);
    let mut before = plain.pages.iter().find(|page| page.0 == number).map(|page| page.1.clone());
    for event in plain.exits[..place / PARTS].iter().flat_map(|exit| &exit.events) {
        if let PlainEvent::Keyframe(keyframe) = event
            && let Some(page) = keyframe.pages.iter().find(|page| page.0 == number)
        {
            before = Some(page.1.clone());
        }
    }
    at(plain, place, |keyframe, page| keyframe.pages[page].1 = before.unwrap_or_else(|| vec![0; PAGE]));
}
