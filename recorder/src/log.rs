//! The log of a recording: what happened, noted down, cut into chunks, handed to the trace writer.

use crate::error::RecorderError;
use std::path::Path;
use trapline_formats::digests::Checkpoint;
use trapline_formats::envelope::BlockType;
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{
    Batch, ConsoleEncoder, CpuState, End, Event, Header, Keyframe, Pages, RawExit, Registers, Site, Timing,
    TraceError, TraceWriter,
};
use trapline_machine::{Exit, Machine, MemoryWatch, ticks};

/// A chunk is cut when it has this many exits ...
const CHUNK_EXITS: usize = 4096;
/// ... or this many bytes in exits of several elements ...
const CHUNK_BYTES: usize = 256 << 10;
/// ... or is this old: what a killed recorder may lose, in ms.
const CHUNK_MS: u64 = 500;
/// Room in a batch: whether to cut is asked only every so many exits.
const ROOM: usize = CHUNK_EXITS + 64;

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    writer: TraceWriter,
    /// The exits since the last cut.
    batch: Batch,
    console: ConsoleEncoder,
    /// Sites already in the file.
    sites_written: usize,
    first_exit: u64,
    chunk_started: u64,
    chunk_ticks: u64,
}

impl Log {
    pub(crate) fn create(path: &Path, replace: bool, tick_hz: u64) -> Result<Self, TraceError> {
        Ok(Self {
            writer: TraceWriter::create(path, replace)?,
            batch: Batch::with_room(ROOM),
            console: ConsoleEncoder::default(),
            sites_written: 0,
            first_exit: 0,
            chunk_started: ticks(),
            chunk_ticks: tick_hz / 1000 * CHUNK_MS,
        })
    }

    /// Writes what stands before the first exit: header, CPU state, memory, which is watched from here on. `look` sees every page that
    /// is written.
    pub(crate) fn start(
        &mut self,
        header: &Header,
        state: &CpuState,
        machine: &Machine,
        logs_writes: bool,
        mut look: impl FnMut(&[u8; PAGE_BYTES]),
    ) -> Result<MemoryWatch, RecorderError> {
        self.block(BlockType::Header, &encode(header))?;
        self.block(BlockType::StartState, &encode(state))?;
        let mut pages = Pages::new();
        let mut result = Ok(());
        let watch = MemoryWatch::start(machine, logs_writes, |number, hash, content| {
            look(content);
            pages.push(number, hash, content);
            if pages.is_full() && result.is_ok() {
                result = self.writer.start_memory(std::mem::replace(&mut pages, Pages::new()));
            }
        })?;
        result?;
        if !pages.is_empty() {
            self.writer.start_memory(pages)?;
        }
        self.chunk_started = ticks();
        Ok(watch)
    }

    fn block(&mut self, kind: BlockType, payload: &[u8]) -> Result<(), TraceError> {
        if payload.is_empty() { Ok(()) } else { self.writer.block(kind, 0, payload.to_vec()) }
    }

    /// Logs an exit, its data complete, and the time since the one before.
    #[inline]
    pub(crate) fn exit(&mut self, site: u32, exit: &Exit, registers: &Registers, spent: Timing) {
        let bulk = if exit.is_scalar() { 0 } else { self.bulk(exit) };
        let place = self.batch.next_exit();
        // Up to 128 bytes are copied on the spot; all of them at once would be a call.
        let Registers { general, rip, rflags } = registers;
        place.registers.general = *general;
        (place.registers.rip, place.registers.rflags) = (*rip, *rflags);
        place.spent = spent;
        place.site = site;
        place.bulk = bulk;
        place.value = exit.value();
        place.fault = exit.fault;
    }

    #[cold]
    fn bulk(&mut self, exit: &Exit) -> u32 {
        self.batch.bulk(exit.data());
        exit.data().len() as u32
    }

    /// Logs an event after the last exit.
    pub(crate) fn event(&mut self, event: Event) {
        self.batch.event(event);
    }

    /// Logs what the guest's TSC shows from here on: after the last exit, or a carried keyframe. If it is held, that starts before the first
    /// exit.
    pub(crate) fn hold_tsc(&mut self, keyframe: Option<u32>, value: u64) {
        self.batch.hold_tsc(keyframe, value);
    }

    /// Logs a checkpoint after the last exit.
    pub(crate) fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.batch.checkpoint(checkpoint);
    }

    /// Logs pages of the next keyframe, which stands after this exit.
    pub(crate) fn keyframe_pages(&mut self, exit: u64, pages: Pages) -> Result<(), TraceError> {
        if pages.is_empty() { Ok(()) } else { self.writer.keyframe_pages(exit, pages) }
    }

    /// Logs a keyframe after the last exit.
    pub(crate) fn keyframe(&mut self, keyframe: Keyframe) -> Result<(), TraceError> {
        let Keyframe { number, carried, .. } = keyframe;
        self.writer.keyframe(keyframe)?;
        self.event(Event::Keyframe { number, carried });
        Ok(())
    }

    /// Logs console text printed at an exit: the one that is being handled, or the last.
    pub(crate) fn console(&mut self, exit: u64, channel: u8, bytes: &[u8]) {
        self.console.push(exit, channel, bytes);
    }

    /// The first exit since the last cut, and all of them.
    pub(crate) fn exits(&self) -> (u64, &[RawExit]) {
        (self.first_exit, self.batch.exits())
    }

    fn next_exit(&self) -> u64 {
        self.first_exit + self.batch.exits().len() as u64
    }

    /// Bytes in the file.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.writer.bytes_written()
    }

    /// Whether the chunk is to be cut: it is large or old.
    pub(crate) fn is_due(&self) -> bool {
        self.batch.exits().len() >= CHUNK_EXITS || self.batch.bulk_bytes() >= CHUNK_BYTES || self.is_old()
    }

    /// Whether the chunk has waited long enough to be written, whatever its size.
    pub(crate) fn is_old(&self) -> bool {
        ticks().wrapping_sub(self.chunk_started) >= self.chunk_ticks
    }

    /// Cuts the chunk.
    pub(crate) fn cut(&mut self, sites: &[Site]) -> Result<(), TraceError> {
        self.chunk_started = ticks();
        if sites.len() > self.sites_written {
            self.writer.sites(self.first_exit, sites[self.sites_written..].to_vec())?;
            self.sites_written = sites.len();
        }
        let next_exit = self.next_exit();
        let console = self.console.take(next_exit);
        if !console.is_empty() {
            self.writer.block(BlockType::Console, self.first_exit, console)?;
        }
        if !self.batch.is_empty() {
            let next = self.writer.spare().unwrap_or_else(|| Batch::with_room(ROOM));
            self.writer.exits(self.first_exit, std::mem::replace(&mut self.batch, next))?;
        }
        self.first_exit = next_exit;
        Ok(())
    }

    /// Writes the end and waits for the disk.
    pub(crate) fn finish(&mut self, sites: &[Site], end: &End) -> Result<(), TraceError> {
        self.cut(sites)?;
        self.writer.last_timing()?;
        self.writer.block(BlockType::End, self.next_exit(), encode(end))?;
        self.writer.index()?;
        self.writer.finish()
    }
}

/// postcard to memory, which fails only when memory does.
fn encode<T: serde::Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap_or_default()
}
