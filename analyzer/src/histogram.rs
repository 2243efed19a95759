//! How often each duration occurred.
//!
//! Log-linear, as HdrHistogram with three significant digits: 1024 buckets per octave, so that a value is off by at
//! most one in a thousand. These are the very steps in which a trace stores its timings: quantiles of a trace are
//! *exact*. What the crate of that name does not do is to be small a million times over: here the first samples are kept
//! as they are (2 bytes each), and buckets exist in pages of 64 where something fell.

const LINEAR_BITS: u32 = 11;
const OCTAVE: u16 = 1 << (LINEAR_BITS - 1);
const PAGE: usize = 64;
const PAGES: usize = bucket(u64::MAX) as usize / PAGE + 1;
const ABSENT: u16 = u16::MAX;
/// Samples kept as they are. More than this and the pages are smaller: a site's durations spread over a few octaves.
const EXACT: usize = 4096;

#[inline]
const fn bucket(value: u64) -> u16 {
    let exponent = (u64::BITS - value.leading_zeros()).saturating_sub(LINEAR_BITS);
    exponent as u16 * OCTAVE + (value >> exponent) as u16
}

/// The smallest value in a bucket.
fn floor(bucket: u16) -> u64 {
    let exponent = (bucket / OCTAVE).saturating_sub(1);
    u64::from(bucket - exponent * OCTAVE) << exponent
}

/// Counts of durations in ticks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    count: u64,
    total: u128,
    min: u64,
    max: u64,
    store: Store,
}

#[derive(Debug, Clone)]
enum Store {
    Exact(Vec<u16>),
    Paged(Box<Paged>),
}

#[derive(Debug, Clone)]
struct Paged {
    directory: [u16; PAGES],
    pages: Vec<[u32; PAGE]>,
}

impl Default for Store {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Paged {
    fn from_samples(samples: &[u16]) -> Box<Self> {
        let mut paged = Box::new(Self { directory: [ABSENT; PAGES], pages: Vec::new() });
        for &bucket in samples {
            paged.add(bucket, 1);
        }
        paged
    }

    #[inline]
    fn add(&mut self, bucket: u16, times: u32) {
        let (page, slot) = (usize::from(bucket) / PAGE, usize::from(bucket) % PAGE);
        if self.directory[page] == ABSENT {
            self.directory[page] = self.pages.len() as u16;
            self.pages.push([0; PAGE]);
        }
        let counter = &mut self.pages[usize::from(self.directory[page])][slot];
        *counter = counter.saturating_add(times);
    }

    /// Calls `each` with the buckets that something fell into, ascending, and their counts.
    fn each(&self, mut each: impl FnMut(u16, u32)) {
        for (page, &place) in self.directory.iter().enumerate().filter(|(_, place)| **place != ABSENT) {
            for (slot, &counter) in
                self.pages[usize::from(place)].iter().enumerate().filter(|(_, c)| **c != 0)
            {
                each((page * PAGE + slot) as u16, counter);
            }
        }
    }

    /// The bucket of the sample with this rank, counted from 1.
    fn at(&self, rank: u64) -> Option<u16> {
        let mut seen = 0;
        let mut found = None;
        self.each(|bucket, counter| {
            seen += u64::from(counter);
            if seen >= rank && found.is_none() {
                found = Some(bucket);
            }
        });
        found
    }
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub(crate) fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.total += u128::from(value);
        match &mut self.store {
            Store::Paged(paged) => paged.add(bucket(value), 1),
            Store::Exact(samples) if samples.len() < EXACT => samples.push(bucket(value)),
            Store::Exact(samples) => {
                let mut paged = Paged::from_samples(samples);
                paged.add(bucket(value), 1);
                self.store = Store::Paged(paged);
            }
        }
    }

    /// All durations of several histograms.
    pub(crate) fn merged(parts: &[Self]) -> Self {
        let mut all = Box::new(Paged { directory: [ABSENT; PAGES], pages: Vec::new() });
        let mut sum = Self::default();
        for part in parts.iter().filter(|p| p.count > 0) {
            sum.min = if sum.count == 0 { part.min } else { sum.min.min(part.min) };
            sum.max = sum.max.max(part.max);
            sum.count += part.count;
            sum.total += part.total;
            match &part.store {
                Store::Exact(samples) => samples.iter().for_each(|&bucket| all.add(bucket, 1)),
                Store::Paged(paged) => paged.each(|bucket, counter| all.add(bucket, counter)),
            }
        }
        sum.store = Store::Paged(all);
        sum
    }

    /// Number of durations.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Their exact sum.
    pub(crate) fn total(&self) -> u128 {
        self.total
    }

