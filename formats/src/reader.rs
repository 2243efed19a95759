//! Reads a trace file. Everything in it is checked: it may be truncated, damaged, or made by a stranger.

use crate::console::{self, ConsoleText};
use crate::digests::{DigestChunk, DigestDecoder};
use crate::end::End;
use crate::envelope::{
    BLOCK_HEADER_BYTES, BlockHeader, BlockType, FILE_HEADER_BYTES, FILE_MAGIC, VERSION, decode_payload,
};
use crate::error::{Malformed, TraceError};
use crate::exit::Site;
use crate::header::Header;
use crate::inputs::InputChunk;
use crate::memory;
use crate::state::CpuState;
use crate::timing::{self, Timing};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

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
    header: Header,
    sites: Vec<Site>,
    end: Option<End>,
}

impl Trace {
    /// Opens a trace: walks its envelope, reads header, sites and end. Fails where not even the header can be read; a
    /// damaged tail is told by [`Trace::damage`].
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let io = |source| TraceError::Io { action: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(TraceError::NotATrace { path: path.to_owned(), reason: "it is a directory".into() });
        }
        let bytes = metadata.len();
        check_file_header(path, &file, bytes)?;
        let (blocks, damage) = walk(&file, bytes).map_err(io)?;
        let mut trace = Self {
            path: path.to_owned(),
            file,
            bytes,
            blocks,
            damage,
            header: Header::default(),
            sites: Vec::new(),
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
        trace.read_sites();
        Ok(trace)
    }

    /// Reads the dictionary up to the first damaged block: the exits after it are lost with it.
    fn read_sites(&mut self) {
        let places: Vec<_> = self.places(BlockType::Sites).collect();
        for place in places {
            match self.postcard::<Vec<Site>>(&place, "sites block") {
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
        let mut expected = 0;
        self.places(BlockType::Inputs).map(move |place| {
            let what = "inputs block";
            let first = place.header.first_exit;
            if first != expected {
                let reason = format!("it starts at exit {first}, but exit {expected} is next");
                return Err(self.damaged(place.offset, what, reason));
            }
            let chunk = InputChunk::decode(first, &self.payload(&place, what)?, &self.sites)
                .map_err(|e| self.damaged(place.offset, what, e.to_string()))?;
            expected += chunk.len() as u64;
            Ok(chunk)
        })
    }

    /// Inputs and digests together, chunk by chunk: all that a replay needs.
    pub fn inputs_with_digests(&self) -> impl Iterator<Item = Result<(InputChunk, DigestChunk), TraceError>> {
        let mut digests = self.places(BlockType::Digests);
        let mut decoder = DigestDecoder::default();
        self.inputs().map(move |inputs| {
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
            let timings = timing::decode(&self.payload(&place, "timing block")?)
                .map_err(|e| self.damaged(place.offset, "timing block", e.to_string()))?;
            Ok((place.header.first_exit, timings))
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
        let mut stored = vec![0; place.header.stored as usize];
        self.file
            .read_exact_at(&mut stored, place.offset + BLOCK_HEADER_BYTES as u64)
            .map_err(|source| TraceError::Io { action: "read", path: self.path.clone(), source })?;
        decode_payload(&place.header, stored)
            .map_err(|e: Malformed| self.damaged(place.offset, what, e.to_string()))
    }

    fn damaged(&self, offset: u64, what: &'static str, reason: String) -> TraceError {
        TraceError::Damaged { path: self.path.clone(), offset, what, reason }
    }
}

fn check_file_header(path: &Path, file: &File, bytes: u64) -> Result<(), TraceError> {
    let not = |reason: String| TraceError::NotATrace { path: path.to_owned(), reason };
    if bytes == 0 {
        return Err(not("it is empty".into()));
    }
    let mut start = [0; FILE_HEADER_BYTES];
    if file.read_exact_at(&mut start, 0).is_err() {
        return Err(not(format!("it has only {bytes} bytes, less than a file header")));
    }
    if start[..8] != FILE_MAGIC {
        return Err(not("it does not start with the magic of a trace".into()));
    }
    if crc32c::crc32c(&start[..12]) != u32::from_le_bytes([start[12], start[13], start[14], start[15]]) {
        return Err(TraceError::Damaged {
            path: path.to_owned(),
            offset: 0,
            what: "file header",
            reason: "its checksum is wrong".into(),
        });
    }
    let found = u16::from_le_bytes([start[8], start[9]]);
    if found > VERSION {
        return Err(TraceError::TooNew { path: path.to_owned(), found, supported: VERSION });
    }
    Ok(())
}

/// Walks the blocks up to the end or to the first thing that is none.
fn walk(file: &File, bytes: u64) -> std::io::Result<(Vec<BlockPlace>, Option<Damage>)> {
    let mut blocks = Vec::new();
    let mut offset = FILE_HEADER_BYTES as u64;
    let damage = |offset, reason: &str| Some(Damage { offset, reason: reason.to_owned() });
    while offset < bytes {
        if bytes - offset < BLOCK_HEADER_BYTES as u64 {
            return Ok((blocks, damage(offset, "the file ends inside a block header")));
        }
        let mut head = [0; BLOCK_HEADER_BYTES];
        file.read_exact_at(&mut head, offset)?;
        let header = match BlockHeader::decode(&head) {
            Ok(header) => header,
            Err(error) => return Ok((blocks, damage(offset, error.0))),
        };
        let next = offset + BLOCK_HEADER_BYTES as u64 + u64::from(header.stored);
        if next > bytes {
            return Ok((blocks, damage(offset, "the file ends inside a block")));
        }
        blocks.push(BlockPlace { offset, header });
        offset = next;
    }
    Ok((blocks, None))
}
