//! What the host did to the guest between exits is not what it did.

use super::fault::{Fault, all_but_last, change, exits, followed_by, is_interrupt, put, site_of, take};
use crate::support::plain::{Plain, PlainEvent};
use trapline_formats::{Event, ExitKind};

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "interrupt dropped",
        places: interrupted,
        put: |plain, exit| _ = take(plain, exit, is_interrupt),
    },
    Fault {
        name: "interrupt added",
        places: all_but_last,
        put: |plain, exit| put(plain, exit, Event::Interrupt { vector: 0x2f }),
    },
    Fault {
        name: "interrupt twice",
        places: interrupted,
        put: |plain, exit| put_again(plain, exit, is_interrupt),
    },
    Fault {
        name: "interrupt an exit early",
        places: interrupted,
        put: |plain, exit| shift(plain, exit, -1, is_interrupt),
    },
    Fault {
        name: "interrupt an exit late",
        places: interrupted,
        put: |plain, exit| shift(plain, exit, 1, is_interrupt),
    },
    Fault {
        name: "interrupt before its window opens",
        places: |plain| {
            exits(plain, |site, _| site.kind == ExitKind::InterruptWindow)
                .into_iter()
                .filter(|e| *e > 0)
                .collect()
        },
        put: |plain, exit| put(plain, exit - 1, Event::Interrupt { vector: 0x20 }),
    },
    Fault {
        name: "another vector",
        places: interrupted,
        put: |plain, exit| *change(plain, exit, is_interrupt) = Event::Interrupt { vector: 0x2e },
    },
    Fault { name: "two interrupts exchanged", places: before_another_vector, put: exchange },
    Fault { name: "NMI dropped", places: with_nmi, put: |plain, exit| _ = take(plain, exit, is_nmi) },
    Fault { name: "NMI added", places: all_but_last, put: |plain, exit| put(plain, exit, Event::Nmi) },
    Fault { name: "NMI an exit early", places: with_nmi, put: |plain, exit| shift(plain, exit, -1, is_nmi) },
    Fault { name: "NMI an exit late", places: with_nmi, put: |plain, exit| shift(plain, exit, 1, is_nmi) },
    Fault {
        name: "window request dropped",
        places: with_window,
        put: |plain, exit| _ = take(plain, exit, is_window),
    },
    Fault {
        name: "window request added",
        places: |plain| exits(plain, |_, exit| exit.events.is_empty()),
        put: |plain, exit| put(plain, exit, Event::WindowRequested),
    },
    Fault {
        name: "window request cancelled",
        places: with_window,
        put: |plain, exit| {
            take(plain, exit, is_window);
            put(plain, exit, Event::WindowCancelled);
        },
    },
    Fault {
        name: "task priority",
        places: |plain| followed_by(plain, is_priority),
        put: |plain, exit| {
            let Event::TaskPriority { cr8 } = change(plain, exit, is_priority) else { unreachable!() };
            *cr8 ^= 8;
        },
    },
    Fault {
        name: "task priority dropped",
        places: |plain| followed_by(plain, is_priority),
        put: |plain, exit| _ = take(plain, exit, is_priority),
    },
    Fault {
        name: "byte of a memory write",
        places: written,
        put: |plain, exit| {
            let Event::MemoryWrite { bytes, .. } = change(plain, exit, is_write) else { unreachable!() };
            bytes[0] ^= 0x20;
        },
    },
    Fault {
        name: "address of a memory write",
        places: written,
        put: |plain, exit| {
            let Event::MemoryWrite { gpa, .. } = change(plain, exit, is_write) else { unreachable!() };
            *gpa += 1;
        },
    },
    Fault {
        name: "memory write dropped",
        places: written,
        put: |plain, exit| _ = take(plain, exit, is_write),
    },
    Fault {
        name: "memory write added",
        places: all_but_last,
        put: |plain, exit| put(plain, exit, Event::MemoryWrite { gpa: 0x3f_f123, bytes: Box::new([0x5a]) }),
    },
    Fault {
        name: "memory write between the pieces of an access",
        places: |plain| all_but_last(plain).into_iter().filter(|exit| is_piece(plain, *exit)).collect(),
        put: |plain, exit| put(plain, exit, Event::MemoryWrite { gpa: 0x3f_f123, bytes: Box::new([0x5a]) }),
    },
    Fault {
        name: "memory write an exit early",
        places: written,
        put: |plain, exit| shift(plain, exit, -1, is_write),
    },
    Fault {
        name: "memory write an exit late",
        places: written,
        put: |plain, exit| shift(plain, exit, 1, is_write),
    },
    Fault {
        name: "address of a file read",
        places: read,
        put: |plain, exit| {
            let Event::FileRead { gpa, .. } = change(plain, exit, is_read) else { unreachable!() };
            *gpa += 1;
        },
    },
    Fault {
        name: "offset of a file read",
        places: read,
        put: |plain, exit| {
            let Event::FileRead { offset, .. } = change(plain, exit, is_read) else { unreachable!() };
            *offset += 1;
        },
    },
    Fault { name: "file read dropped", places: read, put: |plain, exit| _ = take(plain, exit, is_read) },
    Fault {
        name: "jump",
        places: |plain| {
            let is_write = |exit: &usize| {
                let site = site_of(plain, *exit);
                site.kind == ExitKind::PortWrite && !site.rep
            };
            all_but_last(plain).into_iter().filter(is_write).collect()
        },
        put: |plain, exit| {
            // The same instruction once more.
            let rip = site_of(plain, exit).instruction.address.0;
            put(plain, exit, Event::Jump { rip });
        },
    },
];

