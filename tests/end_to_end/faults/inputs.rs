//! What crossed inward with an exit is another.

use super::fault::{Fault, exits, of_kind, site_of};
use crate::support::plain::Plain;
use trapline_formats::ExitKind;

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "byte of a port read",
        places: |plain| exits(plain, |site, _| site.kind == ExitKind::PortRead && !site.rep),
        put: flip_first,
    },
    Fault {
        name: "byte of a string read",
        places: |plain| {
            exits(plain, |site, exit| site.kind == ExitKind::PortRead && site.rep && !exit.data.is_empty())
        },
        put: flip_last,
    },
    Fault {
        name: "byte of an MMIO read",
        places: |plain| of_kind(plain, ExitKind::MmioRead),
        put: flip_first,
    },
    Fault { name: "lower byte of an MSR read", places: answered_reads, put: flip_first },
    Fault { name: "upper byte of an MSR read", places: answered_reads, put: flip_last },
    Fault {
        name: "fault of an MSR access",
        places: |plain| exits(plain, |site, _| site.kind.may_fault()),
        put: flip_fault,
    },
    Fault {
        name: "lower byte of a clock read",
        places: |plain| of_kind(plain, ExitKind::ClockRead),
        put: flip_first,
    },
    Fault {
        name: "upper byte of a clock read",
        places: |plain| of_kind(plain, ExitKind::ClockRead),
        put: flip_last,
    },
    Fault {
        name: "byte of a random read",
        places: |plain| of_kind(plain, ExitKind::RandomRead),
        put: flip_first,
    },
];

fn answered_reads(plain: &Plain) -> Vec<usize> {
    exits(plain, |site, exit| site.kind == ExitKind::MsrRead && !exit.fault)
}

fn flip_first(plain: &mut Plain, exit: usize) {
    plain.exits[exit].data[0] ^= 0x40;
}

fn flip_last(plain: &mut Plain, exit: usize) {
    *plain.exits[exit].data.last_mut().unwrap() ^= 0x40;
}

fn flip_fault(plain: &mut Plain, exit: usize) {
    assert!(site_of(plain, exit).kind.may_fault());
    plain.exits[exit].fault ^= true;
}
