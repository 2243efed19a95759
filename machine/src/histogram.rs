//! Times counted in a histogram, to a sixteenth.

use trapline_formats::Spread;

/// Buckets between a power of two and the next.
const PARTS: u64 = 16;
const BUCKETS: usize = 61 * PARTS as usize;

/// Times, counted.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[u32]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS].into(), count: 0, max: 0 }
    }
}

/// The bucket of a time: below 16 ns each has its own, above that there are sixteen to a power of two.
fn bucket(ns: u64) -> usize {
    if ns < PARTS {
        return ns as usize;
    }
    let power = u64::from(ns.ilog2());
    ((power - 3) * PARTS + (ns >> (power - 4)) - PARTS) as usize
}

/// The shortest time of a bucket.
fn shortest(bucket: usize) -> u64 {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    if power == 0 { part } else { (PARTS + part) << (power - 1) }
}

impl Histogram {
    /// Counts one.
    pub fn note(&mut self, ns: u64) {
        let slot = &mut self.buckets[bucket(ns)];
        *slot = slot.saturating_add(1);
        self.count += 1;
        self.max = self.max.max(ns);
    }

    /// What they come to.
    pub fn summary(&self) -> Spread {
        Spread {
            count: self.count,
            median_ns: self.quantile(self.count.div_ceil(2)),
            p99_ns: self.quantile((self.count * 99).div_ceil(100)),
            max_ns: self.max,
        }
    }

    /// The time of the `rank`-th, counted from one.
    fn quantile(&self, rank: u64) -> u64 {
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank && rank > 0
        });
        found.map_or(0, |bucket| shortest(bucket).min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_at_most_a_sixteenth_wide_and_holds_its_times() {
        let powers = (0..64)
            .flat_map(|power| [1u64 << power, (1 << power) | ((1 << power) - 1), (1 << power) * 3 / 2]);
        for ns in (0..1000).chain(powers).chain([u64::MAX]) {
            let (from, bucket) = (shortest(bucket(ns)), bucket(ns));
            assert!(from <= ns && ns - from <= from / PARTS, "{ns} is in {bucket}, from {from} on");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let mut count = Histogram::default();
        (1..=200).for_each(|n| count.note(n * 1000));
        let spread = count.summary();
        assert_eq!((spread.count, spread.max_ns), (200, 200_000));
        assert!((94_000..=100_000).contains(&spread.median_ns), "{spread:?}");
        assert!((186_000..=198_000).contains(&spread.p99_ns), "{spread:?}");
        assert_eq!(Histogram::default().summary(), Spread::default());
    }
}
