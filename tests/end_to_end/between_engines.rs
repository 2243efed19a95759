//! Recordings of one engine, replayed on another. `tests/lab/cross` carries the traces from lab to lab; by themselves the two
//! halves mean nothing, so both are ignored unless asked for.
//!
//! `TRAPLINE_CROSS` is the folder of the traces, one file for each guest and clock, named by both.

use crate::support::host::{Extent, Host, host};
use crate::support::recorded::{Recorded, record};
use crate::support::replayed::try_replay;
use std::path::{Path, PathBuf};
use trapline_formats::ClockMode;
use trapline_replayer::ReplayOptions;

fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os("TRAPLINE_CROSS").expect("TRAPLINE_CROSS names the folder of the traces"))
}

/// Under the virtual clock, too, where there is time for it.
fn clocks() -> &'static [(ClockMode, &'static str)] {
    const BOTH: [(ClockMode, &str); 2] = [(ClockMode::Host, "host"), (ClockMode::Virtual, "virtual")];
    if Extent::of_environment() == Extent::Quick { &BOTH[..1] } else { &BOTH }
}

#[test]
#[ignore = "the first half of tests/lab/cross"]
fn record_for_another_engine() {
    let Some(host) = host() else { return };
    for (clock, name) in clocks() {
        for guest in trapline_guests::all() {
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
    let mut traces: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    traces.sort();
    assert!(!traces.is_empty(), "no traces");
    let failed: Vec<_> = traces.iter().filter_map(|path| failure(&host, path)).collect();
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), traces.len(), failed.join("\n\n"));
    println!("{} traces replayed exactly", traces.len());
}

fn failure(host: &Host, path: &Path) -> Option<String> {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    match try_replay(host, path, &ReplayOptions::default()) {
        Ok(_) => None,
        Err(divergence) => Some(format!("{name}: {divergence}")),
    }
}
