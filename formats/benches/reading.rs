//! How fast a trace is read, and how long its writer lets a guest wait.
//!
//! `cargo bench -p trapline-formats` (2,000,000 exits; `-- 10000000` for another number). One thread reads whole traces, checksums and
//! decompression included, from files in the page cache. *Decoded* bytes are those that the reader holds of an exit afterwards: 16 and
//! its data in the input stream, 136 in the digests, 16 in the timing. The best of five.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};
use trapline_formats::digests::Compared;
use trapline_formats::envelope::BlockType;
use trapline_formats::{
    Batch, CpuMode, Event, ExitKind, Gva, Header, Instruction, RawExit, Registers, Site, Timing, Trace,
    TraceWriter,
};

const RUNS: usize = 5;
const CHUNK: u64 = 4096;
const TARGET_MB_S: f64 = 300.0;

fn main() {
    let exits = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(2_000_000);
    let dir = std::env::temp_dir().join(format!("trapline-reading-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    println!("{exits} exits; target {TARGET_MB_S} decoded MB/s on one core");
    println!(
        "{:<8} {:<9} {:>9} {:>10} {:>10} {:>12}",
        "guest", "stream", "MB", "stored MB", "Mexits/s", "decoded MB/s"
    );
    let mut missed = false;
    for (name, guest) in [("polling", polling as Guest), ("mixed", mixed as Guest)] {
        let path = dir.join(format!("{name}.trap"));
        let wait = write(&path, exits, guest);
        for (stream, read) in [
            ("inputs", inputs as Read),
            ("digests", digests as Read),
            ("timing", timing as Read),
            ("replay", replay as Read),
        ] {
            let (time, bytes) = (0..RUNS).map(|_| timed(&path, read)).min().unwrap();
            let (mb, seconds) = (bytes as f64 / 1e6, time.as_secs_f64());
            missed |= mb / seconds < TARGET_MB_S;
            println!(
                "{name:<8} {stream:<9} {mb:>9.1} {:>10.2} {:>10.1} {:>12.0}",
                stored(&path) as f64 / 1e6,
                exits as f64 / seconds / 1e6,
                mb / seconds
            );
        }
        println!("{name:<8} writing: {wait}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
    println!("{}", if missed { "MISSED" } else { "met" });
}

/// Fills in the next exit: site, data, registers.
type Guest = fn(u64, &mut RawExit);
type Read = fn(&Trace) -> u64;

/// Reads a status port for ever.
fn polling(_: u64, exit: &mut RawExit) {
    (exit.site, exit.value) = (0, 0x60);
    exit.registers = Registers { general: [7; 16], rip: 0x1000, rflags: 2 };
}

/// Goes round 40 sites, as a driver does: addresses and counters move on, some data is new every time.
fn mixed(number: u64, exit: &mut RawExit) {
    exit.site = (number % 40) as u32;
    exit.value =
        if number.is_multiple_of(3) { number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56 } else { 0x60 };
    let general = &mut exit.registers.general;
    general[0] = exit.value;
    general[2] = number / 40;
    if number.is_multiple_of(5) {
        general[6] = general[6].wrapping_add(8);
    }
    exit.registers.rip = 0x1000 + number % 40;
}

fn sites() -> Vec<Site> {
    let kinds = [ExitKind::PortRead, ExitKind::PortWrite, ExitKind::MmioRead, ExitKind::MmioWrite];
    let site = |i: u64| Site {
        kind: kinds[i as usize % kinds.len()],
        address: 0x3f8 + i,
        size: 1,
        rep: false,
        instruction: Instruction {
            address: Gva(0x1000 + i),
            bytes: vec![0xec],
            mode: CpuMode::Long64,
            cpl: 0,
        },
    };
    (0..40).map(site).collect()
}

/// Writes a trace as a recorder does that has nothing else to do; says how long it had to wait for the writer.
fn write(path: &Path, exits: u64, guest: Guest) -> String {
    let mut writer = TraceWriter::create(path, true).unwrap();
    writer.block(BlockType::Header, 0, postcard::to_stdvec(&Header::default()).unwrap()).unwrap();
    writer.sites(0, sites()).unwrap();
    let (mut waits, mut exit) =
        (Vec::new(), RawExit { spent: Timing { guest: 9000, vmm: 700 }, ..RawExit::default() });
    let started = Instant::now();
    let mut batches = Vec::new();
    for first in (0..exits).step_by(CHUNK as usize) {
        let mut batch =
            batches.pop().or_else(|| writer.spare()).unwrap_or_else(|| Batch::with_room(CHUNK as usize));
        for number in first..(first + CHUNK).min(exits) {
            guest(number, &mut exit);
            exit.spent.guest = 9000 + number * 37 % 500;
            *batch.next_exit() = exit;
            if number.is_multiple_of(100) {
                batch.event(Event::Interrupt { vector: 0x30 });
            }
        }
        let before = Instant::now();
        writer.exits(first, batch).unwrap();
        waits.push(before.elapsed());
        batches.extend(writer.spare());
    }
    writer.finish().unwrap();
    let each = started.elapsed() / waits.len() as u32;
    waits.sort_unstable();
    let (longest, median) = (waits[waits.len() - 1], waits[waits.len() / 2]);
    format!(
        "a chunk of {CHUNK} exits takes {each:.1?} from end to end; a guest that does nothing but exit waits {median:.1?} for the queue, at most {longest:.1?}"
    )
}

fn stored(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

fn timed(path: &Path, read: Read) -> (Duration, u64) {
    let trace = Trace::open(path).unwrap();
    let started = Instant::now();
    let bytes = read(&trace);
    (started.elapsed(), bytes)
}

fn inputs(trace: &Trace) -> u64 {
    let chunk = |chunk: trapline_formats::InputChunk| {
        let sum: u64 = chunk.exits().map(|e| 16 + e.data.len() as u64).sum();
        black_box(chunk.events().count());
        sum
    };
    trace.inputs().map(|c| chunk(c.unwrap())).sum()
}

/// Of the digests alone: they are decoded together with the inputs, whose time counts and whose bytes do not.
fn digests(trace: &Trace) -> u64 {
    trace
        .inputs_with_digests()
        .map(|c| (black_box(c.unwrap()).1.registers.len() * size_of::<Compared>()) as u64)
        .sum()
}

fn timing(trace: &Trace) -> u64 {
    trace.timing().map(|c| (black_box(c.unwrap()).1.len() * size_of::<Timing>()) as u64).sum()
}

/// All that a replay reads.
fn replay(trace: &Trace) -> u64 {
    let chunk =
        |(inputs, digests): (trapline_formats::InputChunk, trapline_formats::digests::DigestChunk)| {
            let data: u64 = inputs.exits().map(|e| 16 + e.data.len() as u64).sum();
            data + (digests.registers.len() * size_of::<Compared>()) as u64
        };
    trace.inputs_with_digests().map(|c| chunk(c.unwrap())).sum()
}
