//! A checkpoint says what is not so.

use super::fault::Fault;
use crate::support::plain::{Plain, PlainEvent};
use trapline_formats::digests::{Checkpoint, MemoryDigest};

const X87: usize = 32;
const SSE: usize = 160;
/// What a place is made of: the exit of a checkpoint, and which of its parts.
const PARTS: usize = 1 << 20;

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "general register of a checkpoint",
        places: |plain| parts(plain, |_| vec![0, 7, 15]),
        put: |plain, place| {
            at(plain, place, |checkpoint, register| checkpoint.cpu.registers.general[register] ^= 0x100);
        },
    },
    Fault {
        name: "segment of a checkpoint",
        places: |plain| parts(plain, |_| (0..8).collect()),
        put: |plain, place| {
            at(plain, place, |checkpoint, segment| checkpoint.cpu.system.segments[segment].rights ^= 1);
        },
    },
    Fault {
        name: "control register of a checkpoint",
        places: |plain| parts(plain, |_| (0..5).collect()),
        put: |plain, place| {
            at(plain, place, |checkpoint, register| checkpoint.cpu.system.control[register] ^= 2);
        },
    },
    Fault {
        name: "MSR of a checkpoint",
        places: |plain| parts(plain, |checkpoint| (0..checkpoint.cpu.msrs.len()).collect()),
        put: |plain, place| at(plain, place, |checkpoint, msr| checkpoint.cpu.msrs[msr].1 ^= 1),
    },
    Fault {
        name: "MSR left out of a checkpoint",
        places: |plain| parts(plain, |checkpoint| (0..checkpoint.cpu.msrs.len()).collect()),
        put: |plain, place| at(plain, place, |checkpoint, msr| _ = checkpoint.cpu.msrs.remove(msr)),
    },
    Fault {
        name: "x87 byte of a checkpoint",
        places: |plain| parts(plain, |_| (X87..X87 + 128).filter(|byte| byte % 16 < 10).collect()),
        put: flip_xsave,
    },
    Fault {
        name: "SSE byte of a checkpoint",
        places: |plain| parts(plain, |_| (SSE..SSE + 256).collect()),
        put: flip_xsave,
    },
    Fault {
        name: "debug register of a checkpoint",
        places: |plain| parts(plain, |_| (0..4).collect()),
        put: |plain, place| {
            at(plain, place, |checkpoint, register| checkpoint.cpu.debug.addresses[register] ^= 1);
        },
    },
    Fault {
        name: "pending event of a checkpoint",
        places: |plain| parts(plain, |_| vec![0, 1, 2]),
        put: |plain, place| {
            at(plain, place, |checkpoint, which| match which {
                0 => checkpoint.cpu.events.shadow ^= 1,
                1 => checkpoint.cpu.events.nmi.2 ^= true,
                _ => checkpoint.cpu.events.interrupt.0 ^= true,
            });
        },
    },
    Fault {
        name: "page hash of a checkpoint",
        places: |plain| parts(plain, |checkpoint| (0..page_count(checkpoint)).collect()),
        put: |plain, place| at(plain, place, |checkpoint, page| pages(checkpoint)[page].1 ^= 1),
    },
    Fault {
        name: "page left out of a checkpoint",
        places: |plain| parts(plain, |checkpoint| (0..page_count(checkpoint)).collect()),
        put: |plain, place| at(plain, place, |checkpoint, page| _ = pages(checkpoint).remove(page)),
    },
    Fault {
        name: "checkpoint an exit early",
        places: |plain| parts(plain, |_| vec![0]).into_iter().filter(|place| *place >= PARTS).collect(),
        put: |plain, place| {
            let exit = place / PARTS;
            let of = |event: &PlainEvent| matches!(event, PlainEvent::Checkpoint(_));
            let at = plain.exits[exit].events.iter().position(of).unwrap();
            let checkpoint = plain.exits[exit].events.remove(at);
            plain.exits[exit - 1].events.push(checkpoint);
        },
    },
];

fn page_count(checkpoint: &Checkpoint) -> usize {
    match &checkpoint.memory {
        MemoryDigest::None => 0,
        MemoryDigest::All(pages) | MemoryDigest::Changed(pages) => pages.len(),
    }
}

fn pages(checkpoint: &mut Checkpoint) -> &mut Vec<(u64, u64)> {
    match &mut checkpoint.memory {
        MemoryDigest::None => panic!("memory was not looked at"),
        MemoryDigest::All(pages) | MemoryDigest::Changed(pages) => pages,
    }
}

/// These parts of every checkpoint, as places.
fn parts(plain: &Plain, of: impl Fn(&Checkpoint) -> Vec<usize>) -> Vec<usize> {
    let mut places = Vec::new();
    for (exit, recorded) in plain.exits.iter().enumerate() {
        for event in &recorded.events {
            if let PlainEvent::Checkpoint(checkpoint) = event {
                places.extend(of(checkpoint).into_iter().map(|part| exit * PARTS + part));
            }
        }
    }
    places
}

fn at(plain: &mut Plain, place: usize, change: impl FnOnce(&mut Checkpoint, usize)) {
    for event in &mut plain.exits[place / PARTS].events {
        if let PlainEvent::Checkpoint(checkpoint) = event {
            return change(checkpoint, place % PARTS);
        }
    }
    panic!("no checkpoint is there");
}

fn flip_xsave(plain: &mut Plain, place: usize) {
    at(plain, place, |checkpoint, byte| checkpoint.cpu.xsave[byte] ^= 1);
}
