//! Goes through the alignment of two traces, and notes what differs.

use super::align::{LOOKED_BACK, Sequences, Side, Step};
use super::dictionary::Dictionary;
use super::exits::{Exits, View};
use super::facts::differing;
use super::tally::{FewSites, SiteTally, merge};
use crate::error::AnalyzerError;
use crate::floor::Intervals;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use trapline_formats::digests::MemoryDigest;
use trapline_formats::{Event, Trace};

/// In what two exits of one site differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Differs {
    pub(super) data: bool,
    pub(super) fault: bool,
    pub(super) events: bool,
    pub(super) registers: bool,
    /// The complete states at a checkpoint that both have.
    pub(super) state: bool,
}

impl Differs {
    fn of(a: &View<'_>, b: &View<'_>) -> Self {
        let events = |view: &'_ View<'_>| -> Vec<_> {
            // Where the recorder looked at the state is no difference between guests.
            let is_look =
                |event: &&Event| matches!(event, Event::Checkpoint | Event::Keyframe { carried: false, .. });
            view.events.iter().map(|(_, event)| event).filter(|e| !is_look(e)).cloned().collect()
        };
        let (none, registers) = (a.events.is_empty() && b.events.is_empty(), a.registers.zip(b.registers));
        Self {
            data: a.data != b.data,
            fault: a.fault != b.fault,
            events: !none && events(a) != events(b),
            registers: registers.is_some_and(|(a, b)| a != b),
            state: a
                .checkpoint
                .zip(b.checkpoint)
                .is_some_and(|(a, b)| a.cpu != b.cpu || !differing_pages(&a.memory, &b.memory).is_empty()),
        }
    }

    pub(super) fn any(self) -> bool {
        self.data || self.fault || self.events || self.registers || self.state
    }

    /// In words.
    pub(super) fn names(self) -> Vec<&'static str> {
        let all = [
            (self.data, "data"),
            (self.fault, "fault"),
            (self.events, "events"),
            (self.registers, "registers"),
            (self.state, "state"),
        ];
        all.into_iter().filter(|(differs, _)| *differs).map(|(_, name)| name).collect()
    }
}

/// How many exits of two traces have their like in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ExitCounts {
    /// Pairs that are equal in everything that was compared.
    pub equal: u64,
    /// Pairs of one site that differ.
    pub changed: u64,
    /// Of them, in their data.
    pub changed_data: u64,
    /// In whether the access raised #GP.
    pub changed_fault: u64,
    /// In what the host did after them.
    pub changed_events: u64,
    /// In registers.
    pub changed_registers: u64,
    /// Of these, in nothing else.
    pub changed_registers_only: u64,
    /// In the complete state at a checkpoint.
    pub changed_state: u64,
    /// Exits that the second trace does not have.
    pub only_in_a: u64,
    /// Exits that the first trace does not have.
    pub only_in_b: u64,
    /// Exits behind the end of the other recording, which host time or damage cut there.
    pub behind_the_end: [u64; 2],
}

impl ExitCounts {
    fn add(&mut self, differs: Differs) {
        if !differs.any() {
            self.equal += 1;
            return;
        }
        self.changed += 1;
        self.changed_data += u64::from(differs.data);
        self.changed_fault += u64::from(differs.fault);
        self.changed_events += u64::from(differs.events);
        self.changed_registers += u64::from(differs.registers);
        let only = Differs { registers: true, ..Differs::default() };
        self.changed_registers_only += u64::from(differs == only);
        self.changed_state += u64::from(differs.state);
    }

    /// Whether every exit that was compared has its equal.
    pub fn is_same(&self) -> bool {
        self.changed + self.only_in_a + self.only_in_b == 0
    }
}

/// A place where the traces do not run alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its exits in each trace; an empty range stands where the others would be.
    pub(super) exits: [Range<u64>; 2],
    /// The sites of one iteration, where the exits are iterations of a loop.
    pub(super) cycle: Option<Vec<u32>>,
    /// Distinct sites of the exits, in the order of their first, at most a few of them.
    pub(super) sites: Vec<u32>,
}

/// Places that are kept; the rest is counted.
const PLACES: usize = 1000;
/// Sites that are told of a place.
const FEW: usize = 4;

/// The first difference, raw: the exits around it are still present when it is found.
pub(super) trait Witness {
    /// Sees the first difference: the next exits of both are these.
    fn first(
        &mut self,
        at: [u64; 2],
        differs: Option<Differs>,
        exits: &mut [Exits; 2],
    ) -> Result<(), AnalyzerError>;
}

