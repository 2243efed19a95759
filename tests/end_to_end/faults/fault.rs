//! A kind of fault, and where it can be put.

use crate::support::plain::{Plain, PlainEvent, PlainExit};
use trapline_formats::{Event, ExitKind, Site};

/// A kind of fault.
pub struct Fault {
    /// What is wrong with the trace.
    pub name: &'static str,
    /// Where it can be put, as numbers that `put` understands: exits, pages, registers.
    pub places: fn(&Plain) -> Vec<usize>,
    pub put: fn(&mut Plain, usize),
}

/// Where in a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    Early,
    Middle,
    Late,
}

pub const POSITIONS: [Position; 3] = [Position::Early, Position::Middle, Position::Late];

impl Position {
    /// One of these places; each position has its own.
    pub fn of(self, places: &[usize]) -> Option<usize> {
        let last = places.len().checked_sub(1)?;
        // Of one place, it is the middle; of two, the first is early.
        match self {
            Self::Early => (last >= 1).then(|| places[last / 10]),
            Self::Middle => Some(places[last.div_ceil(2)]),
            Self::Late => (last >= 2).then(|| places[last - last / 10]),
        }
    }
}

/// The exits that are like this.
pub fn exits(plain: &Plain, is_it: impl Fn(&Site, &PlainExit) -> bool) -> Vec<usize> {
    (0..plain.exits.len()).filter(|i| is_it(site_of(plain, *i), &plain.exits[*i])).collect()
}

/// The exits of a kind that carry data.
pub fn of_kind(plain: &Plain, kind: ExitKind) -> Vec<usize> {
    exits(plain, |site, exit| site.kind == kind && !exit.data.is_empty())
}

pub fn site_of(plain: &Plain, exit: usize) -> &Site {
    &plain.sites[plain.exits[exit].site]
}

/// The exits that such an event follows.
pub fn followed_by(plain: &Plain, is_it: impl Fn(&Event) -> bool) -> Vec<usize> {
    exits(plain, |_, exit| exit.events.iter().any(|event| is_plain(event, &is_it)))
}

/// Takes the first such event behind an exit out of the trace.
pub fn take(plain: &mut Plain, exit: usize, is_it: impl Fn(&Event) -> bool) -> Event {
    let events = &mut plain.exits[exit].events;
    let at = events.iter().position(|event| is_plain(event, &is_it)).unwrap();
    match events.remove(at) {
        PlainEvent::Plain(event) => event,
        PlainEvent::Checkpoint(_) | PlainEvent::Keyframe(_) => unreachable!("it was a plain event"),
    }
}

/// The first such event behind an exit, to be changed.
pub fn change(plain: &mut Plain, exit: usize, is_it: impl Fn(&Event) -> bool) -> &mut Event {
    let mut events = plain.exits[exit].events.iter_mut();
    match events.find(|event| is_plain(event, &is_it)) {
        Some(PlainEvent::Plain(event)) => event,
        other => panic!("{other:?} is no such event"),
    }
}

/// Puts an event behind an exit, before what is there.
pub fn put(plain: &mut Plain, exit: usize, event: Event) {
    plain.exits[exit].events.insert(0, PlainEvent::Plain(event));
}

fn is_plain(event: &PlainEvent, is_it: impl Fn(&Event) -> bool) -> bool {
    matches!(event, PlainEvent::Plain(event) if is_it(event))
}

pub fn is_interrupt(event: &Event) -> bool {
    matches!(event, Event::Interrupt { .. })
}

/// All but the last exit: something follows it.
pub fn all_but_last(plain: &Plain) -> Vec<usize> {
    (0..plain.exits.len() - 1).collect()
}
