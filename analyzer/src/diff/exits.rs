//! The exits of a trace, decoded on a thread of its own and kept as long as somebody may ask for them.

use crate::stream::{Timings, damage};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;
use trapline_formats::digests::{Checkpoint, Compared, DigestChunk};
use trapline_formats::envelope::BlockType;
use trapline_formats::{Damage, Event, InputChunk, Timing, Trace, TraceError};

/// Decoded chunks that wait to be used.
const AHEAD: usize = 2;

/// An exit and all that belongs to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'c> {
    pub(super) index: u64,
    /// Number of its site in its own trace.
    pub(super) site: u32,
    pub(super) data: &'c [u8],
    pub(super) fault: bool,
    /// The registers at the exit, where the trace has digests.
    pub(super) registers: Option<&'c Compared>,
    /// What the host did after it.
    pub(super) events: &'c [(u64, Event)],
    pub(super) checkpoint: Option<&'c Checkpoint>,
    /// Where the trace has times.
    pub(super) timing: Option<Timing>,
}

/// A chunk, together with what stands at the head of the next one and belongs to its last exit.
#[derive(Debug)]
struct Chunk {
    inputs: InputChunk,
    registers: Option<Vec<Compared>>,
    checkpoints: Vec<Checkpoint>,
    events: Vec<(u64, Event)>,
    timings: Vec<Timing>,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.inputs.first_exit + self.inputs.len() as u64
    }
}

/// A chunk of both streams; a trace that was not recorded by running a guest has but one.
type Decoded = Result<(InputChunk, Option<DigestChunk>), TraceError>;

enum Message {
    Chunk(InputChunk, Option<DigestChunk>, Vec<Timing>),
    /// The readable part ends.
    Cut(Damage),
}

/// The exits of one trace, from the front to the back.
pub(super) struct Exits {
    chunks: VecDeque<Chunk>,
    /// The last chunk, whose last exit may have events in the one after it.
    last: Option<Chunk>,
    decoded: Receiver<Result<Message, TraceError>>,
    /// Why no more can be read, where that is not the end of the trace.
    pub(super) damage: Option<Damage>,
}

impl Exits {
    /// Starts decoding.
    pub(super) fn start<'t>(scope: &'t Scope<'t, '_>, trace: &'t Trace) -> Self {
        let (queue, decoded) = sync_channel(AHEAD);
        scope.spawn(move || decode(trace, &queue));
        Self { chunks: VecDeque::new(), last: None, decoded, damage: trace.damage().cloned() }
    }

    /// Makes an exit present; false behind the last.
    pub(super) fn reach(&mut self, at: u64) -> Result<bool, TraceError> {
        while self.chunks.back().is_none_or(|chunk| chunk.end() <= at) {
            if !self.load()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes one more chunk; false where there is none.
    fn load(&mut self) -> Result<bool, TraceError> {
        match self.decoded.recv() {
            Ok(Ok(Message::Chunk(inputs, digests, timings))) => {
                let (registers, checkpoints) =
                    digests.map_or((None, Vec::new()), |d| (Some(d.registers), d.checkpoints));
                let events = inputs.events().map(|(exit, event)| (exit, event.clone())).collect();
                let mut next = Chunk { inputs, registers, checkpoints, events, timings };
                if let Some(mut last) = self.last.take() {
                    let first = next.inputs.first_exit;
                    let early = next.events.partition_point(|(exit, _)| *exit < first);
                    last.events.extend(next.events.drain(..early));
                    let early = next.checkpoints.partition_point(|c| c.exit < first);
                    last.checkpoints.extend(next.checkpoints.drain(..early));
                    if next.inputs.is_empty() {
                        // Nothing but what belongs to the exit before.
                        self.last = Some(last);
                        return Ok(true);
                    }
                    self.chunks.push_back(last);
                }
                self.last = Some(next);
                Ok(true)
            }
            Ok(Ok(Message::Cut(damage))) => {
                self.damage = Some(damage);
                Ok(true)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let last = self.last.take().filter(|chunk| !chunk.inputs.is_empty());
                let is_there = last.is_some();
                self.chunks.extend(last);
                Ok(is_there)
            }
        }
    }

    /// An exit that was reached and not forgotten.
    pub(super) fn get(&self, at: u64) -> Option<View<'_>> {
        let after = self.chunks.partition_point(|chunk| chunk.inputs.first_exit <= at);
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        let row = (at - chunk.inputs.first_exit) as usize;
        let exit = chunk.inputs.exit(row)?;
        let events = &chunk.events;
        let start = events.partition_point(|(exit, _)| *exit < at);
        let end = start + events[start..].partition_point(|(exit, _)| *exit == at);
        Some(View {
            index: at,
            site: exit.site,
            data: exit.data,
            fault: exit.fault,
            registers: chunk.registers.as_ref().and_then(|r| r.get(row)),
            events: &events[start..end],
            checkpoint: chunk.checkpoints.iter().find(|c| c.exit == at),
            timing: chunk.timings.get(row).copied(),
        })
    }

    /// Forgets chunks that end before this exit.
    pub(super) fn forget(&mut self, before: u64) {
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= before) {
            self.chunks.pop_front();
        }
    }
}

fn decode(trace: &Trace, queue: &SyncSender<Result<Message, TraceError>>) {
    let has_digests = trace.blocks().iter().any(|b| b.header.kind == BlockType::Digests as u16);
    let mut chunks: Box<dyn Iterator<Item = Decoded>> = if has_digests {
        Box::new(trace.inputs_with_digests().map(|chunk| chunk.map(|(i, d)| (i, Some(d)))))
    } else {
        Box::new(trace.inputs().map(|chunk| chunk.map(|i| (i, None))))
    };
    let mut timings = Timings::new(trace.timing());
    loop {
        let message = match chunks.next() {
            None => return,
            Some(Ok((inputs, digests))) => {
                timings.of(&inputs).map(|timings| Message::Chunk(inputs, digests, timings))
            }
            Some(Err(error)) => damage(error).map(Message::Cut),
        };
        let is_last = !matches!(message, Ok(Message::Chunk(..)));
        // Nobody takes it when the comparison has failed.
        if queue.send(message).is_err() || is_last {
            return;
        }
    }
}
