//! What is counted for one row of a report while the exits stream by.

use crate::durations::Durations;
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
    pub(crate) vmm: Durations,
    /// Ticks in guest, hardware and kernel, before each exit.
    pub(crate) guest: Durations,
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

impl Tally {
    /// Counts the exits of another row, too.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.first = if self.count == 0 { other.first } else { self.first.min(other.first) };
        self.last = self.last.max(other.last);
        self.count += other.count;
        self.elements += other.elements;
        self.bytes += other.bytes;
        self.faults += other.faults;
        self.values.merge(&other.values);
        self.vmm.merge(&other.vmm);
        self.guest.merge(&other.guest);
    }
}

/// A value of at most 8 bytes, little-endian; longer ones are cut.
#[inline]
pub(crate) fn scalar(data: &[u8]) -> u64 {
    data.iter().take(8).rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// The distinct values of a row, as long as they are few. Most rows of a trace with very many have one.
#[derive(Debug, Clone, Default)]
pub(crate) enum Values {
    #[default]
    None,
    One(u64),
    Few(Box<Few>),
    Many,
}

#[derive(Debug, Clone)]
pub(crate) struct Few {
    seen: Vec<u64>,
    last: u64,
}

impl Values {
    #[inline]
    fn add(&mut self, value: u64) {
        match self {
            Self::Many => {}
            Self::One(only) if *only == value => {}
            Self::Few(few) if few.last == value => {}
            Self::None => *self = Self::One(value),
            Self::One(only) => *self = Self::Few(Box::new(Few { seen: vec![*only, value], last: value })),
            Self::Few(few) => {
                few.last = value;
                if !few.seen.contains(&value) {
                    few.seen.push(value);
                    if few.seen.len() > VALUES {
                        *self = Self::Many;
                    }
                }
            }
        }
    }

    /// How many; `None` for more than [`VALUES`].
    pub(crate) fn distinct(&self) -> Option<u32> {
        match self {
            Self::None => Some(0),
            Self::One(_) => Some(1),
            Self::Few(few) => Some(few.seen.len() as u32),
            Self::Many => None,
        }
    }

    /// The only one.
    pub(crate) fn constant(&self) -> Option<u64> {
        match self {
            Self::One(only) => Some(*only),
            _ => None,
        }
    }

    fn merge(&mut self, other: &Self) {
        match other {
            Self::None => {}
            Self::One(only) => self.add(*only),
            Self::Few(few) => few.seen.iter().for_each(|&value| self.add(value)),
            Self::Many => *self = Self::Many,
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
    fn rows_that_share_a_row_have_the_values_of_both() {
        let both = |a: Values, b: Values| {
            let mut both = a;
            both.merge(&b);
            (both.distinct(), both.constant())
        };
        assert_eq!(both(of([]), of([3])), (Some(1), Some(3)));
        assert_eq!(both(of([3]), of([3])), (Some(1), Some(3)));
        assert_eq!(both(of([3, 4]), of([5, 4])), (Some(3), None));
        assert_eq!(both(of(0..9), of(8..17)), (None, None));
        assert_eq!(both(of([1]), of(0..17)), (None, None));
    }

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Tally>() <= 112, "{}", size_of::<Tally>());
    }

    #[test]
    fn scalars_are_little_endian() {
        assert_eq!(scalar(&[]), 0);
        assert_eq!(scalar(&[1, 2]), 0x201);
        assert_eq!(scalar(&[1, 0, 0, 0, 0, 0, 0, 2, 9]), 0x0200_0000_0000_0001);
    }
}
