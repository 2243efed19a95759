//! The sites whose exits differ in number, or have differing exits, and what they cost on both sides.

use super::shown::SiteFacts;
use super::tally::SiteTally;
use super::walk::Walk;
use crate::pricing::Pricing;
use crate::ticks::Ticks;
use serde::Serialize;
use std::collections::BTreeSet;
use trapline_formats::{ExitKind, PriceList, Trace};

/// A site with differences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiteDifference {
    /// The site.
    pub site: SiteFacts,
    /// Exits in the first trace, as far as it was compared.
    pub exits_a: u64,
    /// Exits in the second.
    pub exits_b: u64,
    /// Pairs of exits that differ in anything.
    pub changed: u64,
    /// Cost in the first trace, in nanoseconds; null where the times of the two do not compare. Estimated in part.
    pub cost_a_ns: Option<u64>,
    /// Cost in the second.
    pub cost_b_ns: Option<u64>,
}

/// The sites with differences, those with the largest first.
pub(super) fn differences<W>(
    walk: &Walk<'_, W>,
    traces: [&Trace; 2],
    prices: [Option<&PriceList>; 2],
    one_host: bool,
    describe: &dyn Fn(&u32) -> Option<SiteFacts>,
) -> Vec<SiteDifference> {
    let pricing = [0, 1].map(|i| {
        let ticks = Ticks::new(traces[i].header().tick_hz);
        (Pricing::new(prices[i], &walk.intervals[i].floors(), &BTreeSet::new(), ticks), ticks)
    });
    let mut found = Vec::new();
    for (site, number) in walk.changed.iter().zip(0u32..) {
        let [a, b] = [0, 1].map(|i| walk.tally[i].get(number as usize).copied().unwrap_or_default());
        if a.exits == b.exits && *site == 0 {
            continue;
        }
        let Some(facts) = describe(&number) else { continue };
        let cost = |i: usize, tally: SiteTally| {
            let kind = ExitKind::ALL.into_iter().find(|kind| kind.name() == facts.kind)?;
            let (pricing, ticks) = &pricing[i];
            ticks.filter(|_| one_host).map(|ticks| ticks.ns(pricing.of_site(kind, tally.time).cost))
        };
        let (cost_a_ns, cost_b_ns) = (cost(0, a), cost(1, b));
        found.push(SiteDifference {
            exits_a: a.exits,
            exits_b: b.exits,
            changed: *site,
            cost_a_ns,
            cost_b_ns,
            site: facts,
        });
    }
    found.sort_by_key(|s| std::cmp::Reverse((s.exits_a.abs_diff(s.exits_b), s.changed)));
    found
}
