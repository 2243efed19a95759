//! Reads a trace file. Everything in it is checked: it may be truncated, damaged, or made by a stranger.

mod guest_pages;
mod keyframes;
mod walk;

pub use keyframes::Keyframes;

use crate::console::{self, ConsoleText};
use crate::digests::{DigestChunk, DigestDecoder};
use crate::end::End;
use crate::envelope::{BLOCK_HEADER_BYTES, BlockHeader, BlockType, FILE_HEADER_BYTES, decode_payload};
use crate::error::{Malformed, TraceError};
use crate::exit::Site;
use crate::header::Header;
use crate::held_tsc::HeldTsc;
use crate::index;
use crate::inputs::InputChunk;
use crate::memory::{self, PAGE_BYTES};
use crate::state::CpuState;
use crate::timing::{self, Timing};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use walk::{check_file_header, walk};

/// A dictionary has no more sites than this: what a reader must be ready to hold.
pub const MAX_SITES: usize = 1 << 20;

/// Where a block stands in the file.
#[derive(Debug, Clone, Copy)]
pub struct BlockPlace {
    /// Offset of its header from the start of the file.
    pub offset: u64,
    /// Its header.
    pub header: BlockHeader,
}

/// What is wrong with the tail of a trace whose beginning is readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

/// An open trace.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    file: File,
    bytes: u64,
    blocks: Vec<BlockPlace>,
    damage: Option<Damage>,
    has_index: bool,
    header: Header,
    sites: Vec<Site>,
    end: Option<End>,
}

