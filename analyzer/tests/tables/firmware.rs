//! A guest that polls a serial port, prints, reads the APIC, the disk and the RTC, and sleeps.

use crate::common::{Noise, SyntheticTrace, halted, header};
use std::path::{Path, PathBuf};
use trapline_analyzer::{By, Report};
use trapline_formats::{End, Event, ExitKind, Header, Space, Trace, Unclaimed};

/// Polls of the serial port; one in eight is followed by a character.
pub const POLLS: u64 = 3000;
/// HLTs, each woken by an interrupt.
pub const SLEEPS: u64 = 60;
/// MSR reads that fault, RTC reads and sectors read.
pub const RARE: u64 = 6;
/// The guest computes this long before its last exit.
pub const COMPUTING: u64 = 50_000_000;

/// The trace, not yet ended.
pub fn trace(path: &Path, header: &Header) -> SyntheticTrace {
    let mut trace = SyntheticTrace::create(path, header);
    let poll = trace.site(ExitKind::PortRead, 0x3fd, 1, 0xf_1234, &[0xec]);
    let print = trace.site(ExitKind::PortWrite, 0x3f8, 1, 0xf_1240, &[0xee]);
    let eoi = trace.site(
        ExitKind::MmioWrite,
        0xfee0_00b0,
        4,
        0xffff_ffff_8104_2a10,
        &[0x89, 0xb7, 0, 0xd0, 0x5f, 0xff],
    );
    let msr = trace.site(ExitKind::MsrRead, 0xce, 8, 0xffff_ffff_8100_1000, &[0x0f, 0x32]);
    let rtc = trace.site(ExitKind::PortRead, 0x71, 1, 0xf_2000, &[0xe4, 0x71]);
    let disk = trace.site(ExitKind::PortRead, 0x1f0, 2, 0xf_3000, &[0xf3, 0x66, 0x6d]);
    let sleep = trace.site(ExitKind::Halt, 0, 0, 0xf_4000, &[0xf4]);
    let post = trace.site(ExitKind::PortWrite, 0x4321, 1, 0xf_1240, &[0xee]);
    let mut noise = Noise(1);
    for i in 0..POLLS {
        let ready = i % 8 == 7;
        trace.exit(poll, &[if ready { 0x60 } else { 0 }], 3000 + noise.below(200), 900 + noise.below(50));
        if ready {
            trace.exit(print, b"x", 3100 + noise.below(300), 1500 + noise.below(400));
        }
        if i % (POLLS / SLEEPS) == 0 {
            trace.exit(sleep, &[], 20_000 + noise.below(1000), 2_000_000 + noise.below(500_000));
            trace.event(&Event::Interrupt { vector: 0x20 });
            trace.exit(eoi, &[0; 4], 8000 + noise.below(500), 700);
        }
        if i % (POLLS / RARE) == 0 {
            trace.exit_or_fault(msr, &[0; 8], true, 400_000, 500);
            trace.exit(rtc, &[i as u8], 3200, 650);
            trace.exit(disk, &[7; 512], 9000, 12_000);
        }
    }
    trace.exit(post, &[0xaa], COMPUTING, 400);
    trace
}

/// How it ends.
pub fn end() -> End {
    let unclaimed = |space, address, reads, writes| Unclaimed { space, address, reads, writes };
    End {
        rewrites: Vec::new(),
        unclaimed: vec![
            unclaimed(Space::Port, 0x4321, 0, 1),
            unclaimed(Space::Port, 0x1f0, RARE, 0),
            unclaimed(Space::Msr, 0xce, RARE, 0),
        ],
        ..halted()
    }
}

/// The whole trace in a directory of its own.
pub fn recorded() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = trace(&dir.path().join("run.trap"), &header()).end(end());
    (dir, path)
}

/// A report of a trace.
pub fn report(path: &Path, by: By) -> Report {
    Report::from_trace(&Trace::open(path).unwrap(), by, &mut |_| {}).unwrap()
}

/// Reads the cells of a table.
pub struct Cells<'a>(pub &'a trapline_analyzer::DataFrame);

impl Cells<'_> {
    pub fn u64s(&self, column: &str) -> Vec<Option<u64>> {
        self.0.column(column).unwrap().u64().unwrap().iter().collect()
    }

    pub fn f64s(&self, column: &str) -> Vec<Option<f64>> {
        self.0.column(column).unwrap().f64().unwrap().iter().collect()
    }

    pub fn u32s(&self, column: &str) -> Vec<Option<u32>> {
        self.0.column(column).unwrap().u32().unwrap().iter().collect()
    }

    pub fn bools(&self, column: &str) -> Vec<Option<bool>> {
        self.0.column(column).unwrap().bool().unwrap().iter().collect()
    }

    pub fn strs(&self, column: &str) -> Vec<Option<&str>> {
        self.0.column(column).unwrap().str().unwrap().iter().collect()
    }

    /// The row of a site.
    pub fn row_of(&self, disassembly: &str) -> usize {
        self.strs("disassembly").iter().position(|d| *d == Some(disassembly)).unwrap()
    }
}
