//! What devices read from guest memory and write into it. Whatever they write is an input, and logged.

use crate::error::RecorderError;
use crate::log::Log;
use trapline_formats::memory::page_hash;
use trapline_formats::{Event, Gpa, MemoryRegion, Site};
use trapline_machine::{Mapping, Memory};
use vm_memory::{GuestAddress, GuestMemoryBackend};

/// An address that a device was given is not RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRam;

/// Where what is written to guest memory is noted.
enum Sink<'a> {
    Nowhere,
    List(&'a mut Vec<Event>),
    Log(&'a mut Log, &'a [Site]),
}

/// Guest memory as devices reach it, while the guest stands between two instructions.
pub struct Transfers<'a> {
    memory: &'a Memory,
    sink: Sink<'a>,
    /// Number of the platform's first file among those of the header.
    first_file: u32,
    failed: Option<RecorderError>,
}

impl<'a> Transfers<'a> {
    /// Transfers that nobody logs.
    pub fn unlogged(memory: &'a Memory) -> Self {
        Self { memory, sink: Sink::Nowhere, first_file: 0, failed: None }
    }

    /// Transfers that are noted in a list, for who looks at what devices do without recording it.
    pub fn listed(memory: &'a Memory, events: &'a mut Vec<Event>) -> Self {
        Self { memory, sink: Sink::List(events), first_file: 0, failed: None }
    }

    /// Transfers into a log that has these sites.
    pub(crate) fn logged(memory: &'a Memory, log: &'a mut Log, sites: &'a [Site], first_file: u32) -> Self {
        Self { memory, sink: Sink::Log(log, sites), first_file, failed: None }
    }

    /// What kept the log from being written.
    pub(crate) fn finish(self) -> Result<(), RecorderError> {
        self.failed.map_or(Ok(()), Err)
    }

    /// All of it, to be read; what is written to it otherwise must be told to [`Transfers::written`].
    pub fn memory(&self) -> &'a Mapping {
        self.memory.mmap()
    }

    /// Whether a device may write there: it is RAM, all of it.
    pub fn is_ram(&self, gpa: Gpa, length: usize) -> bool {
        let Some(end) = gpa.0.checked_add(length as u64) else { return false };
        let is_rom = |r: &MemoryRegion| r.readonly && r.gpa < end && gpa.0 < r.gpa + r.bytes;
        self.memory.mmap().check_range(GuestAddress(gpa.0), length)
            && !self.memory.regions().iter().any(is_rom)
    }

    /// Copies bytes out of guest memory.
    pub fn read(&self, gpa: Gpa, bytes: &mut [u8]) -> Result<(), NotRam> {
        self.memory.read(gpa, bytes).map_err(|_| NotRam)
    }

    /// Copies bytes into guest memory.
    pub fn write(&mut self, gpa: Gpa, bytes: &[u8]) -> Result<(), NotRam> {
        self.put(gpa, bytes)?;
        self.log_bytes(gpa, bytes);
        Ok(())
    }

    /// Copies what stands at `offset` of a file of the platform into guest memory: the log refers to the file.
    pub fn write_from_file(&mut self, gpa: Gpa, bytes: &[u8], file: u32, offset: u64) -> Result<(), NotRam> {
        self.put(gpa, bytes)?;
        let file = self.first_file + file;
        for (piece, at) in bytes.chunks(Event::LONGEST_WRITE).zip((0..).step_by(Event::LONGEST_WRITE)) {
            let (gpa, offset, length) = (gpa.0 + at, offset + at, piece.len() as u32);
            self.log(|| Event::FileRead { gpa, file, offset, length, xxh3: page_hash(piece) });
        }
        Ok(())
    }

    /// Logs what something else has written.
    pub fn written(&mut self, gpa: Gpa, length: usize) -> Result<(), NotRam> {
        let mut bytes = vec![0; length];
        self.read(gpa, &mut bytes)?;
        self.log_bytes(gpa, &bytes);
        Ok(())
    }

    fn put(&self, gpa: Gpa, bytes: &[u8]) -> Result<(), NotRam> {
        if !self.is_ram(gpa, bytes.len()) {
            return Err(NotRam);
        }
        self.memory.write(gpa, bytes).map_err(|_| NotRam)
    }

    fn log_bytes(&mut self, gpa: Gpa, bytes: &[u8]) {
        for (piece, at) in bytes.chunks(Event::LONGEST_WRITE).zip((0..).step_by(Event::LONGEST_WRITE)) {
            self.log(|| Event::MemoryWrite { gpa: gpa.0 + at, bytes: piece.into() });
        }
    }

    fn log(&mut self, event: impl FnOnce() -> Event) {
        match &mut self.sink {
            Sink::Nowhere => {}
            Sink::List(events) => events.push(event()),
            Sink::Log(log, sites) => {
                log.event(event());
                // A guest can ask for more in one go than a block holds.
                if log.is_due()
                    && let Err(error) = log.cut(sites)
                {
                    self.failed.get_or_insert(error.into());
                }
            }
        }
    }
}
