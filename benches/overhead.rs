//! What recording costs over running, running over a bare KVM_RUN loop, and whether a replay keeps up.
//!
//! `cargo bench --bench overhead` (31 rounds of 20,000 exits; `-- 101` for another number of rounds). A round runs the same
//! guest, one port read after the other, in each way; the order turns from round to round. Ratios are taken within a round:
//! what else the machine does hits both sides.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::bare::Bare;
use support::runs::{Host, Job, Run, record, replay_trace};
use support::statistics::Summary;
use trapline_formats::ClockMode;
use trapline_machine::statistics;

const EXITS: u64 = 20_000;
const ROUNDS: usize = 31;
/// SeaBIOS takes its time, and a HLT is a HLT on any machine.
const SEABIOS_ROUNDS: usize = 5;

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(ROUNDS);
    let host = Host::open();
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("run.trap");
    println!("{}\n{rounds} rounds of {EXITS} port reads\n", host.describe());

    let job = Job::port_loop(EXITS);
    let mut bare = Bare::new(&host.kvm, &job.guest);
    bare.run(EXITS / 10);
    record(&host, &job, Some(&trace));
    let mut runs: [Vec<Run>; 4] = Default::default();
    for round in 0..rounds {
        for i in 0..4 {
            let way = if round % 2 == 0 { i } else { 3 - i };
            runs[way].push(match way {
                0 => Run::timed(EXITS, || bare.run(EXITS)),
                1 => record(&host, &job, None),
                2 => record(&host, &job, Some(&trace)),
                _ => replay_trace(&host, &trace),
            });
        }
    }
    println!("{:<28} {:>8} {:>8}   us per exit, median", "", "wall", "CPU");
    let names = ["bare KVM_RUN loop", "record --no-log", "record", "replay"];
    for (name, runs) in names.iter().zip(&runs) {
        let median =
            |time: Time| statistics::median(runs.iter().map(|r| time(r) * 1e6 / r.exits as f64).collect());
        println!("{name:<28} {:>8.3} {:>8.3}", median(WALL), median(CPU));
    }
    println!(
        "\n{:<42} {:>7} {:>9} {:>7} {:>7}   target",
        "ratio", "median", "95% below", "lowest", "highest"
    );
    let [bare, plain, recorded, replayed] = &runs;
    lines("record : --no-log", recorded, plain, Target::UpperBound(1.05));
    lines("--no-log : bare loop", plain, bare, Target::Median(1.10));
    lines("record : bare loop", recorded, bare, Target::None);
    lines("replay : record", replayed, recorded, Target::Median(1.0));
    for (name, clock) in [("host", ClockMode::Host), ("virtual", ClockMode::Virtual)] {
        let Some(job) = Job::seabios(clock) else {
            println!("SeaBIOS is not installed: tests/guests/fetch.sh");
            break;
        };
        let (mut recorded, mut replayed) = (Vec::new(), Vec::new());
        for _ in 0..SEABIOS_ROUNDS {
            recorded.push(record(&host, &job, Some(&trace)));
            replayed.push(replay_trace(&host, &trace));
        }
        let name = format!("replay : record, SeaBIOS, {name} clock");
        lines(&name, &replayed, &recorded, Target::Median(1.0));
    }
}

/// One of the times of a run, in seconds.
type Time = fn(&Run) -> f64;
const WALL: Time = |run| run.time.as_secs_f64();
const CPU: Time = |run| run.cpu.as_secs_f64();

#[derive(Clone, Copy)]
enum Target {
    /// For the upper bound of the median.
    UpperBound(f64),
    /// For the median itself.
    Median(f64),
    None,
}

/// Wall-clock time is what is judged; the time of the vCPU's thread says how much of it was other programs' doing.
fn lines(name: &str, over: &[Run], under: &[Run], target: Target) {
    line(name, over, under, WALL, target);
    line("    CPU time of the vCPU's thread", over, under, CPU, target);
}

fn line(name: &str, over: &[Run], under: &[Run], time: Time, target: Target) {
    let s = Summary::of(over.iter().zip(under).map(|(a, b)| time(a) / time(b)).collect());
    let (value, limit, what) = match target {
        Target::UpperBound(limit) => (s.upper_95, limit, "95% below"),
        Target::Median(limit) => (s.median, limit, "median"),
        Target::None => (0.0, f64::INFINITY, ""),
    };
    let verdict = if value <= limit { "met" } else { "MISSED" };
    let target = if what.is_empty() { String::new() } else { format!("{what} <= {limit:.2}: {verdict}") };
    let bound = if s.upper_95.is_finite() { format!("{:.3}", s.upper_95) } else { "-".into() };
    println!("{name:<42} {:>7.3} {bound:>9} {:>7.3} {:>7.3}   {target}", s.median, s.lowest, s.highest);
}
