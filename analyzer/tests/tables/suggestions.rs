//! Suggestions, and the preconditions without which they are not made.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::report;
use trapline_analyzer::{By, Suggestion};
use trapline_formats::{ExitKind, NamedRange, Space};

const ROUNDS: u64 = 200;

/// What one trace is told. It is written by `write`, whose sites are at 0x8000, 0x8100 and so on.
fn told(
    write: impl Fn(&mut SyntheticTrace, &dyn Fn(&mut SyntheticTrace, ExitKind, u64) -> u32),
) -> Vec<Suggestion> {
    let dir = tempfile::tempdir().unwrap();
    let mut header = header();
    let name = |start, end, device: &str, register: &str| NamedRange {
        space: Space::Port,
        start,
        end,
        device: device.into(),
        register: register.into(),
    };
    header.names.push(name(0x500, 0x510, "widget", "status"));
    header.names.push(name(0x600, 0x602, "virtio-net", "queue notify"));
    header.names.push(name(0x508, 0x509, "widget", "data"));
    let mut trace = SyntheticTrace::create(&dir.path().join("a.trap"), &header);
    write(&mut trace, &|trace, kind, address| {
        let size = if matches!(kind, ExitKind::MsrRead | ExitKind::ClockRead) { 8 } else { 1 };
        trace.site(kind, address, size, 0x8000 + address, &[0xec])
    });
    let path = trace.end(halted());
    let told = report(&path, By::Site).suggestions().to_vec();
    // The grouping of the report changes nothing.
    assert_eq!(report(&path, By::Reason).suggestions(), told);
    for suggestion in &told {
        assert!(suggestion.exits.least <= suggestion.exits.most, "{suggestion:?}");
        let (least, most) = suggestion.cost_percent.unwrap();
        assert!(0.0 <= least && least <= most && most <= 100.0, "{suggestion:?}");
    }
    told
}

fn rules(told: &[Suggestion]) -> Vec<(&'static str, u64, u64)> {
    told.iter().map(|s| (s.rule, s.exits.least, s.exits.most)).collect()
}

#[test]
fn a_loop_that_polls_is_told_and_one_that_writes_in_between_is_not() {
    let polling = told(|trace, site| {
        let status = site(trace, ExitKind::PortRead, 0x501);
        for i in 0..ROUNDS {
            trace.exit(status, &[u8::from(i % 50 == 49)], 3000, 900);
        }
    });
    // 4 waits of 50: the first three of the very first row are no long row.
    assert_eq!(rules(&polling), [("poll", ROUNDS - 3, ROUNDS - 1)]);
    assert!(polling[0].what.contains("widget status"), "{:?}", polling[0]);
    let other = told(|trace, site| {
        let status = site(trace, ExitKind::PortRead, 0x501);
        let command = site(trace, ExitKind::PortWrite, 0x502);
        for i in 0..ROUNDS {
            trace.exit(command, &[i as u8], 3000, 900);
            trace.exit(status, &[i as u8], 3000, 900);
        }
    });
    assert_eq!(rules(&other), []);
}

#[test]
fn what_never_changes_is_hoisted() {
    let constant = told(|trace, site| {
        let msr = site(trace, ExitKind::MsrRead, 0xce);
        let post = site(trace, ExitKind::PortRead, 0x9000);
        for i in 0..ROUNDS {
            trace.exit(msr, &[7; 8], 3000, 900);
            trace.exit(post, &[i as u8], 3000, 900);
        }
    });
    assert_eq!(rules(&constant), [("hoist", ROUNDS - 1, ROUNDS - 1)]);
    let changing = told(|trace, site| {
        let msr = site(trace, ExitKind::MsrRead, 0xce);
        let post = site(trace, ExitKind::PortRead, 0x9000);
        for i in 0..ROUNDS {
            trace.exit(msr, &[u8::from(i == 150); 8], 3000, 900);
            trace.exit(post, &[i as u8], 3000, 900);
        }
    });
    assert_eq!(rules(&changing), []);
}

