//! Phases of a recording: stretches of time in which one function costs the most.

use super::pictures::{BINS, Pictures};
use crate::labels::{Labels, NO_SYMBOL};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A phase shorter than this belongs to its neighbour.
const LEAST_BINS: usize = BINS / 60;

/// A stretch of bins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Phase {
    from: usize,
    to: usize,
    name: String,
}

/// The phases, one after another.
pub(super) fn phases(pictures: &Pictures, labels: &Labels) -> Vec<Value> {
    let names: Vec<_> = (0..BINS).map(|bin| dearest(pictures, labels, bin)).collect();
    let shown = |phase: &Phase| {
        let exits: u64 = (phase.from..phase.to).map(|bin| pictures.exits(bin)).sum();
        let ns = |bin: usize| bin as u64 * pictures.bin_ns();
        json!({"from_ns": ns(phase.from), "to_ns": ns(phase.to), "name": phase.name, "exits": exits})
    };
    merged(&names).iter().map(shown).collect()
}

/// What costs the most in a bin: a function, or where it has no name, what the instruction does.
fn dearest(pictures: &Pictures, labels: &Labels, bin: usize) -> Option<String> {
    let mut costs = BTreeMap::new();
    for (site, cost) in pictures.costs(bin).filter(|(_, cost)| *cost > 0) {
        let label = labels.of(site);
        let name = if label.function == NO_SYMBOL { &label.target } else { &label.function };
        *costs.entry(name).or_insert(0) += cost;
    }
    costs.into_iter().max_by_key(|(_, cost)| *cost).map(|(name, _)| name.clone())
}

/// Bins with one name after another are a phase; bins without exits go on with what was before.
fn merged(names: &[Option<String>]) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for (bin, name) in names.iter().enumerate() {
        match (phases.last_mut(), name) {
            (Some(last), None) => last.to = bin + 1,
            (Some(last), Some(name)) if last.name == *name => last.to = bin + 1,
            (last, name) => {
                let from = last.map_or(0, |l| l.to);
                let name = name.clone().unwrap_or_else(|| "computing".into());
                phases.push(Phase { from, to: bin + 1, name });
            }
        }
    }
    absorb(phases)
}

/// Short phases become part of the phase before them.
fn absorb(phases: Vec<Phase>) -> Vec<Phase> {
    let mut kept: Vec<Phase> = Vec::new();
    for phase in phases {
        match kept.last_mut() {
            Some(last) if last.name == phase.name || phase.to - phase.from < LEAST_BINS => last.to = phase.to,
            _ => kept.push(phase),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_stretches_and_gaps_belong_to_what_was_before() {
        let names = "aaaaaa.b.aa.aaccccccbb".chars().flat_map(|c| [(c != '.').then(|| c.to_string()), None]);
        let phases = merged(&names.collect::<Vec<_>>());
        let shown: Vec<_> = phases.iter().map(|p| (p.from, p.to, p.name.as_str())).collect();
        assert_eq!(shown, [(0, 28, "a"), (28, 44, "c")]);
        assert_eq!(merged(&[None, None])[0], Phase { from: 0, to: 2, name: "computing".into() });
    }
}
