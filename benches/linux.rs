//! What recording and replaying a Linux boot cost, how large its streams are, and how much of it we finish for KVM.
//!
//! `cargo bench --bench linux` (3 rounds; `-- 11` for another number); `tests/lab/bench svm linux 31` in the lab. Under the virtual
//! clock, so that every round takes the same exits; with the word `host`, as users record by default, where the guest sleeps now and
//! then. To the end of the shell script where user mode can call the kernel; to the
//! end of the first process elsewhere. Measured is all from making the machine to the last byte of the trace, and, of a replay, from
//! opening the trace to the end of its comparisons; reading the kernel's file, which is the same in each way, is not.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use support::runs::{Host, Job, Run, record, replay_trace};
use support::statistics::Summary;
use trapline_formats::envelope::{BLOCK_HEADER_BYTES, BlockType};
use trapline_formats::{ClockMode, ExitKind, Trace};

const ROUNDS: usize = 3;
/// Of the input stream, as stored.
const MOST_INPUT: f64 = 100e3;

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(ROUNDS);
    let host = Host::open();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.trap");
    let Some(mut job) = Job::linux(&host) else {
        println!("There is no Linux to boot: tests/guests/fetch.sh builds one");
        return;
    };
    if std::env::args().any(|a| a == "host") {
        job.clock = ClockMode::Host;
    }
    println!("{}\n{rounds} boots of Linux in each way, {:?} clock\n", host.describe(), job.clock);
    // What the first replay replays.
    record(&host, &job, Some(&path));
    let (mut plain, mut recorded, mut replayed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // What the run before leaves behind, each way finds as often.
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => plain.push(record(&host, &job, None)),
                1 => recorded.push(record(&host, &job, Some(&path))),
                _ => replayed.push(replay_trace(&host, &path)),
            }
        }
    }
    println!("{:<18} {:>9} {:>17} {:>9} {:>17}", "seconds", "wall", "", "CPU", "");
    for (name, runs) in [("record --no-log", &plain), ("record", &recorded), ("replay", &replayed)] {
        let [wall, cpu] = TIMES.map(|time| Summary::of(runs.iter().map(time).collect()));
        println!("{name:<18} {} {}", spread(wall), spread(cpu));
    }
    println!("\n{:<18} {:>9} {:>7} {:>9} {:>7}", "ratios", "wall", "bound", "CPU", "bound");
    ratio("record : --no-log", &recorded, &plain, 1.05);
    ratio("replay : record", &replayed, &recorded, 1.0);
    let trace = Trace::open(&path).unwrap();
    sizes(&trace);
    finished(&path, &trace, recorded.last().unwrap());
}

/// Wall time, and processor time of all threads: other programs disturb that less.
const TIMES: [fn(&Run) -> f64; 2] = [|r| r.time.as_secs_f64(), |r| r.all_cpu.as_secs_f64()];

fn spread(s: Summary) -> String {
    format!("{:>9.3} {:>8.3}..{:<7.3}", s.median, s.lowest, s.highest)
}

fn ratio(name: &str, over: &[Run], under: &[Run], most: f64) {
    let [wall, cpu] =
        TIMES.map(|time| Summary::of(over.iter().zip(under).map(|(a, b)| time(a) / time(b)).collect()));
    let verdict = if wall.median <= most { "met" } else { "MISSED" };
    println!(
        "{name:<18} {:>9.3} {:>7.3} {:>9.3} {:>7.3}   wall, median <= {most:.2}: {verdict}",
        wall.median, wall.upper_95, cpu.median, cpu.upper_95
    );
}

fn sizes(trace: &Trace) {
    println!("\n{:<10} {:>12} {:>12}   bytes", "stream", "raw", "stored");
    for (kind, name) in
        [(BlockType::Inputs, "input"), (BlockType::Timing, "timing"), (BlockType::Digests, "digests")]
    {
        let blocks = || trace.blocks().iter().filter(move |b| b.header.kind == kind as u16);
        let raw: f64 = blocks().map(|b| f64::from(b.header.raw)).sum();
        let stored: f64 = blocks().map(|b| f64::from(b.header.stored) + BLOCK_HEADER_BYTES as f64).sum();
        let verdict = match kind {
            BlockType::Inputs if stored <= MOST_INPUT => "   <= 100,000 stored: met",
            BlockType::Inputs => "   <= 100,000 stored: MISSED",
            _ => "",
        };
        println!("{name:<10} {raw:>12.0} {stored:>12.0}{verdict}");
    }
}

/// Exits by kind, and what finishing instructions for KVM takes of our time.
fn finished(path: &Path, trace: &Trace, run: &Run) {
    let mut exits = BTreeMap::<ExitKind, (u64, u64)>::new();
    let mut timing = trace.timing().flat_map(|chunk| chunk.unwrap().1);
    for chunk in trace.inputs() {
        for exit in chunk.unwrap().exits() {
            let (count, ticks) = exits.entry(trace.sites()[exit.site as usize].kind).or_default();
            *count += 1;
            *ticks += timing.next().map_or(0, |t| t.vmm);
        }
    }
    println!("\n{} exits, {} bytes of trace", run.exits, std::fs::metadata(path).unwrap().len());
    for (kind, (count, _)) in &exits {
        println!("{:<18} {count:>10}", kind.name());
    }
    let hz = trace.header().tick_hz as f64;
    if let Some((count, ticks)) = exits.get(&ExitKind::Unfinished) {
        let seconds = *ticks as f64 / hz;
        println!(
            "finished for KVM: {:.0} instructions a second while at it, {:.1} % of the run",
            *count as f64 / seconds,
            seconds / run.time.as_secs_f64() * 100.0
        );
    }
}
