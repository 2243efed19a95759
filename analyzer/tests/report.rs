//! Reports of small traces.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Noise, SyntheticTrace, halted, header};
use std::path::Path;
use trapline_analyzer::{By, Report};
use trapline_formats::{End, Event, ExitKind, Space, Trace, Unclaimed};

/// A guest that polls a serial port, prints, reads its APIC and the RTC, and sleeps.
fn firmware(path: &Path) -> SyntheticTrace {
    let mut trace = SyntheticTrace::create(path, &header());
    let poll = trace.site(ExitKind::PortRead, 0x3fd, 1, 0xf_1234, &[0xec]);
    let print = trace.site(ExitKind::PortWrite, 0x3f8, 1, 0xf_1240, &[0xee]);
    let eoi = trace.site(
        ExitKind::MmioWrite,
        0xfee0_00b0,
        4,
        0xffff_ffff_8104_2a10,
        &[0xc7, 0x05, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    let msr = trace.site(ExitKind::MsrRead, 0xce, 8, 0xffff_ffff_8100_1000, &[0x0f, 0x32]);
    let rtc = trace.site(ExitKind::PortRead, 0x71, 1, 0xf_2000, &[0xe4, 0x71]);
    let disk = trace.site(ExitKind::PortRead, 0x1f0, 2, 0xf_3000, &[0xf3, 0x66, 0x6d]);
    let post = trace.site(ExitKind::PortWrite, 0x4321, 1, 0xf_0010, &[0xee]);
    let sleep = trace.site(ExitKind::Halt, 0, 0, 0xf_4000, &[0xf4]);
    let mut noise = Noise(1);
    for i in 0..3000u64 {
        trace.exit(
            poll,
            &[if i % 8 == 7 { 0x60 } else { 0 }],
            3000 + noise.below(200),
            900 + noise.below(50),
        );
        if i % 8 == 7 {
            trace.exit(print, b"x", 3100 + noise.below(300), 1500 + noise.below(400));
        }
        if i % 50 == 0 {
            trace.exit(sleep, &[], 20_000 + noise.below(1000), 2_000_000 + noise.below(500_000));
            trace.event(Event::Interrupt { vector: 0x20 });
            trace.exit(eoi, &[0; 4], 8000 + noise.below(500), 700);
        }
        if i % 500 == 0 {
            trace.exit_or_fault(msr, &[0; 8], true, 400_000, 500);
            trace.exit(rtc, &[i as u8], 3200, 650);
            trace.exit(disk, &[7; 512], 9000, 12_000);
        }
    }
    trace.exit(post, &[0xaa], 50_000_000, 400);
    trace
}

fn unclaimed(space: Space, address: u64, reads: u64, writes: u64) -> Unclaimed {
    Unclaimed { space, address, reads, writes }
}

fn firmware_end() -> End {
    End {
        unclaimed: vec![
            unclaimed(Space::Port, 0x4321, 0, 1),
            unclaimed(Space::Port, 0x1f0, 6, 0),
            unclaimed(Space::Msr, 0xce, 6, 0),
        ],
        ..halted()
    }
}

fn report(path: &Path, by: By) -> Report {
    Report::from_trace(&Trace::open(path).unwrap(), by, &mut |_| {}).unwrap()
}

#[test]
fn the_report_by_site_reads_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = firmware(&dir.path().join("run.trap")).end(firmware_end());
    println!("{}", report(&path, By::Site).to_text(Some(5), 100));
    for by in By::ALL {
        println!("{}", report(&path, by).to_text(None, 100));
    }
    println!("{}", report(&path, By::Site).to_text(None, 150));
    println!("{}", report(&path, By::Site).to_text(None, 60));
}
