//! What giving interrupts to the guest came to, in lines for `record` and `inspect`.

use trapline_formats::{Preempt, Preemption, Spread};

/// The lines: none where no timer interrupted the guest and no position was carried.
pub fn lines(preempt: Preempt, preemption: &Preemption) -> Vec<String> {
    let Preemption { lateness, positions, pages, deferred } = preemption;
    let mut lines = Vec::new();
    if lateness.count > 0 {
        lines.push(format!("{} timer interrupts, late by {}", lateness.count, spread(lateness)));
    }
    if preempt == Preempt::Positions {
        let each = *pages as f64 / positions.count.max(1) as f64;
        lines.push(format!("{} positions between exits, {each:.1} pages of memory each", positions.count));
        if positions.count > 0 {
            lines.push(format!("carrying one took {}", spread(positions)));
        }
        lines.push(format!("{deferred} interrupts were deferred from between exits to one"));
    }
    lines
}

fn spread(times: &Spread) -> String {
    let [median, p99, max] = [times.median_ns, times.p99_ns, times.max_ns].map(time);
    format!("{median} (median), {p99} (p99), {max} (longest)")
}

fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{:.1} µs", ns as f64 / 1e3),
        10_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..100_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_or_three_digits() {
        let shown = [0, 940, 12_345, 1_234_567, 99_000_000, 2_345_678_901].map(time);
        assert_eq!(shown, ["0.0 µs", "0.9 µs", "12 µs", "1.2 ms", "99.0 ms", "2.35 s"]);
    }

    #[test]
    fn a_guest_without_timers_has_nothing_to_be_said() {
        assert!(lines(Preempt::Exits, &Preemption::default()).is_empty());
        assert_eq!(lines(Preempt::Positions, &Preemption::default()).len(), 2);
    }
}
