//! The frequency of an oscillator: converts between [`Time`] and ticks without drift.

use crate::platform::Time;

const NS_PER_S: u64 = 1_000_000_000;

/// A frequency. Tick 0 is at time zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frequency(u64);

impl Frequency {
    /// A frequency in Hz, between 1 Hz and 18 GHz (what fits the arithmetic; other values are clamped).
    pub const fn hz(hz: u64) -> Self {
        if hz == 0 {
            Self(1)
        } else if hz > 18_000_000_000 {
            Self(18_000_000_000)
        } else {
            Self(hz)
        }
    }

    /// The number of whole ticks up to `time`. Exact: whole seconds and the rest of a second are scaled apart, so no
    /// product overflows and no rounding accumulates.
    pub const fn ticks(self, time: Time) -> u64 {
        (time.0 / NS_PER_S).wrapping_mul(self.0).wrapping_add(time.0 % NS_PER_S * self.0 / NS_PER_S)
    }

    /// The earliest time at which [`Frequency::ticks`] has reached `tick`; the last representable time if there is
    /// none.
    pub const fn time(self, tick: u64) -> Time {
        let rest = (tick % self.0 * NS_PER_S).div_ceil(self.0);
        Time((tick / self.0).saturating_mul(NS_PER_S).saturating_add(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_tick_is_the_first_nanosecond_that_has_it() {
        for hz in [1, 32_768, 1_193_182, 3_579_545, 2_999_999_999, 18_000_000_000] {
            let f = Frequency::hz(hz);
            for tick in [1, 2, 1000, 32_768, 123_456_789, hz, hz * 86_400 + 7] {
                let time = f.time(tick);
                assert!(f.ticks(time) >= tick, "{hz} Hz, tick {tick}");
                assert!(f.ticks(Time(time.0 - 1)) < tick, "{hz} Hz, tick {tick}");
            }
        }
    }

    #[test]
    fn ten_years_of_ticks_are_exact() {
        let years_s = 10 * 365 * 86_400;
        assert_eq!(Frequency::hz(1_193_182).ticks(Time(years_s * NS_PER_S)), years_s * 1_193_182);
    }

    #[test]
    fn extremes_neither_overflow_nor_divide_by_zero() {
        Frequency::hz(0).ticks(Time(u64::MAX));
        Frequency::hz(u64::MAX).ticks(Time(u64::MAX));
        assert_eq!(Frequency::hz(1).time(u64::MAX), Time(u64::MAX));
    }
}
