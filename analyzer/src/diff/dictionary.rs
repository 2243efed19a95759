//! The sites of two traces under common numbers: each trace numbers its own as they come.

use super::align::Side;
use crate::symbols::Symbols;
use std::collections::BTreeMap;
use trapline_formats::{Gva, Instruction, Site, Trace};

/// The sites of both traces.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// The common number of each site of each trace.
    common: [Vec<u32>; 2],
    /// By common number: the number in each trace.
    own: Vec<[Option<u32>; 2]>,
}

/// A function and the bytes from its start to an instruction.
type Place<'a> = (&'a str, u64);

impl Dictionary {
    /// Sites are one if they do the same to the same address by the same instruction at the same place; where the code was moved, in
    /// the same place of the same function, if only one site of each trace is there.
    pub(super) fn new(traces: [&Trace; 2], symbols: [&Symbols; 2]) -> Self {
        let sites = traces.map(Trace::sites);
        let mut own: Vec<[Option<u32>; 2]> = Vec::new();
        let mut known: BTreeMap<&Site, u32> = BTreeMap::new();
        let mut common = [Vec::new(), Vec::new()];
        for side in Side::BOTH {
            for (site, number) in sites[side as usize].iter().zip(0..) {
                let next = own.len() as u32;
                let found = *known.entry(site).or_insert(next);
                if found == next {
                    own.push([None; 2]);
                }
                own[found as usize][side as usize].get_or_insert(number);
                common[side as usize].push(found);
            }
        }
        let mut dictionary = Self { common, own };
        dictionary.join_moved(sites, symbols);
        dictionary
    }

    /// Joins the sites that only one trace has where their functions say that they are one.
    fn join_moved(&mut self, sites: [&[Site]; 2], symbols: [&Symbols; 2]) {
        let mut moved: BTreeMap<(Place<'_>, Site), [Vec<u32>; 2]> = BTreeMap::new();
        for (common, own) in (0u32..).zip(&self.own) {
            let (side, number) = match own {
                [Some(number), None] => (Side::A, *number),
                [None, Some(number)] => (Side::B, *number),
                _ => continue,
            };
            let Some(site) = sites[side as usize].get(number as usize) else { continue };
            let Some(symbol) = symbols[side as usize].of(number) else { continue };
            let place = (symbol.name.as_str(), site.instruction.address.0.wrapping_sub(symbol.start));
            let instruction = Instruction { address: Gva(0), ..site.instruction.clone() };
            let site = Site { instruction, ..site.clone() };
            moved.entry((place, site)).or_default()[side as usize].push(common);
        }
        for both in moved.into_values() {
            let [[ours], [theirs]] = both.each_ref().map(Vec::as_slice) else { continue };
            let number = self.own[*theirs as usize][Side::B as usize].take();
            self.own[*ours as usize][Side::B as usize] = number;
            for common in &mut self.common[Side::B as usize] {
                if common == theirs {
                    *common = *ours;
                }
            }
        }
    }

    /// The common number of a site of a trace.
    #[inline]
    pub(super) fn common(&self, side: Side, site: u32) -> Option<u32> {
        self.common[side as usize].get(site as usize).copied()
    }

    /// A trace that has a site, and its number there.
    pub(super) fn owner(&self, common: u32) -> Option<(Side, u32)> {
        let own = self.own.get(common as usize)?;
        Side::BOTH.into_iter().find_map(|side| Some((side, own[side as usize]?)))
    }

    /// Common numbers are below this.
    pub(super) fn len(&self) -> usize {
        self.own.len()
    }
}
