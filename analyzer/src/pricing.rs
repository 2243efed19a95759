//! The exit path of each kind of exit: from the price list of the trace's host where there is one, otherwise the floor of the
//! trace itself.

use crate::aggregate::SiteTime;
use crate::floor::PathFloor;
use crate::ticks::Ticks;
use std::collections::BTreeSet;
use trapline_formats::{Estimate, ExitKind, PriceList};

/// Where the price of an exit path comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathSource {
    /// Measured on the trace's host.
    PriceList,
    /// Estimated from the trace's own intervals.
    Floor,
}

impl PathSource {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::PriceList => "price-list",
            Self::Floor => "floor",
        }
    }
}

/// The exit path of one kind of exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitPath {
    /// The kind of exit.
    pub kind: ExitKind,
    /// Of one exit, in ticks of the trace's clock.
    pub ticks: u64,
    /// The bounds of its 95 % confidence interval; a floor has none.
    pub interval: Option<[u64; 2]>,
    /// Where it comes from.
    pub source: PathSource,
    /// Whether the trace has such exits, with times.
    pub occurs: bool,
}

/// What a report says of the list that it was priced by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListFacts {
    pub(crate) made: String,
    pub(crate) rounds: u32,
    pub(crate) recorder_ns: Option<Estimate>,
}

/// What exits are priced by.
#[derive(Debug, Clone)]
pub(crate) struct Pricing {
    /// In the order of the kinds' discriminants.
    pub(crate) paths: [ExitPath; ExitKind::ALL.len()],
    /// The recorder's share of an exit's VMM time, in ticks; 0 where it is not known.
    pub(crate) recorder: u64,
    pub(crate) list: Option<ListFacts>,
}

/// What the exits of a site cost, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SiteCost {
    pub(crate) path: u128,
    /// The bounds of the path; of what has none, the path itself.
    pub(crate) path_interval: [u128; 2],
    pub(crate) recorder: u128,
    /// VMM time without the recorder, and the path.
    pub(crate) cost: u128,
    /// The price list's path is more than was measured.
    pub(crate) is_bounded: bool,
}

impl Pricing {
    /// The list's prices, and the floor for what it does not price. A trace without a clock has no floors either.
    pub(crate) fn new(
        list: Option<&PriceList>,
        floors: &[PathFloor],
        kinds: &BTreeSet<ExitKind>,
        ticks: Option<Ticks>,
    ) -> Self {
        let to_ticks = |ns: f64| ticks.map_or(0, |t| t.of_ns(ns));
        let paths = ExitKind::ALL.map(|kind| {
            let price = list.and_then(|l| l.of(kind));
            let floor = || floors.iter().find(|f| f.kind == kind).map_or(0, |f| f.ticks);
            ExitPath {
                kind,
                ticks: price.map_or_else(floor, |p| to_ticks(p.median)),
                interval: price.map(|p| [to_ticks(p.low), to_ticks(p.high)]),
                source: if price.is_some() { PathSource::PriceList } else { PathSource::Floor },
                occurs: kinds.contains(&kind),
            }
        });
        let facts =
            |l: &PriceList| ListFacts { made: l.made.clone(), rounds: l.rounds, recorder_ns: l.recorder_ns };
        let recorder = list.and_then(|l| l.recorder_ns).map_or(0, |e| to_ticks(e.median));
        Self { paths, recorder, list: list.map(facts) }
    }

    /// The path of a kind of exit.
    #[inline]
    pub(crate) fn path(&self, kind: ExitKind) -> &ExitPath {
        &self.paths[kind as usize]
    }