pub(super) struct Walk<'t, W> {
    pub(super) traces: [&'t Trace; 2],
    dictionary: &'t Dictionary,
    pub(super) exits: [Exits; 2],
    cut: [bool; 2],
    at: [u64; 2],
    pub(super) counts: ExitCounts,
    /// Of all exits that were compared, by common site.
    pub(super) tally: [Vec<SiteTally>; 2],
    /// What the exit paths of each trace are estimated from.
    pub(super) intervals: [Intervals; 2],
    /// Exits with differences of any kind, by common site.
    pub(super) changed: Vec<u64>,
    pub(super) places: Vec<Place>,
    pub(super) places_in_all: u64,
    /// By the sites of one iteration: places, exits more in each trace.
    pub(super) loops: BTreeMap<Vec<u32>, (u64, [u64; 2])>,
    /// The place that the last steps belong to, and its exits.
    open: Option<(Place, [FewSites; 2])>,
    pub(super) is_first_found: bool,
    witness: &'t mut W,
    progress: &'t mut dyn FnMut(u64),
}

impl<'t, W: Witness> Walk<'t, W> {
    pub(super) fn new(
        traces: [&'t Trace; 2],
        dictionary: &'t Dictionary,
        exits: [Exits; 2],
        cut: [bool; 2],
        witness: &'t mut W,
        progress: &'t mut dyn FnMut(u64),
    ) -> Self {
        Self {
            traces,
            dictionary,
            exits,
            cut,
            at: [0; 2],
            counts: ExitCounts::default(),
            tally: [0, 1].map(|_| vec![SiteTally::default(); dictionary.len()]),
            intervals: [0, 1].map(|_| Intervals::default()),
            changed: vec![0; dictionary.len()],
            places: Vec::new(),
            places_in_all: 0,
            loops: BTreeMap::new(),
            open: None,
            is_first_found: false,
            witness,
            progress,
        }
    }

    fn found(&mut self, differs: Option<Differs>) -> Result<(), AnalyzerError> {
        if std::mem::replace(&mut self.is_first_found, true) {
            return Ok(());
        }
        self.witness.first(self.at, differs, &mut self.exits)
    }

    fn pair(&mut self) -> Result<(), AnalyzerError> {
        self.close(false);
        let [a, b] = self.at;
        let (Some(left), Some(right)) = (self.exits[0].get(a), self.exits[1].get(b)) else { return Ok(()) };
        let differs = Differs::of(&left, &right);
        let site = self.dictionary.common(Side::A, left.site);
        for (side, view) in [(Side::A, left), (Side::B, right)] {
            let side = side as usize;
            if let Some(tally) = site.and_then(|site| self.tally[side].get_mut(site as usize)) {
                tally.add(view.timing);
            }
            if let Some((site, timing)) = self.traces[side].sites().get(view.site as usize).zip(view.timing) {
                self.intervals[side].add(site, timing);
            }
        }
        if differs.any() {
            if let Some(changed) = site.and_then(|s| self.changed.get_mut(s as usize)) {
                *changed += 1;
            }
            self.found(Some(differs))?;
        }
        self.counts.add(differs);
        self.at = [a + 1, b + 1];
        if a.is_multiple_of(4096) {
            (self.progress)(a);
        }
        Ok(())
    }

    fn only(&mut self, side: Side, exits: Range<u64>, cycle: Option<u64>) -> Result<(), AnalyzerError> {
        let here = side as usize;
        self.found(None)?;
        let (mut place, mut tallies) = self.open.take().unwrap_or_else(|| {
            let place = Place { exits: self.at.map(|at| at..at), cycle: None, sites: Vec::new() };
            (place, [FewSites::new(), FewSites::new()])
        });
        let is_new = place.exits[here].is_empty();
        place.exits[here].end = exits.end;
        let mut iteration = Vec::new();
        for at in exits.clone() {
            let Some(view) = self.exits[here].get(at) else { continue };
            let Some(site) = self.dictionary.common(side, view.site) else { continue };
            if cycle.is_some_and(|cycle| at - exits.start < cycle) {
                iteration.push(site);
            }
            if place.sites.len() < FEW && !place.sites.contains(&site) {
                place.sites.push(site);
            }
            tallies[here].entry(site).or_default().add(view.timing);
            if let Some((site, timing)) = self.traces[here].sites().get(view.site as usize).zip(view.timing) {
                self.intervals[here].add(site, timing);
            }
        }
        let is_other_empty = place.exits[1 - here].is_empty();
        place.cycle = match place.cycle.take() {
            Some(known) if !is_new && is_other_empty && cycle == Some(known.len() as u64) => Some(known),
            None if is_new && is_other_empty && cycle.is_some() => Some(iteration),
            _ => None,
        };
        self.open = Some((place, tallies));
        self.at[here] = exits.end;
        Ok(())
    }

    /// Ends the open place: its exits count, unless they stand behind the end of a recording that was cut.
    fn close(&mut self, is_last: bool) {
        let Some((place, tallies)) = self.open.take() else { return };
        let length = Side::BOTH.map(|side| {
            let exits = &place.exits[side as usize];
            exits.end - exits.start
        });
        let mut counted = [0; 2];
        for side in Side::BOTH {
            let (here, other) = (side as usize, side.other() as usize);
            // As many as the other has are compared: two recordings that never meet again differ.
            let behind = if is_last && self.is_cut(side.other()) {
                length[here].saturating_sub(length[other])
            } else {
                0
            };
            counted[here] = length[here] - behind;
            self.counts.behind_the_end[here] += behind;
            if behind == 0 {
                merge(&mut self.tally[here], &tallies[here]);
            }
        }
        self.counts.only_in_a += counted[0];
        self.counts.only_in_b += counted[1];
        if counted == [0; 2] {
            return;
        }
        self.places_in_all += 1;
        if let Some(cycle) = &place.cycle {
            let (places, more) = self.loops.entry(cycle.clone()).or_default();
            *places += 1;
            for side in 0..2 {
                more[side] += counted[side];
            }
        }
        if self.places.len() < PLACES {
            self.places.push(place);
        }
    }

    /// Ends the walk.
    pub(super) fn finish(&mut self) {
        self.close(true);
    }
}

impl<W: Witness> Sequences for Walk<'_, W> {
    type Error = AnalyzerError;