#[test]
fn single_writes_in_a_row_become_one_repeated_instruction() {
    let told = told(|trace, site| {
        let data = site(trace, ExitKind::PortWrite, 0x508);
        let status = site(trace, ExitKind::PortRead, 0x501);
        for i in 0..ROUNDS {
            trace.exit(data, &[i as u8], 3000, 900);
            if i % 10 == 9 {
                trace.exit(status, &[i as u8], 3000, 900);
            }
        }
    });
    assert_eq!(rules(&told), [("rep", ROUNDS / 10 * 7, ROUNDS / 10 * 9)]);
}

#[test]
fn data_that_is_read_in_a_row_is_not_polled() {
    let told = told(|trace, site| {
        let data = site(trace, ExitKind::PortRead, 0x508);
        (0..ROUNDS).for_each(|i| trace.exit(data, &[(i / 100) as u8], 3000, 900));
    });
    assert_eq!(rules(&told), [("rep", ROUNDS - 3, ROUNDS - 1)]);
}

#[test]
fn writes_that_nobody_reads_are_coalesced_and_others_are_not() {
    let write = |reads: u64| {
        told(move |trace, site| {
            let post = site(trace, ExitKind::PortWrite, 0x80);
            let read = site(trace, ExitKind::PortRead, 0x80);
            let other = site(trace, ExitKind::PortRead, 0x9000);
            for i in 0..ROUNDS {
                trace.exit(post, &[i as u8], 3000, 900);
                trace.exit(if i < reads { read } else { other }, &[i as u8], 3000, 900);
            }
        })
    };
    let unread = write(0);
    assert_eq!(rules(&unread), [("coalesce", ROUNDS, ROUNDS)]);
    let cost = unread[0].cost_ns.unwrap();
    // 900 ticks at 2.5 GHz, and the path beside it.
    assert_eq!((cost.least, cost.most > cost.least), (ROUNDS * 360, true));
    assert_eq!(rules(&write(50)), []);
}

#[test]
fn a_serial_port_is_written_in_bursts_only_where_its_fifo_is_on() {
    let print = |fifo: bool| {
        told(move |trace, site| {
            let control = site(trace, ExitKind::PortWrite, 0x3fa);
            let status = site(trace, ExitKind::PortRead, 0x3fd);
            let data = site(trace, ExitKind::PortWrite, 0x3f8);
            trace.exit(control, &[u8::from(fifo)], 3000, 900);
            for i in 0..ROUNDS {
                // Not constant: now and then it is busy.
                trace.exit(status, &[if i % 100 == 50 { 0 } else { 0x60 }], 3000, 900);
                trace.exit(data, &[i as u8], 3000, 900);
            }
        })
    };
    let same = ROUNDS - 5;
    assert_eq!(rules(&print(true)), [("burst", same / 2, same * 15 / 16)]);
    assert_eq!(rules(&print(false)), []);
}

#[test]
fn a_write_that_steers_interrupts_cannot_wait_and_one_that_notifies_is_told() {
    let write = |address: u64| {
        told(move |trace, site| {
            let written = site(trace, ExitKind::PortWrite, address);
            let other = site(trace, ExitKind::PortRead, 0x9000);
            for i in 0..ROUNDS {
                trace.exit(written, &[i as u8], 3000, 900);
                trace.exit(other, &[i as u8], 3000, 900);
            }
        })
    };
    assert_eq!(rules(&write(0x20)), [], "the PIC's EOI");
    assert_eq!(rules(&write(0x600)), [("notify", ROUNDS, ROUNDS)]);
}

#[test]
fn clock_reads_are_the_recorders() {
    let told = told(|trace, site| {
        let clock = site(trace, ExitKind::ClockRead, 0);
        (0..ROUNDS).for_each(|i| trace.exit(clock, &i.to_le_bytes(), 3000, 900));
    });
    assert_eq!(rules(&told), [("recorder", ROUNDS, ROUNDS)]);
}
