//! Exits with their timings, chunk by chunk: decoded on one thread, used on another.

use crate::error::AnalyzerError;
use std::ops::ControlFlow;
use std::sync::mpsc::{SyncSender, sync_channel};
use trapline_formats::{Damage, InputChunk, Timing, Trace, TraceError};

/// Decoded chunks that wait to be used. Few, for a chunk can be large.
const QUEUE: usize = 2;

/// One chunk of exits.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The exits and events.
    pub(crate) inputs: InputChunk,
    /// The timings of its first exits: of all, unless the timing stream ends early.
    pub(crate) timings: Vec<Timing>,
}

/// Where the readable part of a trace ends, found while reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The exits end here.
    pub(crate) inputs: Option<Damage>,
    /// The timings end here.
    pub(crate) timings: Option<Damage>,
}

/// Calls `each` with every readable chunk, in order. Damage ends the stream and is told; an unreadable disk is an error.
pub(crate) fn batches(
    trace: &Trace,
    mut each: impl FnMut(&Batch) -> Result<(), AnalyzerError>,
) -> Result<Cut, AnalyzerError> {
    batches_while(trace, |batch| each(batch).map(ControlFlow::Continue))
}

/// The same, as long as `each` wants more.
pub(crate) fn batches_while(
    trace: &Trace,
    mut each: impl FnMut(&Batch) -> Result<ControlFlow<()>, AnalyzerError>,
) -> Result<Cut, AnalyzerError> {
    let thread = |reason: String| AnalyzerError::Thread { path: trace.path().to_owned(), reason };
    std::thread::scope(|scope| {
        let (queue, batches) = sync_channel(QUEUE);
        let decoder = std::thread::Builder::new()
            .name("trace-decoder".into())
            .spawn_scoped(scope, move || decode(trace, &queue))
            .map_err(|e| thread(e.to_string()))?;
        let mut used = Ok(ControlFlow::Continue(()));
        for batch in &batches {
            used = each(&batch);
            if !matches!(used, Ok(ControlFlow::Continue(()))) {
                break;
            }
        }
        // The decoder stops when nobody takes its batches any more.
        drop(batches);
        let cut = decoder.join().map_err(|_| thread("it died".into()))?;
        let _ = used?;
        Ok(cut?)
    })
}

fn decode(trace: &Trace, queue: &SyncSender<Batch>) -> Result<Cut, TraceError> {
    let mut timings = Timings::new(trace.timing());
    let mut cut = Cut::default();
    for inputs in trace.inputs() {
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(error) => {
                cut.inputs = Some(damage(error)?);
                break;
            }
        };
        let timings = timings.of(&inputs)?;
        if queue.send(Batch { inputs, timings }).is_err() {
            break;
        }
    }
    cut.timings = timings.damage;
    Ok(cut)
}

/// What is said of damage that was met while reading; an unreadable disk stays an error.
pub(crate) fn damage(error: TraceError) -> Result<Damage, TraceError> {
    match error {
        TraceError::Damaged { offset, what, reason, .. } => {
            Ok(Damage { offset, reason: format!("{what}: {reason}") })
        }
        error => Err(error),
    }
}

/// The timing stream, cut as the exits are. It counts from exit 0 without gaps, or ends.
pub(crate) struct Timings<I> {
    chunks: Option<I>,
    next: u64,
    left: Vec<Timing>,
    damage: Option<Damage>,
}

impl<I: Iterator<Item = Result<(u64, Vec<Timing>), TraceError>>> Timings<I> {
    pub(crate) fn new(chunks: I) -> Self {
        Self { chunks: Some(chunks), next: 0, left: Vec::new(), damage: None }
    }

    pub(crate) fn of(&mut self, inputs: &InputChunk) -> Result<Vec<Timing>, TraceError> {
        while self.left.len() < inputs.len() && self.refill()? {}
        if self.left.len() == inputs.len() {
            return Ok(std::mem::take(&mut self.left));
        }
        let rest = self.left.split_off(inputs.len().min(self.left.len()));
        Ok(std::mem::replace(&mut self.left, rest))
    }

    /// Appends the next chunk; `false` where there is none.
    fn refill(&mut self) -> Result<bool, TraceError> {
        let Some(chunks) = &mut self.chunks else { return Ok(false) };
        match chunks.next() {
            Some(Ok((first, mut chunk))) if first == self.next => {
                self.next += chunk.len() as u64;
                if self.left.is_empty() {
                    self.left = chunk;
                } else {
                    self.left.append(&mut chunk);
                }
                return Ok(true);
            }
            Some(Ok((first, _))) => {
                let reason =
                    format!("timing block: it starts at exit {first}, but exit {} is next", self.next);
                self.damage = Some(Damage { offset: 0, reason });
            }
            Some(Err(error)) => self.damage = Some(damage(error)?),
            None => {}
        }
        self.chunks = None;
        Ok(false)
    }
}