    #[inline]
    fn site(&mut self, side: Side, at: u64) -> Result<Option<u32>, AnalyzerError> {
        let exits = &mut self.exits[side as usize];
        if !exits.reach(at)? {
            return Ok(None);
        }
        Ok(exits.get(at).and_then(|view| self.dictionary.common(side, view.site)))
    }

    fn is_same(&mut self, a: u64, b: u64) -> Result<bool, AnalyzerError> {
        let views = self.exits[0].get(a).zip(self.exits[1].get(b));
        Ok(views.is_some_and(|(a, b)| !Differs::of(&a, &b).any()))
    }

    fn is_cut(&self, side: Side) -> bool {
        self.cut[side as usize] || self.exits[side as usize].damage.is_some()
    }

    fn step(&mut self, step: Step) -> Result<(), AnalyzerError> {
        match step {
            Step::Pair(..) => self.pair()?,
            Step::Only { side, exits, cycle } => self.only(side, exits, cycle)?,
        }
        for side in Side::BOTH {
            self.exits[side as usize].forget(self.at[side as usize].saturating_sub(LOOKED_BACK));
        }
        Ok(())
    }
}

/// Pages that differ at a checkpoint that both have.
pub(super) fn pages(a: &View<'_>, b: &View<'_>) -> Vec<u64> {
    a.checkpoint.zip(b.checkpoint).map_or(Vec::new(), |(a, b)| differing_pages(&a.memory, &b.memory))
}

/// Where only pages that changed are known, those that both know of: they were not looked at for the last time at the same exits.
fn differing_pages(a: &MemoryDigest, b: &MemoryDigest) -> Vec<u64> {
    let hashes = |pages: &[(u64, u64)]| pages.iter().copied().collect::<BTreeMap<_, _>>();
    match (a, b) {
        (MemoryDigest::All(a), MemoryDigest::All(b)) => {
            differing(&hashes(a), &hashes(b)).into_iter().collect()
        }
        (
            MemoryDigest::All(a) | MemoryDigest::Changed(a),
            MemoryDigest::All(b) | MemoryDigest::Changed(b),
        ) => {
            let b = hashes(b);
            let other = |(number, hash): &&(u64, u64)| b.get(number).is_some_and(|theirs| theirs != hash);
            a.iter().filter(other).map(|(number, _)| *number).collect()
        }
        (MemoryDigest::None, _) | (_, MemoryDigest::None) => Vec::new(),
    }
}
