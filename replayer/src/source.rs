//! The recorded exits, one after another, each with the events and the checkpoint that follow it.

use trapline_formats::digests::{Checkpoint, Compared, DigestChunk};
use trapline_formats::{Event, InputChunk, Trace, TraceError};

/// A chunk of both streams.
type Chunk = (InputChunk, DigestChunk);

/// Reads exits in order.
pub(crate) struct Source<'t> {
    chunks: Box<dyn Iterator<Item = Result<Chunk, TraceError>> + 't>,
    chunk: Chunk,
    at: usize,
    events: Vec<(u64, Event)>,
    next_event: usize,
    next_checkpoint: usize,
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

impl<'t> Source<'t> {
    pub(crate) fn new(trace: &'t Trace) -> Self {
        Self {
            chunks: Box::new(trace.inputs_with_digests()),
            chunk: Chunk::default(),
            at: 0,
            events: Vec::new(),
            next_event: 0,
            next_checkpoint: 0,
        }
    }

    /// Makes the next exit current; false at the end of the log.
    pub(crate) fn advance(&mut self) -> Result<bool, TraceError> {
        self.at += 1;
        while self.at > self.chunk.0.len() {
            let Some(chunk) = self.chunks.next() else { return Ok(false) };
            self.chunk = chunk?;
            self.events = self.chunk.0.events().collect();
            (self.at, self.next_event, self.next_checkpoint) = (1, 0, 0);
        }
        Ok(true)
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
        let event = self.peek_event()?;
        self.next_event += 1;
        Some(event)
    }

    /// The next event after the current exit, not taken.
    pub(crate) fn peek_event(&self) -> Option<Event> {
        let index = self.current()?.index;
        self.events.get(self.next_event).filter(|(exit, _)| *exit == index).map(|(_, event)| *event)
    }

    /// The checkpoint that goes with the next [`Event::Checkpoint`].
    pub(crate) fn next_checkpoint(&mut self) -> Option<&Checkpoint> {
        self.next_checkpoint += 1;
        self.chunk.1.checkpoints.get(self.next_checkpoint - 1)
    }
}
