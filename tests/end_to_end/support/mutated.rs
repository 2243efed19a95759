//! A recording whose trace is changed and replayed again.

use super::host::Host;
use super::plain::{Plain, PlainEvent, PlainExit, PlainKeyframe};
use super::recorded::{Recorded, record};
use super::replayed::try_replay;
use std::time::Duration;
use trapline_formats::digests::Checkpoint;
use trapline_formats::{ClockMode, Event, ExitKind};
use trapline_guests::Guest;
use trapline_replayer::{Divergence, ReplayOptions, What};

/// A recording, and its trace as plain values to be changed.
pub struct Mutated {
    pub recorded: Recorded,
    pub plain: Plain,
}

impl Mutated {
    /// Records a guest.
    pub fn of(host: &Host, guest: &Guest) -> Self {
        Self::of_recording(record(host, guest, ClockMode::Virtual))
    }

    /// Of a recording that is there.
    pub fn of_recording(recorded: Recorded) -> Self {
        let plain = Plain::read(&recorded.path);
        Self { recorded, plain }
    }

    /// Writes the changed trace.
    pub fn write(&self) {
        self.plain.write(&self.recorded.path);
    }

    /// Writes the changed trace, replays it, and gives the divergence that must come of it.
    pub fn divergence(&self, host: &Host) -> Box<Divergence> {
        self.write();
        // The guests that are changed compute for milliseconds: one that is silent for so long will stay so.
        let options = ReplayOptions { silence: Duration::from_secs(5), ..ReplayOptions::default() };
        match try_replay(host, &self.recorded.path, &options) {
            Err(divergence) => divergence,
            Ok(replay) => panic!("the changed trace replayed faithfully, all {} exits", replay.exits),
        }
    }

    /// The exits of a kind at an address, in order.
    pub fn exits_at(&self, kind: ExitKind, address: u64) -> Vec<usize> {
        let is_it = |exit: &PlainExit| {
            let site = &self.plain.sites[exit.site];
            site.kind == kind && site.address == address
        };
        (0..self.plain.exits.len()).filter(|&i| is_it(&self.plain.exits[i])).collect()
    }

    /// The exits that an interrupt follows.
    pub fn interrupted(&self) -> Vec<usize> {
        let is_interrupt = |event: &PlainEvent| matches!(event, PlainEvent::Plain(Event::Interrupt { .. }));
        (0..self.plain.exits.len()).filter(|&i| self.plain.exits[i].events.iter().any(is_interrupt)).collect()
    }

    /// Takes the interrupt that follows an exit out of the trace.
    pub fn take_interrupt(&mut self, exit: usize) -> PlainEvent {
        let events = &mut self.plain.exits[exit].events;
        let at = events.iter().position(is_interrupt).unwrap();
        events.remove(at)
    }

    /// A keyframe.
    pub fn keyframe(&mut self, number: u32) -> &mut PlainKeyframe {
        let events = self.plain.exits.iter_mut().flat_map(|exit| &mut exit.events);
        let mut keyframes = events.filter_map(|event| match event {
            PlainEvent::Keyframe(plain) => Some(&mut **plain),
            _ => None,
        });
        keyframes.nth(number as usize).unwrap()
    }

    /// The last checkpoint.
    pub fn last_checkpoint(&mut self) -> &mut Checkpoint {
        let last = self.plain.exits.last_mut().unwrap();
        match last.events.last_mut() {
            Some(PlainEvent::Checkpoint(checkpoint)) => checkpoint,
            other => panic!("the recording ends with {other:?}, not with a checkpoint"),
        }
    }
}

fn is_interrupt(event: &PlainEvent) -> bool {
    matches!(event, PlainEvent::Plain(Event::Interrupt { .. }))
}

/// Fails unless the divergence is this one.
pub fn assert_diverged(divergence: &Divergence, what: What, exit: usize) {
    assert_eq!((&divergence.what, divergence.exit), (&what, exit as u64), "{divergence}");
}

/// Fails unless this is among what differs.
pub fn assert_named(divergence: &Divergence, name: &str) {
    assert!(divergence.differences.iter().any(|d| d.name == name), "{name} is not named: {divergence}");
}
