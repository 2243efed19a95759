//! Recordings of one engine, replayed on another. `tests/lab/cross` carries the traces from lab to lab; by themselves the two
//! halves mean nothing, so both are ignored unless asked for.
//!
//! `TRAPLINE_CROSS` is the folder of the traces, one file for each guest and clock, named by both.

use crate::support::host::{Extent, Host, host};
use crate::support::recorded::{Recorded, record};
use crate::support::replayed::attempt;
use std::path::{Path, PathBuf};
use trapline_formats::{ClockMode, CpuidEntry, Trace};
use trapline_guests::Guest;
use trapline_machine::fixed_table;
use trapline_replayer::{ReplayError, ReplayOptions};

fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os("TRAPLINE_CROSS").expect("TRAPLINE_CROSS names the folder of the traces"))
}

/// Guests that show most of what differs between engines: those of a quick run.
const HANDFUL: [&str; 14] = [
    "string_ports_16",
    "tsc_32",
    "timer_window_64",
    "software_interrupts_16",
    "fpu_64",
    "sse_32",
    "mmio_sse_64",
    "cmpxchg16b_64",
    "faults_32",
    "x2apic_64",
    "task_priority_32",
    "triple_fault_64",
    "xsave_32",
    "sse4a_64",
];

fn guests() -> Vec<Guest> {
    let mut guests = trapline_guests::all();
    if Extent::of_environment() == Extent::Quick {
        guests.retain(|guest| HANDFUL.contains(&guest.name));
        assert_eq!(guests.len(), HANDFUL.len());
    }
    guests
}

/// Under the virtual clock, too, where there is time for it.
fn clocks() -> &'static [(ClockMode, &'static str)] {
    const BOTH: [(ClockMode, &str); 2] = [(ClockMode::Host, "host"), (ClockMode::Virtual, "virtual")];
    if Extent::of_environment() == Extent::Full { &BOTH } else { &BOTH[..1] }
}

#[test]
#[ignore = "the first half of tests/lab/cross"]
fn record_for_another_engine() {
    let Some(host) = host() else { return };
    for (clock, name) in clocks() {
        for guest in guests() {
            keep(&record(&host, &guest, *clock), &format!("{}.{name}", guest.name));
        }
        keep(&crate::seabios::boot(&host, "bios.bin", *clock), &format!("bios.{name}"));
    }
}

fn keep(recorded: &Recorded, name: &str) {
    std::fs::copy(&recorded.path, folder().join(name).with_added_extension("trap")).unwrap();
}

#[test]
#[ignore = "the second half of tests/lab/cross"]
fn replay_what_another_engine_recorded() {
    let Some(host) = host() else { return };
    let mut traces: Vec<_> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    traces.sort();
    assert!(!traces.is_empty(), "no traces");
    let failed: Vec<_> = traces.iter().filter_map(|path| failure(&host, path)).collect();
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), traces.len(), failed.join("\n\n"));
    println!("{} traces replayed exactly", traces.len());
}

/// Why a trace neither replays nor is refused as it should.
fn failure(host: &Host, path: &Path) -> Option<String> {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let missing = missing_feature(host, path, &name);
    match (attempt(host, path, &ReplayOptions::default()), missing) {
        (Ok(Ok(_)), None) => None,
        (Err(ReplayError::Lacks { feature, .. }), Some(missing)) if feature == missing => {
            println!("{name}: refused for {missing}");
            None
        }
        (Ok(Ok(_)), Some(missing)) => Some(format!("{name}: replayed, though {missing} is not here")),
        (Ok(Err(divergence)), _) => Some(format!("{name}: {divergence}")),
        (Err(error), _) => Some(format!("{name}: {error}")),
    }
}

/// Guests that use a feature wherever they are offered it: (file, feature, its CPUID leaf, register, bit).
const USERS: [(&str, &str, u32, usize, u32); 2] =
    [("sse4a_", "SSE4A", 0x8000_0001, 2, 6), ("xsave_", "XSAVE", 1, 2, 26)];

/// The feature that the guest of a trace used, where this host lacks it.
fn missing_feature(host: &Host, path: &Path, name: &str) -> Option<&'static str> {
    let (_, feature, leaf, register, bit) = USERS.into_iter().find(|user| name.starts_with(user.0))?;
    let has = |table: &[CpuidEntry]| {
        table.iter().any(|e| (e.leaf, e.subleaf) == (leaf, 0) && e.registers[register] >> bit & 1 != 0)
    };
    let offered = has(&Trace::open(path).unwrap().header().cpuid);
    (offered && !has(&fixed_table(host.kvm).unwrap())).then_some(feature)
}
