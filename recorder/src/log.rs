//! The log of a recording: streams in memory, cut into chunks, handed to the trace writer.

use crate::error::RecorderError;
use std::path::Path;
use trapline_formats::digests::{Checkpoint, DigestEncoder};
use trapline_formats::envelope::BlockType;
use trapline_formats::memory::{self, PAGES_PER_BLOCK};
use trapline_formats::{
    ConsoleEncoder, CpuState, End, Event, Header, InputEncoder, Registers, Site, Timing, TraceError,
    TraceWriter,
};
use trapline_machine::{Machine, is_zero, ticks};

/// A chunk is cut when it has this many exits ...
const CHUNK_EXITS: u32 = 4096;
/// ... or this many bytes in its largest stream ...
const CHUNK_BYTES: usize = 256 << 10;
/// ... or is this old: what a killed recorder may lose, in ms.
const CHUNK_MS: u64 = 500;

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    writer: TraceWriter,
    inputs: InputEncoder,
    timing: Vec<Timing>,
    digests: DigestEncoder,
    console: ConsoleEncoder,
    /// Sites already in the file.
    sites_written: usize,
    first_exit: u64,
    first_timing: u64,
    next_exit: u64,
    timings: u64,
    chunk_started: u64,
    chunk_ticks: u64,
}

impl Log {
    pub(crate) fn create(path: &Path, replace: bool, tick_hz: u64) -> Result<Self, TraceError> {
        Ok(Self {
            writer: TraceWriter::create(path, replace)?,
            inputs: InputEncoder::new(),
            timing: Vec::new(),
            digests: DigestEncoder::default(),
            console: ConsoleEncoder::default(),
            sites_written: 0,
            first_exit: 0,
            first_timing: 0,
            next_exit: 0,
            timings: 0,
            chunk_started: ticks(),
            chunk_ticks: tick_hz / 1000 * CHUNK_MS,
        })
    }

    /// Writes what stands before the first exit: header, CPU state, memory.
    pub(crate) fn start(
        &mut self,
        header: &Header,
        state: &CpuState,
        machine: &Machine,
    ) -> Result<(), RecorderError> {
        self.block(BlockType::Header, &encode(header))?;
        self.block(BlockType::StartState, &encode(state))?;
        let mut pages: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut result = Ok(());
        machine.memory().for_each_page(|number, content| {
            if is_zero(content) || result.is_err() {
                return;
            }
            pages.push((number, content.to_vec()));
            if pages.len() == PAGES_PER_BLOCK {
                result = self.pages(&mut pages);
            }
        })?;
        result?;
        self.pages(&mut pages)?;
        self.chunk_started = ticks();
        Ok(())
    }

    fn pages(&mut self, pages: &mut Vec<(u64, Vec<u8>)>) -> Result<(), TraceError> {
        let bytes = memory::encode(pages.iter().map(|(n, p)| (*n, p.as_slice())));
        pages.clear();
        self.block(BlockType::Memory, &bytes)
    }

    fn block(&mut self, kind: BlockType, payload: &[u8]) -> Result<(), TraceError> {
        if payload.is_empty() { Ok(()) } else { self.writer.block(kind, 0, payload.to_vec()) }
    }

    /// Logs an exit, its data complete.
    #[inline]
    pub(crate) fn exit(&mut self, number: u32, site: &Site, data: &[u8], fault: bool, registers: &Registers) {
        self.inputs.exit(number, site, data, fault);
        self.digests.exit(number, registers);
        self.next_exit += 1;
    }

    /// Logs the timing of the oldest exit that has none.
    #[inline]
    pub(crate) fn timing(&mut self, timing: Timing) {
        self.timing.push(timing);
    }

    /// Logs an event after the last exit.
    pub(crate) fn event(&mut self, event: Event) {
        self.inputs.event(event);
    }

    /// Logs a checkpoint after the last exit.
    pub(crate) fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.inputs.event(Event::Checkpoint);
        self.digests.checkpoint(checkpoint);
    }

    /// Logs console text printed at the exit that is being handled.
    pub(crate) fn console(&mut self, channel: u8, bytes: &[u8]) {
        self.console.push(self.next_exit, channel, bytes);
    }

    /// Bytes in the file.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.writer.bytes_written()
    }

    /// Cuts the chunk if it is large or old enough. Call between exits.
    #[inline]
    pub(crate) fn cut_if_due(&mut self, sites: &[Site]) -> Result<bool, TraceError> {
        if self.inputs.exits().is_multiple_of(64) { self.cut_now_if_due(sites) } else { Ok(false) }
    }

    #[inline(never)]
    fn cut_now_if_due(&mut self, sites: &[Site]) -> Result<bool, TraceError> {
        let is_due = self.inputs.exits() >= CHUNK_EXITS
            || self.inputs.len().max(self.digests.len()) >= CHUNK_BYTES
            || self.is_old();
        if is_due {
            self.cut(sites)?;
        }
        Ok(is_due)
    }

    /// Whether the chunk has waited long enough to be written, whatever its size.
    pub(crate) fn is_old(&self) -> bool {
        ticks().wrapping_sub(self.chunk_started) >= self.chunk_ticks
    }

    /// Cuts the chunk. The inputs go last: where they are in the file, all that belongs to them is too.
    pub(crate) fn cut(&mut self, sites: &[Site]) -> Result<(), TraceError> {
        self.chunk_started = ticks();
        if sites.len() > self.sites_written {
            self.writer.block(BlockType::Sites, self.first_exit, encode(&sites[self.sites_written..]))?;
            self.sites_written = sites.len();
        }
        let console = self.console.take(self.next_exit);
        if !console.is_empty() {
            self.writer.block(BlockType::Console, self.first_exit, console)?;
        }
        let timing = std::mem::take(&mut self.timing);
        if !timing.is_empty() {
            self.timings += timing.len() as u64;
            self.timing.reserve(timing.len());
            self.writer.timings(self.first_timing, timing)?;
            self.first_timing = self.timings;
        }
        if !self.inputs.is_empty() {
            self.writer.block(BlockType::Digests, self.first_exit, self.digests.take())?;
            self.writer.block(BlockType::Inputs, self.first_exit, self.inputs.take())?;
        }
        self.first_exit = self.next_exit;
        Ok(())
    }

    /// Writes the end and waits for the disk.
    pub(crate) fn finish(&mut self, sites: &[Site], end: &End) -> Result<(), TraceError> {
        self.cut(sites)?;
        self.writer.block(BlockType::End, self.next_exit, encode(end))?;
        self.writer.finish()
    }
}

/// postcard to memory, which fails only when memory does.
fn encode<T: serde::Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap_or_default()
}