    /// The shortest, exact.
    pub(crate) fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// The longest, exact.
    pub(crate) fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// The arithmetic mean.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.total as f64 / self.count as f64)
    }

    /// Quantiles by nearest rank, for ascending or any order of `percents` (1 to 100): the smallest duration that at
    /// least so many percent do not exceed.
    pub(crate) fn quantiles<const N: usize>(&self, percents: [u64; N]) -> [Option<u64>; N] {
        if self.count == 0 {
            return [None; N];
        }
        let rank =
            |percent: u64| ((u128::from(self.count) * u128::from(percent)).div_ceil(100) as u64).max(1);
        let found = match &self.store {
            Store::Exact(samples) => {
                let mut sorted = samples.clone();
                sorted.sort_unstable();
                percents.map(|p| sorted.get(rank(p) as usize - 1).copied())
            }
            Store::Paged(paged) => percents.map(|p| paged.at(rank(p))),
        };
        found.map(|bucket| bucket.map(|b| floor(b).clamp(self.min, self.max)))
    }
}

/// A median needs this many samples for an interval of confidence.
const ENOUGH_FOR_MEDIAN: u64 = 20;

impl Histogram {
    /// The median with the bounds of its 95 % confidence interval, whatever the distribution: ranks n/2 - and
    /// + 0.98 sqrt(n) (Conover, "Practical Nonparametric Statistics", 3.2). `None` for too few samples.
    pub(crate) fn median_interval(&self) -> Option<[u64; 3]> {
        if self.count < ENOUGH_FOR_MEDIAN {
            return None;
        }
        let (half, spread) = (self.count as f64 / 2.0, 0.98 * (self.count as f64).sqrt());
        let ranks = [(half - spread).floor(), half.ceil(), (half + spread).ceil() + 1.0];
        let at = |rank: f64| self.at_rank((rank as u64).clamp(1, self.count));
        Some([at(ranks[0])?, at(ranks[1])?, at(ranks[2])?])
    }

    fn at_rank(&self, rank: u64) -> Option<u64> {
        let bucket = match &self.store {
            Store::Exact(samples) => {
                let mut sorted = samples.clone();
                sorted.sort_unstable();
                sorted.get(rank as usize - 1).copied()
            }
            Store::Paged(paged) => paged.at(rank),
        };
        bucket.map(|b| floor(b).clamp(self.min, self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nearest_rank(sorted: &[u64], percent: usize) -> u64 {
        sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
    }

    proptest! {
        #[test]
        fn a_bucket_starts_at_most_one_in_a_thousand_below_its_values(value: u64) {
            let start = floor(bucket(value));
            prop_assert!(start <= value && value - start <= value / 1024);
            prop_assert_eq!(bucket(start), bucket(value));
        }

        #[test]
        fn quantiles_are_those_of_the_sorted_samples(
            seed in prop::collection::vec((0u64..2048, 0u32..20), 1..100), repeats in prop::sample::select(vec![1usize, 90])
        ) {
            // Mantissas of 11 bits, as in a trace: nothing is rounded. 90 repeats go past the samples kept as they are.
            let values: Vec<u64> = (0..repeats).flat_map(|_| seed.iter().map(|(m, e)| m << e)).collect();
            let mut histogram = Histogram::default();
            for &v in &values {
                histogram.add(v);
            }
            let (left, right) = values.split_at(values.len() / 3);
            let parts = [left, right, &[]].map(|part| {
                let mut histogram = Histogram::default();
                for &v in part {
                    histogram.add(v);
                }
                histogram
            });
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let expected = [1, 50, 90, 99, 100].map(|p| Some(nearest_rank(&sorted, p)));
            prop_assert_eq!(histogram.quantiles([1, 50, 90, 99, 100]), expected);
            prop_assert_eq!(Histogram::merged(&parts).quantiles([1, 50, 90, 99, 100]), expected);
            prop_assert_eq!(histogram.min(), sorted.first().copied());
            prop_assert_eq!(histogram.max(), sorted.last().copied());
            prop_assert_eq!(histogram.total(), values.iter().map(|&v| u128::from(v)).sum::<u128>());
        }
    }

    #[test]
    fn nothing_has_no_quantile_and_the_largest_number_has_a_bucket() {
        assert_eq!(Histogram::default().quantiles([50]), [None]);
        let mut histogram = Histogram::default();
        (0..=EXACT).for_each(|_| histogram.add(u64::MAX));
        assert_eq!(histogram.max(), Some(u64::MAX));
        assert_eq!(histogram.quantiles([50]), [Some(u64::MAX)]);
    }
}
