//! When exits happened.

use crate::error::AnalyzerError;
use crate::stream::damage;
use crate::ticks::{Apportion, Ticks};
use trapline_formats::{Timing, Trace, TraceError};

/// The times of exits, chunk by chunk: the first exit, and its time and those of its followers.
type Chunks<'t> = Box<dyn Iterator<Item = Result<(u64, Vec<Timing>), TraceError>> + 't>;

/// Tells the start of exits, which are asked for in ascending order.
pub(super) struct Clock<'t> {
    /// The chunks of times that are left; none after the first that is missing or damaged.
    chunks: Option<Chunks<'t>>,
    chunk: std::vec::IntoIter<Timing>,
    /// The exit that starts now.
    exit: u64,
    now: Option<Apportion>,
}

impl<'t> Clock<'t> {
    pub(super) fn new(trace: &'t Trace) -> Self {
        Self {
            chunks: Some(Box::new(trace.timing())),
            chunk: Vec::new().into_iter(),
            exit: 0,
            now: Ticks::new(trace.header().tick_hz).map(Apportion::new),
        }
    }

    /// The KVM_RUN entry before an exit, in nanoseconds from the start of the recording: where the one before ended. None
    /// where the times have ended, or there never were any.
    pub(super) fn start_of(&mut self, exit: u64) -> Result<Option<u64>, AnalyzerError> {
        while self.exit < exit {
            let Some(timing) = self.next()? else { return Ok(None) };
            if let Some(now) = &mut self.now {
                now.next(timing.guest.into());
                now.next(timing.vmm.into());
            }
            self.exit += 1;
        }
        Ok(self.now.map(|now| now.total()))
    }

    fn next(&mut self) -> Result<Option<Timing>, AnalyzerError> {
        loop {
            if let Some(timing) = self.chunk.next() {
                return Ok(Some(timing));
            }
            let Some(chunks) = &mut self.chunks else { return Ok(None) };
            match chunks.next() {
                Some(Ok((first, chunk))) if first == self.exit => self.chunk = chunk.into_iter(),
                Some(Err(error)) => {
                    damage(error)?;
                    self.chunks = None;
                }
                _ => self.chunks = None,
            }
        }
    }
}
