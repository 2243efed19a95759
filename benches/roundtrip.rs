//! Ticks per exit round trip: a port read of a 64-bit guest, out of the guest, through Trapline, and back in.
//!
//! In the vmx lab a tick is an emulated instruction, so that the figure repeats exactly: `tests/lab/bench vmx` runs this there
//! and holds it. `TRAPLINE_ROUNDTRIP_LIMIT` is the most it may be; without it nothing is judged.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::ExitCode;
use support::bare::Bare;
use support::runs::{Host, Job, record};
use trapline_formats::Trace;
use trapline_machine::statistics::median;
use trapline_machine::ticks;

const EXITS: u64 = 30_000;
/// A few ticks of the kernel's timer fall into every chunk. The work of cutting the log falls into few: it comes all 4096
/// exits, and in the lab the writer's thread has to share the one processor.
const CHUNK: usize = 256;

fn main() -> ExitCode {
    let host = Host::open();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.trap");
    let job = Job::port_loop(EXITS);

    let mut bare = Bare::new(&host.kvm, &job.guest);
    bare.run(CHUNK as u64);
    let bare = median(
        (0..EXITS / CHUNK as u64).map(|_| per_exit(CHUNK as u64, || bare.run(CHUNK as u64))).collect(),
    );
    // A plain run keeps no time of its exits: the longer of two runs, less the shorter.
    let plain = |exits| {
        per_exit(1, || {
            record(&host, &Job::port_loop(exits), None);
        })
    };
    let plain = median((0..5).map(|_| (plain(2 * EXITS) - plain(EXITS)) / EXITS as f64).collect());
    record(&host, &job, Some(&path));
    let (recording, mean) = round_trip(&path);

    println!("{}", host.describe());
    println!("ticks per exit: bare loop {bare:.0}, record --no-log {plain:.0}, record {recording:.0}");
    println!("with checkpoints and the writer's thread, record {mean:.0} on average");
    match std::env::var("TRAPLINE_ROUNDTRIP_LIMIT").map(|l| l.parse::<f64>().unwrap()) {
        Ok(limit) if recording > limit => {
            println!("more than {limit}: an exit has become dearer, see docs/performance.md");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn per_exit(exits: u64, run: impl FnOnce()) -> f64 {
    let start = ticks();
    run();
    ticks().wrapping_sub(start) as f64 / exits as f64
}

/// From the timing stream: the mean of each chunk, and of these the median; and the mean of all.
fn round_trip(path: &Path) -> (f64, f64) {
    let trace = Trace::open(path).unwrap();
    let times: Vec<u64> = trace.timing().flat_map(|c| c.unwrap().1).map(|t| t.guest + t.vmm).collect();
    let mean = |times: &[u64]| times.iter().sum::<u64>() as f64 / times.len() as f64;
    (median(times.chunks_exact(CHUNK).map(mean).collect()), mean(&times))
}
