//! What a report of many exits costs: time and memory of whole processes, beside a plain decode of the same trace.
//!
//! `cargo bench -p trapline-analyzer` (1,000,000 exits; `-- 100000000` for another number). Each line is the best of
//! three runs of this very program, started anew: process start, reading and, where it applies, the text are in it.
//! Ratios compare better across hosts than seconds do.
#![allow(clippy::unwrap_used)]

#[path = "../tests/tables/common.rs"]
mod common;

use common::{Noise, SyntheticTrace, halted, header};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use trapline_analyzer::{By, Report, Symbols, export};
use trapline_formats::{Event, ExitKind, Trace};

const TASKS: [&str; 4] = ["decode", "site", "device", "export"];
const RUNS: usize = 3;
const SITES: u64 = 2000;

fn main() {
    if let (Ok(task), Ok(trace)) = (std::env::var("TRAPLINE_TASK"), std::env::var("TRAPLINE_TRACE")) {
        return run(&task, Path::new(&trace));
    }
    let exits = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(1_000_000);
    let dir = tempfile::tempdir().unwrap();
    let path = synthesize(&dir.path().join("run.trap"), exits);
    let bytes = path.metadata().unwrap().len();
    println!("{exits} exits at {SITES} sites, {:.1} bytes an exit", bytes as f64 / exits as f64);
    println!("{:<8} {:>9} {:>12} {:>9} {:>8}", "task", "ms", "Mexits/s", "x decode", "RSS MiB");
    let mut decode = None;
    for task in TASKS {
        let (time, rss) = (0..RUNS).map(|_| measure(task, &path)).min().unwrap();
        let decode = *decode.get_or_insert(time);
        println!(
            "{task:<8} {:>9.1} {:>12.2} {:>9.2} {:>8.1}",
            time.as_secs_f64() * 1e3,
            exits as f64 / time.as_secs_f64() / 1e6,
            time.as_secs_f64() / decode.as_secs_f64(),
            rss as f64 / 1024.0
        );
    }
}

/// Firmware-like: polling loops, output, some MMIO and MSRs, a HLT now and then.
fn synthesize(path: &Path, exits: u64) -> std::path::PathBuf {
    let mut trace = SyntheticTrace::create(path, &header());
    trace.chunk = 65_536;
    trace.timing_chunk = 65_536;
    let kinds = [ExitKind::PortRead, ExitKind::PortWrite, ExitKind::MmioRead, ExitKind::MsrWrite];
    let sites: Vec<u32> = (0..SITES)
        .map(|i| {
            let kind = kinds[(i % 4) as usize];
            trace.site(
                kind,
                0x100 + i,
                if kind == ExitKind::MsrWrite { 8 } else { 4 },
                0xf_0000 + 3 * i,
                &[0xed],
            )
        })
        .collect();
    let halt = trace.site(ExitKind::Halt, 0, 0, 0xe_0000, &[0xf4]);
    let mut noise = Noise(42);
    let mut left = exits;
    while left > 0 {
        // A loop of up to 64 rounds over three sites; the first sites are the busiest.
        let base = noise.below(SITES).min(noise.below(SITES)).min(noise.below(SITES));
        for i in 0..left.min(3 * (1 + noise.below(64))) {
            let site = sites[((base + i % 3) % SITES) as usize];
            let kind = kinds[(site % 4) as usize];
            let size = if kind == ExitKind::MsrWrite { 8 } else { 4 };
            let guest =
                3000 + noise.below(400) + if noise.below(100) == 0 { noise.below(1 << 20) } else { 0 };
            trace.exit(site, &(i / 7).to_le_bytes()[..size], guest, 800 + noise.below(300));
            left -= 1;
        }
        if left > 0 && noise.below(10) == 0 {
            trace.exit(halt, &[], 20_000, 2_000_000 + noise.below(1 << 20));
            trace.event(&Event::Interrupt { vector: 0x20 });
            left -= 1;
        }
    }
    trace.end(halted())
}

/// Runs a task in a process of its own: wall-clock time and peak resident memory in KiB.
fn measure(task: &str, trace: &Path) -> (Duration, u64) {
    let program = std::env::current_exe().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    let start = Instant::now();
    let output =
        Command::new(program).env("TRAPLINE_TASK", task).env("TRAPLINE_TRACE", trace).output().unwrap();
    let time = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (time, String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
}

fn run(task: &str, path: &Path) {
    let trace = Trace::open(path).unwrap();
    match task {
        "decode" => {
            let exits: u64 = trace
                .inputs()
                .map(|c| c.unwrap().exits().map(|e| 1 + e.data.len() as u64).sum::<u64>())
                .sum();
            let ticks: u64 = trace.timing().flat_map(|c| c.unwrap().1).map(|t| t.guest + t.vmm).sum();
            std::hint::black_box((exits, ticks));
        }
        "site" => drop(Report::from_trace(&trace, By::Site, &mut |_| {}).unwrap().to_text(Some(30), 100)),
        "device" => drop(Report::from_trace(&trace, By::Device, &mut |_| {}).unwrap().to_text(Some(30), 100)),
        _ => {
            let out = path.with_extension("parquet");
            export::parquet(&trace, &Symbols::none(), &out, true, &mut |_| {}).unwrap();
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    println!("{}", peak.trim().trim_end_matches(" kB"));
}