    /// Whether paths are measured or estimated. A list that lacks some kinds measures none of the whole.
    pub(crate) fn certainty(&self) -> &'static str {
        if self.list.is_some() && self.by_floor().next().is_none() { "measured" } else { "estimated" }
    }

    /// The kinds of exits in the trace whose path is a floor. HLT has no path.
    fn by_floor(&self) -> impl Iterator<Item = ExitKind> {
        let is_floor = |p: &&ExitPath| p.occurs && p.kind != ExitKind::Halt && p.source == PathSource::Floor;
        self.paths.iter().filter(is_floor).map(|p| p.kind)
    }

    /// Where paths come from, for people.
    pub(crate) fn source_in_words(&self) -> String {
        let Some(list) = &self.list else {
            return "floor of this trace (estimated); on its host, trapline doctor --calibrate measures it"
                .into();
        };
        let rest: Vec<_> = self.by_floor().map(ExitKind::name).collect();
        let measured = format!("from the price list of {} (measured)", list.made);
        if rest.is_empty() {
            measured
        } else {
            format!("{measured}; floor of this trace (estimated): {}", rest.join(", "))
        }
    }

    /// What the exits of a site cost: prices times exits, and never more than was measured of them. HLT costs nothing.
    pub(crate) fn of_site(&self, kind: ExitKind, time: SiteTime) -> SiteCost {
        if kind == ExitKind::Halt {
            return SiteCost::default();
        }
        let path = self.path(kind);
        let times = |ticks: u64| u128::from(ticks) * u128::from(time.timed);
        let bounded = |ticks: u64| times(ticks).min(time.guest);
        let (paid, recorder) = (bounded(path.ticks), times(self.recorder).min(time.vmm));
        SiteCost {
            path: paid,
            path_interval: path.interval.map_or([paid; 2], |ends| ends.map(bounded)),
            recorder,
            cost: time.vmm - recorder + paid,
            is_bounded: path.source == PathSource::PriceList && times(path.ticks) > time.guest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::{Host, Price};

    #[test]
    fn a_price_is_taken_as_far_as_it_was_measured() {
        let mut list = PriceList::new(Host::default(), "", "2026-01-31".into());
        let path_ns = Estimate { low: 90.0, median: 100.0, high: 120.0 };
        list.prices.push(Price { kind: ExitKind::PortRead, what: String::new(), path_ns, guest_ns: 0.0 });
        list.recorder_ns = Some(Estimate { low: 10.0, median: 20.0, high: 30.0 });
        let kinds = BTreeSet::from([ExitKind::PortRead, ExitKind::Halt]);
        let floors = [PathFloor { kind: ExitKind::PortWrite, ticks: 7, samples: 1, own: true }];
        let pricing = Pricing::new(Some(&list), &floors, &kinds, Ticks::new(2_000_000_000));
        let time = |guest, vmm| SiteTime { timed: 10, guest, vmm };
        let read = pricing.of_site(ExitKind::PortRead, time(2300, 1000));
        let expected = SiteCost {
            path: 2000,
            path_interval: [1800, 2300],
            recorder: 400,
            cost: 2600,
            is_bounded: false,
        };
        assert_eq!(read, expected);
        let short = pricing.of_site(ExitKind::PortRead, time(1900, 300));
        let expected =
            SiteCost { path: 1900, path_interval: [1800, 1900], recorder: 300, cost: 1900, is_bounded: true };
        assert_eq!(short, expected);
        assert_eq!(pricing.certainty(), "measured");
        assert_eq!(pricing.source_in_words(), "from the price list of 2026-01-31 (measured)");
        // What has no price takes the floor, as far as it was measured too.
        let write = pricing.of_site(ExitKind::PortWrite, time(50, 1000));
        assert_eq!((write.path, write.path_interval, write.is_bounded), (50, [50, 50], false));
        let kinds = BTreeSet::from([ExitKind::PortRead, ExitKind::PortWrite]);
        let mixed = Pricing::new(Some(&list), &floors, &kinds, Ticks::new(2_000_000_000));
        assert_eq!(mixed.certainty(), "estimated");
        let words =
            "from the price list of 2026-01-31 (measured); floor of this trace (estimated): port-write";
        assert_eq!(mixed.source_in_words(), words);
        assert_eq!(pricing.of_site(ExitKind::Halt, time(2300, 1000)), SiteCost::default());
    }
}
