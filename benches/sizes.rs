//! Bytes per exit of each stream, before and after compression.
//!
//! `cargo bench --bench sizes`
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;
use support::runs::{Host, Job, record};
use trapline_formats::envelope::{BLOCK_HEADER_BYTES, BlockType};
use trapline_formats::{ClockMode, Trace};

const EXITS: u64 = 200_000;

fn main() {
    let host = Host::open();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.trap");
    println!("{}\n\nbytes per exit, block headers included in what is stored\n", host.describe());
    println!("{:<10} {:<8} {:>10} {:>8} {:>8}   target", "guest", "stream", "exits", "raw", "stored");
    let seabios = Job::seabios(ClockMode::Host);
    for job in [Some(Job::port_loop(EXITS)), seabios, Some(Job::demo())].into_iter().flatten() {
        record(&host, &job, Some(&path));
        let is_polling_loop = job.max_exits.is_some();
        sizes(job.name, &path, is_polling_loop);
    }
}

fn sizes(name: &str, path: &Path, is_polling_loop: bool) {
    let trace = Trace::open(path).unwrap();
    let exits = trace.end().unwrap().exits as f64;
    // (stream, most bytes raw, most bytes stored)
    let input_stored = if is_polling_loop { 1.0 } else { f64::INFINITY };
    let streams = [
        (BlockType::Inputs, "input", 4.0, input_stored),
        (BlockType::Timing, "timing", 4.0, f64::INFINITY),
        (BlockType::Digests, "digests", 8.0, f64::INFINITY),
    ];
    for (kind, stream, most_raw, most_stored) in streams {
        let blocks = || trace.blocks().iter().filter(move |b| b.header.kind == kind as u16);
        let raw = blocks().map(|b| f64::from(b.header.raw)).sum::<f64>() / exits;
        let stored =
            blocks().map(|b| f64::from(b.header.stored) + BLOCK_HEADER_BYTES as f64).sum::<f64>() / exits;
        let verdict = if raw <= most_raw && stored <= most_stored { "met" } else { "MISSED" };
        let target = if most_stored.is_finite() {
            format!("raw <= {most_raw}, stored <= {most_stored}")
        } else {
            format!("raw <= {most_raw}")
        };
        println!("{name:<10} {stream:<8} {exits:>10} {raw:>8.3} {stored:>8.3}   {target}: {verdict}");
    }
    println!("{name:<10} {:<8} {exits:>10} {:>8} {:>8.3}", "file", "", trace.bytes() as f64 / exits);
}
