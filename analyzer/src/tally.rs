//! What is counted for one row of a report while the exits stream by.

use crate::histogram::Histogram;
use trapline_formats::{Exit, Site};

/// Distinct values are told up to this number; more are "many".
pub(crate) const VALUES: usize = 16;

/// The counts of one row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Exits.
    pub(crate) count: u64,
    /// Elements moved: more than one an exit where the instruction repeats.
    pub(crate) elements: u64,
    /// Bytes moved.
    pub(crate) bytes: u64,
    /// Accesses that raised #GP.
    pub(crate) faults: u64,
    /// First exit.
    pub(crate) first: u64,
    /// Last exit.
    pub(crate) last: u64,
    /// The values moved.
    pub(crate) values: Values,
    /// Ticks in our process, after each exit.
    pub(crate) vmm: Histogram,
    /// Ticks in guest, hardware and kernel, before each exit.
    pub(crate) guest: Histogram,
}

impl Tally {
    /// Counts one exit.
    #[inline]
    pub(crate) fn add(&mut self, site: &Site, exit: &Exit<'_>) {
        if self.count == 0 {
            self.first = exit.index;
        }
        self.count += 1;
        self.last = exit.index;
        self.bytes += exit.data.len() as u64;
        self.faults += u64::from(exit.fault);
        if site.rep {
            let size = usize::from(site.size).max(1);
            self.elements += (exit.data.len() / size) as u64;
            exit.data.chunks_exact(size).for_each(|element| self.values.add(scalar(element)));
        } else if site.kind.has_data() {
            self.elements += 1;
            if !exit.fault {
                self.values.add(scalar(exit.data));
            }
        }
    }
}

/// A value of at most 8 bytes, little-endian; longer ones are cut.
#[inline]
pub(crate) fn scalar(data: &[u8]) -> u64 {
    data.iter().take(8).rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// The distinct values of a row, as long as they are few.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    seen: Vec<u64>,
    last: u64,
    many: bool,
}

impl Values {
    #[inline]
    fn add(&mut self, value: u64) {
        if self.many || value == self.last && !self.seen.is_empty() {
            return;
        }
        self.last = value;
        if !self.seen.contains(&value) {
            self.many = self.seen.len() == VALUES;
            if self.many { self.seen = Vec::new() } else { self.seen.push(value) }
        }
    }

    /// How many; `None` for more than [`VALUES`].
    pub(crate) fn distinct(&self) -> Option<u32> {
        (!self.many).then_some(self.seen.len() as u32)
    }

    /// The only one.
    pub(crate) fn constant(&self) -> Option<u64> {
        match self.seen[..] {
            [only] => Some(only),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Values {
        let mut all = Values::default();
        values.into_iter().for_each(|v| all.add(v));
        all
    }

    #[test]
    fn few_values_are_counted_and_many_are_not() {
        assert_eq!((of([]).distinct(), of([]).constant()), (Some(0), None));
        assert_eq!((of([0, 0]).distinct(), of([0, 0]).constant()), (Some(1), Some(0)));
        assert_eq!(of((0..100).map(|i| i % 16)).distinct(), Some(16));
        let many = of((0..100).map(|i| i % 17));
        assert_eq!((many.distinct(), many.constant()), (None, None));
    }

    #[test]
    fn scalars_are_little_endian() {
        assert_eq!(scalar(&[]), 0);
        assert_eq!(scalar(&[1, 2]), 0x201);
        assert_eq!(scalar(&[1, 0, 0, 0, 0, 0, 0, 2, 9]), 0x0200_0000_0000_0001);
    }
}
