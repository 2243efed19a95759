//! What interrupts between exits cost: carrying a position when recording, taking it over when replaying.
//!
//! `cargo bench --bench positions` (20 rounds of each guest; `-- 50` for another number); `tests/lab/bench svm positions` in the
//! lab.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;
use support::runs::{Host, Job, record_preempted, replay_preempted};
use support::statistics::Summary;
use trapline_formats::Spread;
use trapline_guests::{Guest, compute_64, copy_64, user_64, wait_word_64};

const ROUNDS: usize = 20;

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(ROUNDS);
    let host = Host::open();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.trap");
    println!(
        "{}\n{rounds} rounds of each guest; medians and p99s of a round, their median over the rounds\n",
        host.describe()
    );
    let [carry, take, execute] = ["carry", "take", "execute"].map(|title| format!("{title} µs"));
    println!(
        "{:<14} {:>9} {:>9} {:>7} {:>7} {carry:>9} {:>9} {take:>9} {:>9} {:>9} {execute:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "guest",
        "positions",
        "deferred",
        "pages",
        "bytes",
        "p99",
        "p99",
        "executed",
        "p99",
        "or else",
        "p99",
        "late µs",
        "p99"
    );
    for guest in [compute_64(), wait_word_64(), user_64(), copy_64()] {
        measure(&host, &guest, &path, if guest.name == "copy_64" { rounds.div_ceil(10) } else { rounds });
    }
}

fn measure(host: &Host, guest: &Guest, path: &Path, rounds: usize) {
    let job = Job::computing(guest);
    // Carried when recording; taken over without an attempt; executed, and taken over after an attempt.
    let mut times = [(); 4].map(|()| Vec::new());
    let mut late = Vec::new();
    let (mut positions, mut executed, mut deferred, mut pages, mut bytes, mut interrupts) =
        (0, 0, 0, 0, 0, 0);
    for _ in 0..rounds {
        let (preemption, size) = record_preempted(host, &job, path);
        let [_, taken] = replay_preempted(host, path, false);
        let [came, failed] = replay_preempted(host, path, true);
        executed += came.count;
        for (all, one) in times.iter_mut().zip([preemption.positions, taken, came, failed]) {
            if one.count > 0 {
                all.push(one);
            }
        }
        late.push(preemption.lateness);
        positions += preemption.positions.count;
        interrupts += preemption.lateness.count;
        deferred += preemption.deferred;
        pages += preemption.pages;
        bytes += size;
    }
    let each = |n: u64| n as f64 / positions.max(1) as f64;
    let share = |n: u64, of: u64| format!("{:.1} %", 100.0 * n as f64 / of.max(1) as f64);
    let [carry, take, come, fail] = times.map(|spreads| columns(&spreads));
    println!(
        "{:<14} {positions:>9} {:>9} {:>7.1} {:>7.0} {carry} {take} {:>9}  {come} {fail} {}",
        guest.name,
        share(deferred, interrupts),
        each(pages),
        each(bytes),
        share(executed, positions),
        columns(&late),
    );
}

/// Median and 99th percentile, in microseconds.
fn columns(spreads: &[Spread]) -> String {
    if spreads.is_empty() {
        return format!("{:>9} {:>9}", "–", "–");
    }
    let median =
        |of: fn(&Spread) -> u64| Summary::of(spreads.iter().map(|s| of(s) as f64 / 1e3).collect()).median;
    format!("{:>9.0} {:>9.0}", median(|s| s.median_ns), median(|s| s.p99_ns))
}
