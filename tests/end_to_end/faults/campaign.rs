//! All faults, in all guests that they can be put into.

use super::fault::{Fault, POSITIONS, Position};
use super::subject::{Source, Subject, sources};
use super::table::Table;
use super::verdict::{Verdict, title, try_fault};
use super::{checkpoints, events, inputs, keyframes, memory, outputs, start};
use crate::support::host::Host;
use std::collections::BTreeMap;

/// Guests that each kind of fault is put into.
const GUESTS: usize = 3;

/// What became of the faults of one kind.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By guest.
    pub verdicts: Vec<(&'static str, Position, Verdict)>,
}

/// A run through faults.
pub struct Campaign<'h> {
    host: &'h Host,
    /// For a look at some: of the kinds and of the guests whose names contain these.
    only: Only,
    sources: Vec<Source>,
    /// Each kind was tried wherever it should be.
    is_whole: bool,
    subjects: BTreeMap<&'static str, Subject>,
    outcomes: BTreeMap<&'static str, Outcome>,
    /// What the replayer did not find where it is.
    missed: Vec<String>,
}

struct Only {
    kind: String,
    guest: String,
}

impl Only {
    fn of_environment() -> Self {
        let name = |what| std::env::var(what).unwrap_or_default();
        Self { kind: name("TRAPLINE_FAULT_KIND"), guest: name("TRAPLINE_FAULT_GUEST") }
    }

    fn is_all(&self) -> bool {
        self.kind.is_empty() && self.guest.is_empty()
    }
}

/// Every kind.
pub fn faults() -> impl Iterator<Item = &'static Fault> {
    [
        inputs::FAULTS,
        outputs::FAULTS,
        events::FAULTS,
        start::FAULTS,
        memory::FAULTS,
        checkpoints::FAULTS,
        keyframes::FAULTS,
    ]
    .into_iter()
    .flatten()
}

impl<'h> Campaign<'h> {
    /// Of guests that take no time, or of those that do.
    pub fn new(host: &'h Host, is_long: bool) -> Self {
        let only = Only::of_environment();
        let mut sources = sources();
        sources.retain(|source| source.is_long == is_long && source.name.contains(&only.guest));
        Self {
            host,
            only,
            sources,
            is_whole: false,
            subjects: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            missed: Vec::new(),
        }
    }

    /// Each kind once, in the middle of the first guest.
    pub fn sample(&mut self) {
        for fault in faults() {
            if let Some(guest) = self.guests(fault).first() {
                self.try_at(fault, guest, Position::Middle);
            }
        }
    }

    /// Each kind early, in the middle and late, in as many guests as there should be.
    pub fn all(&mut self) {
        for fault in faults() {
            for guest in self.guests(fault) {
                for position in POSITIONS {
                    self.try_at(fault, guest, position);
                }
            }
        }
        self.is_whole = self.only.is_all();
    }

    /// The first guests that a fault can be put into.
    fn guests(&mut self, fault: &Fault) -> Vec<&'static str> {
        let mut found = Vec::new();
        if !fault.name.contains(&self.only.kind) {
            return found;
        }
        for source in &self.sources {
            let subject =
                self.subjects.entry(source.name).or_insert_with(|| Subject::record(self.host, source));
            if !subject.places(fault).is_empty() {
                found.push(source.name);
            }
            if found.len() == GUESTS {
                break;
            }
        }
        found
    }

    fn try_at(&mut self, fault: &'static Fault, guest: &'static str, position: Position) {
        let subject = self.subjects.get_mut(guest).unwrap();
        let Some(place) = position.of(&subject.places(fault)) else { return };
        let verdict = try_fault(self.host, subject, fault, place);
        let title = title(fault, subject, position, place);
        eprintln!("{title}: {verdict:?}");
        match verdict {
            Ok(verdict) => {
                let outcome = self.outcomes.entry(fault.name).or_default();
                outcome.verdicts.push((guest, position, verdict));
            }
            Err(why) => self.missed.push(format!("{title}: {why}")),
        }
    }

    /// Fails with everything that was not found where it is, and with a whole run that is not as documented.
    pub fn finish(self) {
        assert!(self.missed.is_empty(), "{} faults:\n\n{}", self.missed.len(), self.missed.join("\n\n"));
        if !self.only.is_all() {
            return;
        }
        let Some(subject) = self.subjects.values().next() else { return };
        let engine = &subject.plain.header.host.engine;
        let title = if self.sources.iter().any(|source| source.is_long) {
            format!("{engine}, {}", subject.name)
        } else {
            engine.clone()
        };
        let kinds = faults().map(|fault| fault.name).collect();
        let table = Table { title: &title, kinds, outcomes: &self.outcomes };
        table.check();
        if self.is_whole {
            table.compare();
        }
    }
}
