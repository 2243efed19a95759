//! The recorded exits, one after another, each with the events and the checkpoint that follow it.
//!
//! Decoding goes on ahead on a thread of its own: the guest does not wait for it.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;
use trapline_formats::digests::{Checkpoint, Compared, DigestChunk};
use trapline_formats::{Event, HeldValue, InputChunk, Keyframe, Trace, TraceError};

/// A chunk of both streams.
type Chunk = (InputChunk, DigestChunk);

/// Decoded chunks waiting: enough to never wait for one, and little memory.
const AHEAD: usize = 2;

/// Reads exits in order.
pub(crate) struct Source {
    chunks: Receiver<Result<Chunk, TraceError>>,
    chunk: Chunk,
    at: usize,
    /// The chunk after this one, taken as soon as the last exit of this one is current.
    next: Option<Chunk>,
    /// Why no further exits can be read, where that is not the end of the log.
    lost: Option<TraceError>,
    /// Events and checkpoints not yet taken. Those after the last exit of a chunk may stand in the next one.
    events: VecDeque<(u64, Event)>,
    checkpoints: VecDeque<Checkpoint>,
    /// Values of a held TSC not yet taken, each with the exits of the trace before it; and the one that is in force.
    held: VecDeque<HeldValue>,
    held_at: Option<u64>,
    first_exit: u64,
}

/// One recorded exit.
#[derive(Debug)]
pub(crate) struct Recorded<'a> {
    pub(crate) index: u64,
    pub(crate) site: u32,
    pub(crate) data: &'a [u8],
    pub(crate) fault: bool,
    pub(crate) registers: &'a Compared,
}

impl Source {
    /// Starts decoding: at the first exit, or behind a keyframe.
    pub(crate) fn start<'t>(scope: &'t Scope<'t, '_>, trace: &'t Trace, keyframe: Option<&Keyframe>) -> Self {
        let (decoded, chunks) = sync_channel(AHEAD);
        let exit = keyframe.map_or(0, |keyframe| keyframe.exit);
        scope.spawn(move || {
            for chunk in trace.inputs_with_digests_from(exit) {
                let is_last = chunk.is_err();
                // Nobody takes it when the replay is over.
                if decoded.send(chunk).is_err() || is_last {
                    return;
                }
            }
        });
        let mut source = Self {
            chunks,
            chunk: Chunk::default(),
            at: 0,
            next: None,
            lost: None,
            events: VecDeque::new(),
            checkpoints: VecDeque::new(),
            held: VecDeque::new(),
            held_at: None,
            first_exit: keyframe.map_or(0, |keyframe| keyframe.exit + 1),
        };
        source.look_ahead();
        if let Some(keyframe) = keyframe {
            source.skip(keyframe);
            source.next_held_tsc(keyframe.exit + 1, keyframe.carried.then_some(keyframe.number));
        }
        source
    }

    /// Goes on to a keyframe of the first chunk.
    fn skip(&mut self, keyframe: &Keyframe) {
        while self.current().is_none_or(|recorded| recorded.index < keyframe.exit) && self.advance() {}
        while let Some((exit, _)) = self.events.front()
            && *exit <= keyframe.exit
            && let Some((_, event)) = self.events.pop_front()
        {
            match event {
                Event::Keyframe { number, .. } if number == keyframe.number => return,
                Event::Checkpoint => {
                    self.checkpoints.pop_front();
                }
                _ => {}
            }
        }
    }

    /// Number of the first exit that is replayed.
    pub(crate) fn first_exit(&self) -> u64 {
        self.first_exit
    }

    /// Takes chunks up to the next one that has exits.
    fn look_ahead(&mut self) {
        while self.next.is_none() && self.lost.is_none() {
            match self.chunks.recv() {
                Ok(Ok(mut chunk)) => {
                    self.events.extend(chunk.0.events().map(|(exit, event)| (exit, event.clone())));
                    self.checkpoints.extend(chunk.1.checkpoints.drain(..));
                    self.take_held_tsc(&mut chunk.0);
                    if !chunk.0.is_empty() {
                        self.next = Some(chunk);
                    }
                }
                Ok(Err(error)) => self.lost = Some(error),
                // The thread is through.
                Err(_) => return,
            }
        }
    }

    /// Makes the next exit current; false at the end of what can be read.
    pub(crate) fn advance(&mut self) -> bool {
        self.at += 1;
        if self.at > self.chunk.0.len() {
            let Some(chunk) = self.next.take() else { return false };
            (self.chunk, self.at) = (chunk, 1);
        }
        if self.at == self.chunk.0.len() {
            self.look_ahead();
        }
        true
    }

    /// Whether no exit follows the current one.
    pub(crate) fn is_last(&self) -> bool {
        self.at >= self.chunk.0.len() && self.next.is_none()
    }

    /// Whether the current exit is the last of the recording, and nothing is lost.
    pub(crate) fn is_at_end(&self) -> bool {
        self.is_last() && self.lost.is_none()
    }

    /// Why no exit follows, where that is not the end of the log.
    pub(crate) fn take_lost(&mut self) -> Option<TraceError> {
        self.lost.take()
    }

    /// The current exit; `None` before the first and behind the last.
    pub(crate) fn current(&self) -> Option<Recorded<'_>> {
        let i = self.at.checked_sub(1)?;
        let exit = self.chunk.0.exit(i)?;
        Some(Recorded {
            index: exit.index,
            site: exit.site,
            data: exit.data,
            fault: exit.fault,
            registers: self.chunk.1.registers.get(i)?,
        })
    }

    /// The next event after the current exit.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.peek_event()?;
        self.events.pop_front().map(|(_, event)| event)
    }

    /// The next event after the current exit, not taken.
    pub(crate) fn peek_event(&self) -> Option<&Event> {
        let (exit, event) = self.events.front()?;
        (*exit + 1 == self.chunk.0.first_exit + self.at as u64).then_some(event)
    }

    fn take_held_tsc(&mut self, chunk: &mut InputChunk) {
        let Some(held) = chunk.held.take() else { return };
        self.held_at.get_or_insert(held.first);
        let first_exit = chunk.first_exit;
        let count = |value: HeldValue| HeldValue { exits: first_exit + value.exits, ..value };
        self.held.extend(held.values.into_iter().map(count));
    }

    /// What the guest's TSC shows, where it is held: where this source starts, and as far as it was taken.
    pub(crate) fn held_tsc(&self) -> Option<u64> {
        self.held_at
    }

    /// What the TSC shows from here on, behind so many exits or the carried keyframe of this number behind them: if that is another value.
    #[inline]
    pub(crate) fn next_held_tsc(&mut self, exits: u64, keyframe: Option<u32>) -> Option<u64> {
        let here = HeldValue { exits, keyframe, value: 0 }.place();
        let mut next = None;
        while let Some(held) = self.held.pop_front_if(|held| held.place() <= here) {
            next = Some(held.value);
        }
        self.held_at = next.or(self.held_at);
        next
    }

    /// The checkpoint that goes with the next [`Event::Checkpoint`].
    pub(crate) fn next_checkpoint(&mut self) -> Option<Checkpoint> {
        self.checkpoints.pop_front()
    }
}
