//! How long the exits of a row took: number, sum, extremes and a histogram.
//!
//! A trace stores a time with 11 significant bits, in 16 bits. An HdrHistogram of three significant digits has just these steps, so
//! its quantiles are those of the stored times, exactly. But it takes tens of kilobytes whatever is in it, and a trace may have
//! millions of sites: a row's first times are kept as they are stored.

use hdrhistogram::Histogram;
use trapline_formats::timing::{compress, expand};

/// Significant digits: 1024 counters an octave.
const DIGITS: u8 = 3;
/// Times that need no memory of their own.
const FEW: usize = 11;
/// Times kept as they are: 8 KiB. A histogram is hardly larger then.
const SINGLE: usize = 4096;

/// Counts by duration.
pub(crate) type Hdr<C> = Histogram<C>;

/// Durations in ticks.
#[derive(Debug, Clone)]
pub(crate) struct Durations(Kept);

#[derive(Debug, Clone)]
enum Kept {
    Few { count: u8, times: [u16; FEW] },
    Many(Box<Many>),
}

#[derive(Debug, Clone)]
struct Many {
    count: u64,
    total: u128,
    min: u64,
    max: u64,
    times: Times,
}

#[derive(Debug, Clone)]
enum Times {
    Single(Vec<u16>),
    Counted(Hdr<u32>),
}

impl Default for Durations {
    fn default() -> Self {
        Self(Kept::Few { count: 0, times: [0; FEW] })
    }
}

/// A histogram that grows with what is counted.
pub(crate) fn hdr<C: hdrhistogram::Counter>() -> Hdr<C> {
    #[expect(clippy::expect_used, reason = "up to five digits are allowed")]
    Histogram::new(DIGITS).expect("three digits are allowed")
}

/// Counts a duration so many times.
pub(crate) fn count<C: hdrhistogram::Counter>(hdr: &mut Hdr<C>, ticks: u64, times: C) {
    // It grows, so every number has a place.
    let _ = hdr.record_n(ticks, times);
}

impl Many {
    #[inline]
    fn add(&mut self, ticks: u64) {
        self.count += 1;
        self.total += u128::from(ticks);
        self.min = self.min.min(ticks);
        self.max = self.max.max(ticks);
        match &mut self.times {
            Times::Counted(hdr) => count(hdr, ticks, 1),
            Times::Single(times) if times.len() < SINGLE => times.push(compress(ticks)),
            Times::Single(_) => {
                self.count_times();
                self.times.add(ticks, 1);
            }
        }
    }

    /// Goes over from single times to a histogram.
    fn count_times(&mut self) {
        if let Times::Single(times) = &self.times {
            let mut hdr = hdr();
            for &time in times {
                count(&mut hdr, expand(time), 1);
            }
            self.times = Times::Counted(hdr);
        }
    }
}

impl Times {
    fn add(&mut self, ticks: u64, times: u32) {
        match self {
            Self::Single(all) => all.extend((0..times).map(|_| compress(ticks))),
            Self::Counted(hdr) => count(hdr, ticks, times),
        }
    }
}

impl Durations {
    /// Counts one.
    #[inline]
    pub(crate) fn add(&mut self, ticks: u64) {
        match &mut self.0 {
            Kept::Many(many) => many.add(ticks),
            Kept::Few { count, times } if usize::from(*count) < FEW => {
                times[usize::from(*count)] = compress(ticks);
                *count += 1;
            }
            Kept::Few { .. } => self.many().add(ticks),
        }
    }

    /// Makes room for many.
    fn many(&mut self) -> &mut Many {
        if let Kept::Few { count, times } = &self.0 {
            let times = &times[..usize::from(*count)];
            let mut many = Many {
                count: 0,
                total: 0,
                min: u64::MAX,
                max: 0,
                times: Times::Single(Vec::with_capacity(2 * FEW)),
            };
            for &time in times {
                many.add(expand(time));
            }
            self.0 = Kept::Many(Box::new(many));
        }
        match &mut self.0 {
            Kept::Many(many) => many,
            Kept::Few { .. } => unreachable!("it has just been made"),
        }
    }

    /// Counts all of another row's, too.
    pub(crate) fn merge(&mut self, other: &Self) {
        match &other.0 {
            Kept::Few { count, times } => {
                times[..usize::from(*count)].iter().for_each(|&t| self.add(expand(t)));
            }
            Kept::Many(theirs) => {
                let ours = self.many();
                ours.count += theirs.count;
                ours.total += theirs.total;
                ours.min = ours.min.min(theirs.min);
                ours.max = ours.max.max(theirs.max);
                ours.count_times();
                other.each(|ticks, times| ours.times.add(ticks, times));
            }
        }
    }

    /// Calls `each` with the durations and how often each occurred, ascending unless they are single.
    fn each(&self, mut each: impl FnMut(u64, u32)) {
        match &self.0 {
            Kept::Few { count, times } => {
                times[..usize::from(*count)].iter().for_each(|&t| each(expand(t), 1));
            }
            Kept::Many(many) => match &many.times {
                Times::Single(times) => times.iter().for_each(|&t| each(expand(t), 1)),
                Times::Counted(hdr) => hdr
                    .iter_recorded()
                    .for_each(|v| each(hdr.lowest_equivalent(v.value_iterated_to()), v.count_at_value())),
            },
        }
    }