impl Trace {
    /// Opens a trace: finds its blocks, reads header, sites and end. Fails where not even the header can be read; a damaged tail
    /// is told by [`Trace::damage`].
    ///
    /// With an index at its end, what lies between the ends of the file is not looked at: damage there is an error where it is
    /// read, and [`Trace::check`] finds it. Without one, the envelope is walked.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let io = |source| TraceError::Io { action: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(TraceError::NotATrace { path: path.to_owned(), reason: "it is a directory".into() });
        }
        let bytes = metadata.len();
        check_file_header(path, &file, bytes)?;
        let index = index::find(&file, bytes).map_err(io)?;
        let has_index = index.is_some();
        let (blocks, sites, damage) = if let Some(index) = index {
            (index.blocks, index.sites, None)
        } else {
            let (blocks, damage) = walk(&file, bytes).map_err(io)?;
            (blocks, Vec::new(), damage)
        };
        let mut trace = Self {
            path: path.to_owned(),
            file,
            bytes,
            blocks,
            damage,
            has_index,
            header: Header::default(),
            sites,
            end: None,
        };
        trace.header = trace.only(BlockType::Header)?.ok_or_else(|| {
            let (offset, reason) = match &trace.damage {
                Some(d) => (d.offset, d.reason.clone()),
                None => (FILE_HEADER_BYTES as u64, "the file ends before its header block".into()),
            };
            trace.damaged(offset, "header block", reason)
        })?;
        trace.end = trace.only(BlockType::End)?;
        if !has_index {
            trace.read_sites();
        }
        Ok(trace)
    }

    /// Reads the dictionary up to the first damaged block: the exits after it are lost with it.
    fn read_sites(&mut self) {
        let places: Vec<_> = self.places(BlockType::Sites).collect();
        for place in places {
            match self.postcard::<Vec<Site>>(&place, "sites block") {
                Ok(sites) if self.sites.len() + sites.len() > MAX_SITES => {
                    self.cut(place.offset, format!("sites block: more than {MAX_SITES} sites"));
                    return;
                }
                Ok(mut sites) => self.sites.append(&mut sites),
                Err(error) => {
                    self.cut(place.offset, error.to_string());
                    return;
                }
            }
        }
    }

    /// Forgets the blocks from `offset` on.
    fn cut(&mut self, offset: u64, reason: String) {
        self.blocks.retain(|b| b.offset < offset);
        self.end = None;
        self.damage = Some(Damage { offset, reason });
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The dictionary of sites; exits name them by index.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// How the recording ended; `None` where the end is missing (truncated, or the recorder was killed).
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What is wrong with the tail.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Whether the file ends with an index of its blocks: one that was cut off behind its end block has none.
    pub fn has_index(&self) -> bool {
        self.has_index
    }

    /// Reads every block: the first thing wrong with the file, whatever it is.
    pub fn check(&self) -> Result<Option<Damage>, TraceError> {
        for place in &self.blocks {
            let what = BlockType::from_number(place.header.kind).map_or("block", BlockType::name);
            match self.payload(place, what) {
                Ok(_) => {}
                Err(TraceError::Damaged { offset, reason, .. }) => {
                    return Ok(Some(Damage { offset, reason: format!("{what}: {reason}") }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.damage.clone())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every block, for statistics.
    pub fn blocks(&self) -> &[BlockPlace] {
        &self.blocks
    }

    /// The CPU state at the start.
    pub fn start_state(&self) -> Result<CpuState, TraceError> {
        self.only(BlockType::StartState)?
            .ok_or_else(|| self.damaged(self.tail(), "start state block", "the file ends before it".into()))
    }

    /// Calls `load` with every page of guest memory at the start that is not all zeros: (page number, 4096 bytes).
    pub fn start_memory(&self, mut load: impl FnMut(u64, &[u8])) -> Result<(), TraceError> {
        for place in self.places(BlockType::Memory) {
            let bytes = self.payload(&place, "memory block")?;
            let pages = memory::decode(&bytes)
                .map_err(|e| self.damaged(place.offset, "memory block", e.to_string()))?;
            for (number, content) in pages {
                load(number, content);
            }
        }
        Ok(())
    }

    /// The input stream, chunk by chunk.
    pub fn inputs(&self) -> impl Iterator<Item = Result<InputChunk, TraceError>> {
        self.inputs_from(0)
    }

    /// The input stream, from the chunk on that holds this exit.
    pub fn inputs_from(&self, exit: u64) -> impl Iterator<Item = Result<InputChunk, TraceError>> {
        let skipped = self.chunks_before(exit);
        let mut places = self.places(BlockType::Inputs).skip(skipped).peekable();
        let mut expected = if skipped == 0 { 0 } else { places.peek().map_or(0, |p| p.header.first_exit) };
        let mut held = self.places(BlockType::HeldTsc).skip(skipped);
        let is_held = self.places(BlockType::HeldTsc).next().is_some();
        places.map(move |place| {
            let what = "inputs block";
            let first = place.header.first_exit;
            if first != expected {
                let reason = format!("it starts at exit {first}, but exit {expected} is next");
                return Err(self.damaged(place.offset, what, reason));
            }
            let mut chunk = InputChunk::decode(first, &self.payload(&place, what)?, &self.sites)
                .map_err(|e| self.damaged(place.offset, what, e.to_string()))?;
            if is_held {
                chunk.held = Some(self.held_tsc(held.next(), &chunk)?);
            }
            expected += chunk.len() as u64;
            Ok(chunk)
        })
    }

    /// What the TSC showed during a chunk.
    fn held_tsc(&self, place: Option<BlockPlace>, inputs: &InputChunk) -> Result<HeldTsc, TraceError> {
        let what = BlockType::HeldTsc.name();
        let place = place.ok_or_else(|| self.damaged(self.tail(), what, "it is missing".into()))?;
        if place.header.first_exit != inputs.first_exit {
            let reason = "it belongs to other exits than the inputs";
            return Err(self.damaged(place.offset, what, reason.into()));
        }
        HeldTsc::decode(inputs.len() as u64, &self.payload(&place, what)?)
            .map_err(|e| self.damaged(place.offset, what, e.to_string()))
    }

    /// How many chunks stand before the one that holds this exit.
    fn chunks_before(&self, exit: u64) -> usize {
        let up_to = |place: &(usize, BlockPlace)| place.1.header.first_exit <= exit;
        self.places(BlockType::Inputs).enumerate().filter(up_to).last().map_or(0, |(i, _)| i)
    }

    /// Inputs and digests together, chunk by chunk: all that a replay needs.
    pub fn inputs_with_digests(&self) -> impl Iterator<Item = Result<(InputChunk, DigestChunk), TraceError>> {
        self.inputs_with_digests_from(0)
    }

    /// The same, from the chunk on that holds this exit.
    pub fn inputs_with_digests_from(
        &self,
        exit: u64,
    ) -> impl Iterator<Item = Result<(InputChunk, DigestChunk), TraceError>> {
        let mut digests = self.places(BlockType::Digests).skip(self.chunks_before(exit));
        let mut decoder = DigestDecoder::default();
        self.inputs_from(exit).map(move |inputs| {
            let inputs = inputs?;
            let what = "digests block";
            let place =
                digests.next().ok_or_else(|| self.damaged(self.tail(), what, "it is missing".into()))?;
            let sites = inputs.exits().map(|e| e.site);
            let digests = decoder
                .decode(place.header.first_exit, &self.payload(&place, what)?, sites)
                .map_err(|e| self.damaged(place.offset, what, e.to_string()))?;
            if digests.first_exit != inputs.first_exit {
                return Err(self.damaged(
                    place.offset,
                    what,
                    "it belongs to other exits than the inputs".into(),
                ));
            }
            Ok((inputs, digests))
        })
    }

    /// The timing stream: (first exit, timings), chunk by chunk.
    pub fn timing(&self) -> impl Iterator<Item = Result<(u64, Vec<Timing>), TraceError>> {
        self.places(BlockType::Timing).map(|place| {
            let (what, first) = ("timing block", place.header.first_exit);
            let timings = timing::decode(&self.payload(&place, what)?)
                .map_err(|e| self.damaged(place.offset, what, e.to_string()))?;
            if first.checked_add(timings.len() as u64).is_none() {
                return Err(self.damaged(place.offset, what, "an exit has an impossible number".into()));
            }
            Ok((first, timings))
        })
    }

    /// The console stream, chunk by chunk.
    pub fn console(&self) -> impl Iterator<Item = Result<Vec<ConsoleText>, TraceError>> {
        self.places(BlockType::Console).map(|place| {
            console::decode(place.header.first_exit, &self.payload(&place, "console block")?)
                .map_err(|e| self.damaged(place.offset, "console block", e.to_string()))
        })
    }

    fn places(&self, kind: BlockType) -> impl Iterator<Item = BlockPlace> {
        self.blocks.iter().copied().filter(move |b| b.header.kind == kind as u16)
    }

    fn tail(&self) -> u64 {
        self.damage.as_ref().map_or(self.bytes, |d| d.offset)
    }

    fn only<T: DeserializeOwned>(&self, kind: BlockType) -> Result<Option<T>, TraceError> {
        self.places(kind).next().map(|place| self.postcard(&place, kind.name())).transpose()
    }

    fn postcard<T: DeserializeOwned>(&self, place: &BlockPlace, what: &'static str) -> Result<T, TraceError> {
        let bytes = self.payload(place, what)?;
        postcard::from_bytes(&bytes).map_err(|e| self.damaged(place.offset, what, e.to_string()))
    }

    fn payload(&self, place: &BlockPlace, what: &'static str) -> Result<Vec<u8>, TraceError> {
        if place.header.kind == BlockType::Digests as u16 && place.header.raw > self.most_digest_bytes() {
            let reason = "it claims to be larger than the digests of such a guest may be";
            return Err(self.damaged(place.offset, what, reason.into()));
        }
        let mut stored = vec![0; BLOCK_HEADER_BYTES + place.header.stored as usize];
        match self.file.read_exact_at(&mut stored, place.offset) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged(place.offset, what, "the file ends inside it".into()));
            }
            Err(source) => {
                return Err(TraceError::Io { action: "read", path: self.path.clone(), source });
            }
        }
        if stored[..BLOCK_HEADER_BYTES] != place.header.encode() {
            return Err(self.damaged(place.offset, what, "its header is not what the index says".into()));
        }
        stored.drain(..BLOCK_HEADER_BYTES);
        decode_payload(&place.header, stored)
            .map_err(|e: Malformed| self.damaged(place.offset, what, e.to_string()))
    }

    /// Checkpoints hash the pages of the guest's memory: that, and what stands beside them.
    fn most_digest_bytes(&self) -> u32 {
        const EACH: u64 = 14;
        let pages =
            self.header.memory.iter().fold(0, |sum: u64, r| sum.saturating_add(r.bytes / PAGE_BYTES as u64));
        u32::try_from(pages.saturating_mul(EACH)).unwrap_or(u32::MAX).saturating_add(8 << 20)
    }

    fn damaged(&self, offset: u64, what: &'static str, reason: String) -> TraceError {
        TraceError::Damaged { path: self.path.clone(), offset, what, reason }
    }
}
