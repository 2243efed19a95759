//! What recording costs a guest that reads a disk, and how fast its replay is.
//!
//! `cargo bench --bench disk` (11 rounds; `-- 31` for another number). The guest (`tests/guests/src/virtio_disk.s`) reads a disk of
//! 64 MiB from end to end, 64 KiB at a time, and does nothing else: the worst case. A round reads it in each way, in alternating order;
//! the ratio is taken per round.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Write;
use support::runs::{Host, Job, Run, record, replay_with};
use support::statistics::Summary;
use trapline_machine::statistics;
use trapline_replayer::ReplayOptions;

const ROUNDS: usize = 11;
const MIB: usize = 64;
/// Of the throughput without a log.
const LEAST: f64 = 0.8;

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(ROUNDS);
    let host = Host::open();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.img");
    fill(&image);
    let (trace, held) = (folder.path().join("run.trap"), folder.path().join("held.trap"));
    println!("{}\n{rounds} rounds of {MIB} MiB\n", host.describe());
    let (referring, holding) = (Job::disk(&image, false), Job::disk(&image, true));
    let options = ReplayOptions { disks: vec![image.clone()], ..ReplayOptions::default() };
    record(&host, &referring, Some(&trace));
    let mut runs: [Vec<Run>; 4] = Default::default();
    for round in 0..rounds {
        for i in 0..4 {
            let way = if round % 2 == 0 { i } else { 3 - i };
            runs[way].push(match way {
                0 => record(&host, &referring, None),
                1 => record(&host, &referring, Some(&trace)),
                2 => replay_with(&host, &trace, &options),
                _ => record(&host, &holding, Some(&held)),
            });
        }
    }
    let [plain, recorded, replayed, held_runs] = &runs;
    println!("{:<24} {:>8} {:>8}   MiB/s, median", "", "wall", "CPU");
    let ways = [plain, recorded, replayed, held_runs];
    for (name, runs) in ["record --no-log", "record", "replay", "record --disk-in-trace"].iter().zip(ways) {
        let median = |time: Time| statistics::median(runs.iter().map(|r| MIB as f64 / time(r)).collect());
        println!("{name:<24} {:>8.0} {:>8.0}", median(WALL), median(CPU));
    }
    println!("\n{:<46} {:>7} {:>7} {:>7}   target", "throughput", "median", "lowest", "highest");
    line("record : --no-log", plain, recorded, WALL, LEAST);
    line("    CPU time of the vCPU's thread", plain, recorded, CPU, LEAST);
    line("record --disk-in-trace : --no-log", plain, held_runs, WALL, 0.0);
    line("    CPU time of the vCPU's thread", plain, held_runs, CPU, 0.0);
    line("replay : record", recorded, replayed, WALL, 1.0);
    line("    CPU time of the vCPU's thread", recorded, replayed, CPU, 0.0);
    let bytes = |path| std::fs::metadata(path).unwrap().len();
    println!("trace: {} bytes, with the disk in it {} bytes", bytes(&trace), bytes(&held));
}

/// One of the times of a run, in seconds.
type Time = fn(&Run) -> f64;
const WALL: Time = |run| run.time.as_secs_f64();
const CPU: Time = |run| run.cpu.as_secs_f64();

/// The throughput of one way over that of another, round by round.
fn line(name: &str, under: &[Run], over: &[Run], time: Time, least: f64) {
    let s = Summary::of(under.iter().zip(over).map(|(a, b)| time(a) / time(b)).collect());
    let verdict = if s.median >= least { "met" } else { "MISSED" };
    let target = if least > 0.0 { format!("median >= {least}: {verdict}") } else { String::new() };
    println!("{name:<46} {:>7.3} {:>7.3} {:>7.3}   {target}", s.median, s.lowest, s.highest);
}

/// An image in which no sector is like another, and half of each compresses.
fn fill(path: &std::path::Path) {
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for word in 0..MIB << 17 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        file.write_all(&(if word % 64 < 32 { random } else { 0 }).to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}