    fn fold<T: Copy>(&self, of_many: impl Fn(&Many) -> T, of_few: impl Fn(&[u16]) -> T) -> T {
        match &self.0 {
            Kept::Few { count, times } => of_few(&times[..usize::from(*count)]),
            Kept::Many(many) => of_many(many),
        }
    }

    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.fold(|many| many.count, |few| few.len() as u64)
    }

    /// Their exact sum.
    pub(crate) fn total(&self) -> u128 {
        self.fold(|many| many.total, |few| few.iter().map(|&t| u128::from(expand(t))).sum())
    }

    /// The shortest.
    pub(crate) fn min(&self) -> Option<u64> {
        self.fold(|many| Some(many.min), |few| few.iter().min().map(|&t| expand(t)))
    }

    /// The longest.
    pub(crate) fn max(&self) -> Option<u64> {
        self.fold(|many| Some(many.max), |few| few.iter().max().map(|&t| expand(t)))
    }

    /// The arithmetic mean.
    pub(crate) fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.total() as f64 / count as f64)
    }

    /// The durations of these ranks, counted from 1, in any order.
    fn at_ranks<const N: usize>(&self, ranks: [u64; N]) -> [Option<u64>; N] {
        let single = |times: &[u16]| {
            let mut sorted = times.to_vec();
            sorted.sort_unstable();
            ranks.map(|rank| sorted.get(rank as usize - 1).map(|&t| expand(t)))
        };
        match &self.0 {
            Kept::Few { count, times } => single(&times[..usize::from(*count)]),
            Kept::Many(many) => match &many.times {
                Times::Single(times) => single(times),
                Times::Counted(_) => {
                    let (mut seen, mut found) = (0, [None; N]);
                    self.each(|ticks, times| {
                        seen += u64::from(times);
                        for (found, rank) in found.iter_mut().zip(ranks) {
                            if seen >= rank && found.is_none() {
                                *found = Some(ticks);
                            }
                        }
                    });
                    found
                }
            },
        }
    }

    /// Quantiles by nearest rank, for these percents (1 to 100): the shortest duration that at least so many percent do not
    /// exceed.
    pub(crate) fn quantiles<const N: usize>(&self, percents: [u64; N]) -> [Option<u64>; N] {
        let count = u128::from(self.count());
        self.at_ranks(percents.map(|percent| ((count * u128::from(percent)).div_ceil(100) as u64).max(1)))
    }

    /// The histogram, of steps of a thousandth.
    pub(crate) fn histogram(&self) -> Hdr<u64> {
        let mut all = hdr();
        self.each(|ticks, times| count(&mut all, ticks, times.into()));
        all
    }
}

/// A median needs this many samples for an interval of confidence.
const ENOUGH_FOR_MEDIAN: u64 = 20;

impl Durations {
    /// The median with the bounds of its 95 % confidence interval, whatever the distribution: ranks n/2 - and
    /// + 0.98 sqrt(n) (Conover, "Practical Nonparametric Statistics", 3.2). `None` for too few samples.
    pub(crate) fn median_interval(&self) -> Option<[u64; 3]> {
        let count = self.count();
        if count < ENOUGH_FOR_MEDIAN {
            return None;
        }
        let (half, spread) = (count as f64 / 2.0, 0.98 * (count as f64).sqrt());
        let ranks = [(half - spread).floor(), half.ceil(), (half + spread).ceil() + 1.0];
        let [low, median, high] = self.at_ranks(ranks.map(|rank| (rank as u64).clamp(1, count)));
        Some([low?, median?, high?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nearest_rank(sorted: &[u64], percent: usize) -> u64 {
        sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
    }

    fn of(times: &[u64]) -> Durations {
        let mut all = Durations::default();
        for &time in times {
            all.add(time);
        }
        all
    }

    proptest! {
        #[test]
        fn what_is_told_is_that_of_the_sorted_times(
            seed in prop::collection::vec((0u64..2048, 0u32..32), 1..100), repeats in prop::sample::select(vec![1usize, 90])
        ) {
            // Mantissas of 11 bits, as in a trace: nothing is rounded. 90 repeats go past the times kept as they are.
            let times: Vec<u64> = (0..repeats).flat_map(|_| seed.iter().map(|(m, e)| m << e)).collect();
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let expected = [1, 50, 90, 99, 100].map(|p| Some(nearest_rank(&sorted, p)));
            let (left, right) = times.split_at(times.len() / 3);
            let mut merged = of(left);
            merged.merge(&of(right));
            merged.merge(&of(&[]));
            for all in [of(&times), merged] {
                prop_assert_eq!(all.quantiles([1, 50, 90, 99, 100]), expected);
                prop_assert_eq!(all.count(), sorted.len() as u64);
                prop_assert_eq!(all.min(), sorted.first().copied());
                prop_assert_eq!(all.max(), sorted.last().copied());
                prop_assert_eq!(all.total(), times.iter().map(|&v| u128::from(v)).sum::<u128>());
                let histogram = all.histogram();
                prop_assert_eq!(histogram.len(), sorted.len() as u64);
                for v in histogram.iter_recorded() {
                    let range = histogram.lowest_equivalent(v.value_iterated_to())..=v.value_iterated_to();
                    let inside = sorted.iter().filter(|t| range.contains(t)).count() as u64;
                    prop_assert_eq!(v.count_at_value(), inside);
                    prop_assert!(sorted.contains(range.start()), "what is stored is where a step begins");
                }
            }
        }
    }

    #[test]
    fn nothing_has_no_quantile_and_the_longest_time_has_a_place() {
        assert_eq!(Durations::default().quantiles([50]), [None]);
        assert_eq!((Durations::default().min(), Durations::default().mean()), (None, None));
        let longest = expand(u16::MAX);
        let all = of(&vec![longest; SINGLE + FEW]);
        assert_eq!((all.max(), all.quantiles([50])), (Some(longest), [Some(longest)]));
    }

    #[test]
    fn a_few_times_take_no_memory_of_their_own() {
        assert_eq!(size_of::<Durations>(), 24);
    }
}
