//! What a report of many exits costs: time and memory of whole processes, beside a plain decode of the same trace.
//!
//! `cargo bench -p trapline-analyzer` (1,000,000 exits; `-- 100000000` for another number). Each line is the best of
//! three runs of this very program, started anew: process start, reading and, where it applies, the text are in it.
//! Ratios compare better across hosts than seconds do.
//!
//! With `TRAPLINE_DUCKDB=PYTHON`, a Python that has the module duckdb, DuckDB answers the question of the report by site
//! (count, sum and quantiles of both times) from the exported Parquet of the same trace. Two more traces: 10,000 instructions to
//! be named and disassembled, from this program's own code; and many sites with one exit each (`TRAPLINE_SITES`, 1,000,000), in every
//! form that reports and exports have.
#![allow(clippy::unwrap_used)]

#[path = "../tests/tables/common.rs"]
mod common;
#[path = "report/forms.rs"]
mod forms;

use common::{Noise, SyntheticTrace, halted, header};
use forms::FORMS;
use object::{Object, ObjectSection};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use trapline_analyzer::{By, Report, SymbolFile, Symbols};
use trapline_formats::{Event, ExitKind, Trace};

const TASKS: [&str; 4] = ["decode", "site", "device", "export"];
const RUNS: usize = 3;
const SITES: u64 = 2000;
/// Instructions that are to be named and disassembled in a second.
const NAMED: usize = 10_000;

/// The report by site, as a query: times are whole nanoseconds there.
const QUERY: &str = "SELECT site, count(*), sum(vmm_ns), quantile_disc(vmm_ns, [0.5, 0.9, 0.99]), sum(guest_ns), \
     quantile_disc(guest_ns, [0.5, 0.9, 0.99]) FROM read_parquet('{}') GROUP BY site ORDER BY 3 DESC";

fn main() {
    if let (Ok(task), Ok(trace)) = (std::env::var("TRAPLINE_TASK"), std::env::var("TRAPLINE_TRACE")) {
        return run(&task, Path::new(&trace));
    }
    let exits = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(1_000_000);
    let dir = tempfile::tempdir().unwrap();
    let path = synthesize(&dir.path().join("run.trap"), exits);
    let bytes = path.metadata().unwrap().len();
    println!("{exits} exits at {SITES} sites, {:.1} bytes an exit", bytes as f64 / exits as f64);
    println!(
        "{:<8} {:>9} {:>12} {:>9} {:>9} {:>8}",
        "task", "ms", "Mexits/s", "x decode", "CPU ms", "RSS MiB"
    );
    let mut decode = None;
    for task in TASKS {
        // An export of many exits takes its time.
        let runs = if task == "export" && exits > 10_000_000 { 1 } else { RUNS };
        let cost = best(task, &path, runs);
        line(task, exits, cost, *decode.get_or_insert(cost.time));
    }
    if let Ok(python) = std::env::var("TRAPLINE_DUCKDB") {
        let cost =
            (0..RUNS).map(|_| timed(&mut duckdb(&python, &path.with_extension("parquet")))).min().unwrap();
        line("DuckDB", exits, cost, decode.unwrap_or(cost.time));
    }
    std::fs::remove_file(&path).unwrap();

    let cost = best("name", &instructions(&dir.path().join("name.trap")), RUNS);
    println!("\n{NAMED} sites named and disassembled: {cost}");
    let sites = std::env::var("TRAPLINE_SITES").map_or(1_000_000, |n| n.parse().unwrap());
    let many = many_sites(&dir.path().join("sites.trap"), sites);
    println!("\n{sites} sites of one exit each: {}", best("site", &many, 1));
    for form in FORMS {
        let cost = best(form, &many, 1);
        let out = many.with_extension(form);
        println!("{form:<15} {cost}, a file of {} MiB", out.metadata().unwrap().len() >> 20);
        std::fs::remove_file(out).unwrap();
    }
}

/// What a process cost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    time: Duration,
    /// On all processors: what of the time other programs did not have.
    cpu: Duration,
    /// Peak resident memory in KiB.
    rss: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:.0} ms, {:.0} ms of CPU, {} MiB", ms(self.time), ms(self.cpu), self.rss / 1024)
    }
}