fn is_nmi(event: &Event) -> bool {
    *event == Event::Nmi
}

fn is_window(event: &Event) -> bool {
    *event == Event::WindowRequested
}

fn is_priority(event: &Event) -> bool {
    matches!(event, Event::TaskPriority { .. })
}

fn is_write(event: &Event) -> bool {
    matches!(event, Event::MemoryWrite { .. })
}

fn is_read(event: &Event) -> bool {
    matches!(event, Event::FileRead { .. })
}

fn with_window(plain: &Plain) -> Vec<usize> {
    followed_by(plain, is_window)
}

/// Exits with an exit before and behind them.
fn inner(plain: &Plain, places: Vec<usize>) -> Vec<usize> {
    let last = plain.exits.len() - 1;
    places.into_iter().filter(|exit| *exit > 0 && *exit < last).collect()
}

fn interrupted(plain: &Plain) -> Vec<usize> {
    inner(plain, followed_by(plain, is_interrupt))
}

fn with_nmi(plain: &Plain) -> Vec<usize> {
    inner(plain, followed_by(plain, is_nmi))
}

fn written(plain: &Plain) -> Vec<usize> {
    inner(plain, followed_by(plain, is_write))
}

/// The next exit is of the same access, which is wider than one exit.
fn is_piece(plain: &Plain, exit: usize) -> bool {
    let (this, next) = (site_of(plain, exit), site_of(plain, exit + 1));
    let is_mmio = matches!(this.kind, ExitKind::MmioRead | ExitKind::MmioWrite);
    let follows = next.address == this.address + u64::from(this.size);
    is_mmio && this.kind == next.kind && this.instruction == next.instruction && follows
}

fn read(plain: &Plain) -> Vec<usize> {
    followed_by(plain, is_read)
}

fn shift(plain: &mut Plain, exit: usize, by: isize, is_it: fn(&Event) -> bool) {
    let event = take(plain, exit, is_it);
    put(plain, exit.strict_add_signed(by), event);
}

fn put_again(plain: &mut Plain, exit: usize, is_it: fn(&Event) -> bool) {
    let event = change(plain, exit, is_it).clone();
    put(plain, exit + 1, event);
}

fn vector(plain: &Plain, exit: usize) -> u8 {
    let vector = plain.exits[exit].events.iter().find_map(|event| match event {
        PlainEvent::Plain(Event::Interrupt { vector }) => Some(*vector),
        _ => None,
    });
    vector.unwrap()
}

/// The exit of the interrupt after the one behind this exit.
fn next_interrupted(plain: &Plain, exit: usize) -> Option<usize> {
    followed_by(plain, is_interrupt).into_iter().find(|next| *next > exit)
}

fn before_another_vector(plain: &Plain) -> Vec<usize> {
    let differ = |exit: &usize| {
        next_interrupted(plain, *exit).is_some_and(|next| vector(plain, *exit) != vector(plain, next))
    };
    followed_by(plain, is_interrupt).into_iter().filter(differ).collect()
}

fn exchange(plain: &mut Plain, exit: usize) {
    let next = next_interrupted(plain, exit).unwrap();
    let (first, second) = (vector(plain, exit), vector(plain, next));
    *change(plain, exit, is_interrupt) = Event::Interrupt { vector: second };
    *change(plain, next, is_interrupt) = Event::Interrupt { vector: first };
}
