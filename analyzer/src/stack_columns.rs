//! What a report's table tells of call stacks.

use crate::stack_costs::StackCost;
use crate::stacks::{Caller, Stacks};
use polars::prelude::{Column, NamedFrom, Series};

/// For these sites, and rows of several: how many stacks lead to each, the dearest of them, and its share.
pub(crate) fn columns(
    sites: impl Iterator<Item = Option<u32>>,
    stacks: &Stacks,
    costs: &[StackCost],
) -> [Column; 3] {
    let (mut numbers, mut callers, mut percents) = (Vec::new(), Vec::new(), Vec::new());
    for site in sites {
        let Some(site) = site else {
            numbers.push(None);
            callers.push(None);
            percents.push(None);
            continue;
        };
        // Sorted by site.
        let from = costs.partition_point(|c| c.site < site);
        let of_site = &costs[from..][..costs[from..].partition_point(|c| c.site == site)];
        let dearest = of_site.first();
        numbers.push(Some(of_site.len() as u32));
        callers.push(dearest.and_then(|c| c.stack).map(|stack| path(stacks, stack)));
        percents.push(dearest.map(|c| share(c, of_site)));
    }
    [
        Series::new("stacks".into(), numbers).into(),
        Series::new("callers".into(), callers).into(),
        Series::new("callers_percent".into(), percents).into(),
    ]
}

/// "start_kernel+0x43d;console_init+0x22", from the outside in.
fn path(stacks: &Stacks, stack: u32) -> String {
    stacks.callers(stack).rev().map(Caller::label).collect::<Vec<_>>().join(";")
}

/// Of the cost, or where there are no times, of the exits.
fn share(one: &StackCost, all: &[StackCost]) -> f64 {
    let sum = |of: fn(&StackCost) -> u64| all.iter().map(|c| of(c) as f64).sum::<f64>();
    let (cost, exits) = (sum(|c| c.cost_ns), sum(|c| c.count));
    if cost > 0.0 { one.cost_ns as f64 * 100.0 / cost } else { one.count as f64 * 100.0 / exits.max(1.0) }
}