fn line(task: &str, exits: u64, cost: Cost, decode: Duration) {
    println!(
        "{task:<8} {:>9.1} {:>12.2} {:>9.2} {:>9.0} {:>8.1}",
        cost.time.as_secs_f64() * 1e3,
        exits as f64 / cost.time.as_secs_f64() / 1e6,
        cost.time.as_secs_f64() / decode.as_secs_f64(),
        cost.cpu.as_secs_f64() * 1e3,
        cost.rss as f64 / 1024.0
    );
}

/// Instructions of this program, spread over its code, one exit each.
fn instructions(path: &Path) -> PathBuf {
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let file = object::File::parse(&*program).unwrap();
    let code = file.section_by_name(".text").unwrap();
    let (start, bytes) = (code.address(), code.data().unwrap());
    let mut trace = SyntheticTrace::create(path, &header());
    for i in 0..NAMED {
        let place = i * ((bytes.len() - 15) / NAMED);
        let instruction = &bytes[place..place + 15];
        let site = trace.site(ExitKind::PortRead, 0x60, 1, start + place as u64, instruction);
        trace.exit(site, &[1], 3000, 800);
    }
    trace.end(halted())
}

/// Nothing but new sites.
fn many_sites(path: &Path, sites: u64) -> PathBuf {
    let mut trace = SyntheticTrace::create(path, &header());
    trace.chunk = 65_536;
    for i in 0..sites {
        let site = trace.site(ExitKind::PortRead, i & 0xffff, 1, 0x10_0000 + i, &[0xec]);
        trace.exit(site, &[1], 3000 + i % 100, 800);
    }
    trace.end(halted())
}

/// Firmware-like: polling loops, output, some MMIO and MSRs, a HLT now and then.
fn synthesize(path: &Path, exits: u64) -> PathBuf {
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

/// The best of some runs of a task, each in a process of its own: wall-clock time and peak resident memory in KiB.
fn best(task: &str, trace: &Path, runs: usize) -> Cost {
    let program = std::env::current_exe().unwrap();
    let run = |_| {
        let mut command = Command::new(&program);
        timed(command.env("TRAPLINE_TASK", task).env("TRAPLINE_TRACE", trace))
    };
    (0..runs).map(run).min().unwrap()
}

/// A program that prints its peak resident memory in KiB and its processor time in ms.
fn timed(command: &mut Command) -> Cost {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    let start = Instant::now();
    let output = command.output().unwrap();
    let time = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.split_whitespace().map(|n| n.parse().unwrap());
    let (rss, cpu) = (numbers.next().unwrap(), Duration::from_millis(numbers.next().unwrap()));
    Cost { time, cpu, rss }
}

fn duckdb(python: &str, parquet: &Path) -> Command {
    let query = QUERY.replace("{}", &parquet.display().to_string());
    let program = "import duckdb, resource, sys\n\
                   duckdb.sql('SET enable_progress_bar = false')\n\
                   duckdb.sql(sys.argv[1]).fetchall()\n\
                   used = resource.getrusage(resource.RUSAGE_SELF)\n\
                   print(used.ru_maxrss, int(1000 * (used.ru_utime + used.ru_stime)))";
    let mut command = Command::new(python);
    command.args(["-c", program, &query]);
    command
}

fn run(task: &str, path: &Path) {
    let trace = Trace::open(path).unwrap();
    assert_eq!(trace.damage(), None, "all of it is measured");
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
        "name" => {
            let own: SymbolFile = std::env::current_exe().unwrap().to_str().unwrap().parse().unwrap();
            let symbols = Symbols::load(&trace, &[own]).unwrap();
            let report = Report::with_symbols(&trace, By::Site, symbols, &mut |_| {}).unwrap();
            let named = report.table().column("symbol").unwrap().null_count();
            assert!(named < NAMED / 10, "{named} of {NAMED} have no name");
        }
        "export" => forms::write("parquet", &trace, &path.with_extension("parquet")),
        form => forms::write(form, &trace, &path.with_extension(form)),
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    // Fields 14 and 15 (proc_pid_stat(5)), in hundredths of a second; the name before them is in parentheses.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let cpu: u64 = fields[11..13].iter().map(|n| n.parse::<u64>().unwrap() * 10).sum();
    println!("{} {cpu}", peak.trim().trim_end_matches(" kB"));
}
