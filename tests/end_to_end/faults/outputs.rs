//! What the guest is said to have done is not what it did.

use super::fault::{Fault, all_but_last, exits, of_kind, site_of};
use crate::support::plain::Plain;
use trapline_formats::digests::COMPARED;
use trapline_formats::{ExitKind, Site};

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "data of a port write",
        places: |plain| exits(plain, |site, _| site.kind == ExitKind::PortWrite && !site.rep),
        put: flip_data,
    },
    Fault {
        name: "data of a string write",
        places: |plain| {
            exits(plain, |site, exit| site.kind == ExitKind::PortWrite && site.rep && !exit.data.is_empty())
        },
        put: flip_data,
    },
    Fault {
        name: "data of an MMIO write",
        places: |plain| of_kind(plain, ExitKind::MmioWrite),
        put: flip_data,
    },
    Fault {
        name: "data of an MSR write",
        places: |plain| of_kind(plain, ExitKind::MsrWrite),
        put: flip_data,
    },
    Fault { name: "data of a CR8 write", places: |plain| of_kind(plain, ExitKind::SetTpr), put: flip_data },
    Fault { name: "register at an exit", places: all, put: flip_register },
    Fault { name: "flags at an exit", places: all, put: |plain, exit| plain.exits[exit].registers[0] ^= 1 },
    Fault {
        name: "address of a site",
        places: |plain| exits(plain, |site, _| site.kind.space().is_some()),
        put: |plain, exit| another_site(plain, exit, |site| site.address ^= 1),
    },
    Fault {
        name: "kind of a site",
        places: |plain| exits(plain, |site, _| !site.rep && swapped(site.kind).is_some()),
        put: |plain, exit| another_site(plain, exit, |site| site.kind = swapped(site.kind).unwrap()),
    },
    Fault {
        name: "size of a site",
        places: |plain| exits(plain, |site, exit| !site.rep && site.size == 1 && exit.data.len() == 1),
        put: |plain, exit| {
            another_site(plain, exit, |site| site.size = 2);
            plain.exits[exit].data.push(0);
        },
    },
    Fault {
        name: "instruction of a site",
        places: all,
        put: |plain, exit| another_site(plain, exit, |site| site.instruction.address.0 += 1),
    },
    Fault {
        name: "exit dropped",
        places: all_but_last,
        put: |plain, exit| {
            plain.exits.remove(exit);
            count(plain);
        },
    },
    Fault {
        name: "exit added",
        places: all_but_last,
        put: |plain, exit| {
            let mut twice = plain.exits[exit].clone();
            twice.events.clear();
            plain.exits.insert(exit, twice);
            count(plain);
        },
    },
    Fault {
        name: "two exits exchanged",
        places: |plain| {
            let differ = |i: &usize| plain.exits[*i] != plain.exits[i + 1];
            all_but_last(plain).into_iter().filter(differ).collect()
        },
        put: |plain, exit| plain.exits.swap(exit, exit + 1),
    },
];

fn all(plain: &Plain) -> Vec<usize> {
    (0..plain.exits.len()).collect()
}

fn flip_data(plain: &mut Plain, exit: usize) {
    plain.exits[exit].data[0] ^= 1;
}

fn flip_register(plain: &mut Plain, exit: usize) {
    // Not always the same one, and never the flags.
    plain.exits[exit].registers[1 + exit % (COMPARED - 1)] ^= 0x8000_0001;
}

/// Another kind that has as much data.
fn swapped(kind: ExitKind) -> Option<ExitKind> {
    match kind {
        ExitKind::PortRead => Some(ExitKind::MmioRead),
        ExitKind::PortWrite => Some(ExitKind::MmioWrite),
        ExitKind::MmioRead => Some(ExitKind::PortRead),
        ExitKind::MmioWrite => Some(ExitKind::PortWrite),
        ExitKind::Halt => Some(ExitKind::InterruptWindow),
        ExitKind::InterruptWindow => Some(ExitKind::Halt),
        _ => None,
    }
}

/// Makes an exit come from a site of its own, which is changed.
fn another_site(plain: &mut Plain, exit: usize, change: impl FnOnce(&mut Site)) {
    let mut site = site_of(plain, exit).clone();
    change(&mut site);
    plain.sites.push(site);
    plain.exits[exit].site = plain.sites.len() - 1;
}

fn count(plain: &mut Plain) {
    plain.end.as_mut().unwrap().exits = plain.exits.len() as u64;
}
