//! How many instructions a second we finish for KVM: a guest that does nothing else, beside one that has KVM do the same.
//!
//! `cargo bench --bench finish` (11 rounds; `-- 31` for another number); `tests/lab/bench svm finish` in the lab. Both guests read a
//! word that nobody owns, one exit each; KVM emulates MOV, and no POPCNT. How much of a run finishing is depends on the guest:
//! `benches/linux.rs` says it of a boot.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::runs::{Host, Job, record};
use support::statistics::Summary;

const ROUNDS: usize = 11;
const EXITS: u64 = 10_000;

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(ROUNDS);
    let host = Host::open();
    println!("{}\n{rounds} rounds of {EXITS} instructions, without a log\n", host.describe());
    let rate = |is_finished| {
        let run = record(&host, &Job::mmio_loop(EXITS, is_finished), None);
        run.exits as f64 / run.time.as_secs_f64()
    };
    let (mut by_kvm, mut by_us) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let is_first = round % 2 == 0;
        for is_finished in [is_first, !is_first] {
            if is_finished { &mut by_us } else { &mut by_kvm }.push(rate(is_finished));
        }
    }
    let times = Summary::of(by_kvm.iter().zip(&by_us).map(|(kvm, us)| kvm / us).collect());
    for (name, rates) in [("mov, by KVM", by_kvm), ("popcnt, by us", by_us)] {
        let s = Summary::of(rates);
        println!("{name:<14} {:>8.0} a second, median; {:.0}..{:.0}", s.median, s.lowest, s.highest);
    }
    println!(
        "{:<14} {:>8.2} times as long, median; {:.2}..{:.2}",
        "", times.median, times.lowest, times.highest
    );
}
