//! Ticks of the timing stream as nanoseconds.

/// The clock of a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    hz: u64,
}

const NS_PER_S: u128 = 1_000_000_000;

impl Ticks {
    /// A clock of `hz` ticks per second; `None` for 0, which measures nothing.
    pub(crate) fn new(hz: u64) -> Option<Self> {
        (hz != 0).then_some(Self { hz })
    }

    /// Whole nanoseconds, rounded to the nearest; what exceeds 64 bits (584 years) is cut to them.
    pub(crate) fn ns(self, ticks: u128) -> u64 {
        let hz = u128::from(self.hz);
        u64::try_from(ticks.saturating_mul(NS_PER_S).saturating_add(hz / 2) / hz).unwrap_or(u64::MAX)
    }

    /// Whole ticks of a duration.
    pub(crate) fn of_ns(self, ns: f64) -> u64 {
        (ns * self.hz as f64 / NS_PER_S as f64).round() as u64
    }

    /// Nanoseconds with one decimal: a tick is often less than a nanosecond.
    pub(crate) fn tenths(self, ticks: f64) -> f64 {
        (ticks * 1e10 / self.hz as f64).round() / 10.0
    }
}

/// Converts the parts of a sum so that the converted parts add up to the converted sum: each part is the difference
/// of two converted running totals, at most one nanosecond from its own conversion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Apportion {
    ticks: Ticks,
    sum: u128,
    given: u64,
}

impl Apportion {
    pub(crate) fn new(ticks: Ticks) -> Self {
        Self { ticks, sum: 0, given: 0 }
    }

    /// The next part.
    #[inline]
    pub(crate) fn next(&mut self, part: u128) -> u64 {
        self.sum = self.sum.saturating_add(part);
        let before = self.given;
        self.given = self.ticks.ns(self.sum);
        self.given - before
    }

    /// All parts so far.
    pub(crate) fn total(&self) -> u64 {
        self.given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn converted_parts_add_up_to_the_converted_sum(hz in 1u64.., parts in prop::collection::vec(0u64..1 << 42, 0..50)) {
            let ticks = Ticks::new(hz).unwrap();
            let mut apportion = Apportion::new(ticks);
            let converted: Vec<u64> = parts.iter().map(|&p| apportion.next(p.into())).collect();
            let sum = parts.iter().map(|&p| u128::from(p)).sum();
            prop_assert_eq!(apportion.total(), ticks.ns(sum));
            prop_assert_eq!(converted.iter().map(|&c| u128::from(c)).sum::<u128>(), u128::from(ticks.ns(sum)));
            for (p, c) in parts.iter().zip(converted) {
                prop_assert!(ticks.ns((*p).into()).abs_diff(c) <= 1);
            }
        }
    }

    #[test]
    fn a_clock_of_zero_hertz_is_no_clock() {
        assert!(Ticks::new(0).is_none());
        assert_eq!(Ticks::new(3).unwrap().ns(1), 333_333_333);
    }
}
