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
    println!(
        "{:<14} {:>9} {:>9} {:>7} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "guest",
        "positions",
        "deferred",
        "pages",
        "bytes",
        "carry µs",
        "p99",
        "take µs",
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
    let (mut carried, mut taken, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let (mut positions, mut deferred, mut pages, mut bytes, mut interrupts) = (0, 0, 0, 0, 0);
    for _ in 0..rounds {
        let (preemption, size) = record_preempted(host, &job, path);
        taken.push(replay_preempted(host, path));
        carried.push(preemption.positions);
        late.push(preemption.lateness);
        positions += preemption.positions.count;
        interrupts += preemption.lateness.count;
        deferred += preemption.deferred;
        pages += preemption.pages;
        bytes += size;
    }
    let median = |spreads: &[Spread], of: fn(&Spread) -> u64| {
        Summary::of(spreads.iter().map(|s| of(s) as f64 / 1e3).collect()).median
    };
    let [carry, take, late] = [&carried, &taken, &late]
        .map(|spreads| (median(spreads, |s| s.median_ns), median(spreads, |s| s.p99_ns)));
    let each = |n: u64| n as f64 / positions.max(1) as f64;
    let share = 100.0 * deferred as f64 / interrupts.max(1) as f64;
    println!(
        "{:<14} {positions:>9} {share:>7.1} % {:>7.1} {:>7.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0}",
        guest.name,
        each(pages),
        each(bytes),
        carry.0,
        carry.1,
        take.0,
        take.1,
        late.0,
        late.1
    );
}
