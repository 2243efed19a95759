//! What keyframes and checkpoints add to a recording, how long a seek takes, and what opening a large trace reads.
//!
//! `cargo bench --bench keyframes` (11 rounds; `-- 31` for another number); `tests/lab/bench svm keyframes` in the lab. A round
//! records the same guest with its complete state written down so often and without, in alternating order; the ratio is taken
//! within a round.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::num::NonZeroU64;
use std::path::Path;
use support::runs::{Host, Job, Run, record, seek};
use support::statistics::Summary;
use trapline_formats::envelope::BlockType;
use trapline_formats::{ClockMode, Trace, TraceWriter};
use trapline_recorder::Every;

const ROUNDS: usize = 11;
/// A guest takes its time to boot.
const BOOTS: usize = 3;
const LOOP_EXITS: u64 = 40_000;
/// Exits of the trace that is sought in.
const SEEK_EXITS: u64 = 100_000;
const SEEKS: u64 = 16;
const LARGE: u64 = 1 << 30;
/// Keyframes and checkpoints together, of the recording.
const MOST: f64 = 1.03;

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(ROUNDS);
    let host = Host::open();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.trap");
    println!("{}\n", host.describe());
    println!(
        "{:<34} {:>7} {:>9} {:>7} {:>7}   target",
        "with : without", "median", "95% below", "lowest", "highest"
    );
    for exits in [2048, 4096, 8192, 16_384] {
        let exits = NonZeroU64::new(exits).unwrap();
        let every = Every { keyframe: Some(exits), digest: exits };
        added(&host, &Job::port_loop(LOOP_EXITS), every, rounds, &path);
    }
    for job in [Job::seabios(ClockMode::Virtual), Job::linux(&host)].into_iter().flatten() {
        added(&host, &job, Every::default(), BOOTS, &path);
    }
    let job = Job::port_loop(SEEK_EXITS);
    record(&host, &job, Some(&path));
    seeks(&host, "port loop", SEEK_EXITS, &path);
    if let Some(job) = Job::linux(&host) {
        let exits = record(&host, &job, Some(&path)).exits;
        seeks(&host, job.name, exits, &path);
    }
    opening(&path);
}

/// What these add to a recording of this guest.
fn added(host: &Host, job: &Job, every: Every, rounds: usize, path: &Path) {
    let never = Every { keyframe: None, digest: NonZeroU64::MAX };
    let run = |every| record(host, &Job { every, ..job.clone() }, Some(path));
    run(every);
    let mut runs: [Vec<Run>; 2] = Default::default();
    for round in 0..rounds {
        for i in 0..2 {
            let is_with = (i + round) % 2 == 0;
            runs[usize::from(is_with)].push(run(if is_with { every } else { never }));
        }
    }
    run(every);
    let times = runs[1].iter().zip(&runs[0]);
    let s = Summary::of(
        times.map(|(with, without)| with.time.as_secs_f64() / without.time.as_secs_f64()).collect(),
    );
    let keyframes = every.keyframe.map_or(0, NonZeroU64::get);
    let name = format!("{}, {keyframes} and {}", job.name, every.digest);
    let verdict = if s.median <= MOST { "met" } else { "MISSED" };
    let bound = if s.upper_95.is_finite() { format!("{:.3}", s.upper_95) } else { "-".into() };
    println!(
        "{name:<34} {:>7.3} {bound:>9} {:>7.3} {:>7.3}   <= {MOST:.2}: {verdict}",
        s.median, s.lowest, s.highest
    );
    let trace = Trace::open(path).unwrap();
    let bytes: u64 = [BlockType::Contents, BlockType::Changes, BlockType::Keyframe]
        .iter()
        .flat_map(|kind| trace.blocks().iter().filter(|b| b.header.kind == *kind as u16))
        .map(|b| u64::from(b.header.stored))
        .sum();
    println!("    {} exits, {} keyframes, {bytes} bytes of them", runs[1][0].exits, trace.keyframes().len());
}

/// Opening the trace and standing at an exit, at places all over it.
fn seeks(host: &Host, name: &str, exits: u64, path: &Path) {
    let times = (0..SEEKS).map(|i| seek(host, path, exits / SEEKS * i + i * 37 % (exits / SEEKS)));
    let s = Summary::of(times.map(|run| run.time.as_secs_f64()).collect());
    let verdict = if s.highest < 1.0 { "met" } else { "MISSED" };
    println!(
        "\nseek in {exits} exits, {name}: {:.3} s, median; {:.3}..{:.3}; < 1 s: {verdict}",
        s.median, s.lowest, s.highest
    );
}

/// What opening a large trace reads of it.
fn opening(path: &Path) {
    {
        // Blocks of bytes that do not compress: a trace of this size, of whatever there is most.
        let small = Trace::open(path).unwrap();
        let header = postcard::to_stdvec(small.header()).unwrap();
        drop(small);
        let mut writer = TraceWriter::create(path, true).unwrap();
        writer.block(BlockType::Header, 0, header).unwrap();
        let mut x = 1u64;
        while writer.bytes_written() < LARGE {
            let next = |_| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (x >> 56) as u8
            };
            writer.block(BlockType::Console, 0, (0..32 << 10).map(next).collect()).unwrap();
        }
        writer.index().unwrap();
        writer.finish().unwrap();
    }
    let read = || {
        let io = std::fs::read_to_string("/proc/self/io").unwrap();
        io.lines().find_map(|l| l.strip_prefix("rchar: ")).unwrap().parse::<u64>().unwrap()
    };
    let before = read();
    let mut opened = None;
    let run = Run::timed(1, || opened = Some(Trace::open(path).unwrap()));
    let read = read() - before;
    let trace = opened.unwrap();
    assert!(trace.has_index());
    println!(
        "\nopening {} MB in {} blocks reads {read} bytes, {:.1} ms",
        trace.bytes() / 1_000_000,
        trace.blocks().len(),
        run.time.as_secs_f64() * 1e3
    );
}
