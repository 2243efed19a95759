//! Keyframes and the contents of their pages, found without reading more of the file than is wanted.

use super::{BlockPlace, Trace};
use crate::envelope::BlockType;
use crate::error::TraceError;
use crate::keyframe::{Change, Content, Keyframe, decode_changes};
use crate::memory::{self, PAGE_BYTES, page_hash};

/// The keyframes of a trace.
#[derive(Debug)]
pub struct Keyframes<'t> {
    trace: &'t Trace,
    all: Vec<Place>,
    /// Blocks of contents, each with the number of its first.
    contents: Vec<(u64, BlockPlace)>,
}

/// Where a keyframe is.
#[derive(Debug)]
struct Place {
    block: BlockPlace,
    changes: Vec<BlockPlace>,
}

impl Trace {
    /// The keyframes, as far as they are whole.
    pub fn keyframes(&self) -> Keyframes<'_> {
        let mut found = Keyframes { trace: self, all: Vec::new(), contents: Vec::new() };
        let (mut changes, mut next) = (Vec::new(), 0);
        for block in self.blocks.iter().copied() {
            match BlockType::from_number(block.header.kind) {
                Some(BlockType::Memory | BlockType::Contents) => {
                    found.contents.push((next, block));
                    // In a memory block, a number of at most ten bytes stands beside each of at most 256 pages.
                    next += u64::from(block.header.raw) / PAGE_BYTES as u64;
                }
                Some(BlockType::Changes) => changes.push(block),
                Some(BlockType::Keyframe) => {
                    found.all.push(Place { block, changes: std::mem::take(&mut changes) });
                }
                _ => {}
            }
        }
        found
    }
}

impl Keyframes<'_> {
    /// How many there are.
    pub fn len(&self) -> u32 {
        self.all.len() as u32
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The exit that a keyframe follows.
    pub fn exit(&self, number: u32) -> Option<u64> {
        self.all.get(number as usize).map(|place| place.block.header.first_exit)
    }

    /// The last keyframe that stands before this exit.
    pub fn before(&self, exit: u64) -> Option<u32> {
        let is_before = |place: &&Place| place.block.header.first_exit < exit;
        (self.all.iter().take_while(is_before).count() as u32).checked_sub(1)
    }

    /// What to say where the trace names a keyframe that it does not have.
    pub fn missing(&self, number: u32) -> TraceError {
        self.trace.damaged(
            self.trace.tail(),
            BlockType::Keyframe.name(),
            format!("keyframe {number} is not there"),
        )
    }

    /// Reads a keyframe, without its pages. `None` where there is none of this number.
    pub fn read(&self, number: u32) -> Result<Option<Keyframe>, TraceError> {
        let Some(place) = self.all.get(number as usize) else { return Ok(None) };
        let what = BlockType::Keyframe.name();
        let keyframe: Keyframe = self.trace.postcard(&place.block, what)?;
        if (keyframe.number, keyframe.exit) != (number, place.block.header.first_exit) {
            let reason = format!("it is the keyframe {} where {number} is next", keyframe.number);
            return Err(self.trace.damaged(place.block.offset, what, reason));
        }
        Ok(Some(keyframe))
    }

    /// The pages that changed since the keyframe before, ascending. `None` where there is no keyframe of this number.
    pub fn changes(&self, number: u32) -> Result<Option<Vec<Change>>, TraceError> {
        let (Some(place), Some(keyframe)) = (self.all.get(number as usize), self.read(number)?) else {
            return Ok(None);
        };
        let mut all = Vec::new();
        for block in &place.changes {
            let what = BlockType::Changes.name();
            let payload = self.trace.payload(block, what)?;
            let changes = decode_changes(number, &payload)
                .map_err(|e| self.trace.damaged(block.offset, what, e.to_string()))?;
            all.extend(changes);
        }
        if all.len() as u64 != keyframe.changes || !all.is_sorted_by(|a, b| a.page < b.page) {
            let reason = "it does not have the pages that it says".to_owned();
            return Err(self.trace.damaged(place.block.offset, BlockType::Keyframe.name(), reason));
        }
        Ok(Some(all))
    }

    /// Calls `visit` with what these pages hold, in no certain order: (page number, 4096 bytes).
    pub fn load(&self, mut pages: Vec<Change>, mut visit: impl FnMut(u64, &[u8])) -> Result<(), TraceError> {
        pages.sort_unstable_by_key(|change| match change.content {
            Content::Zeros => None,
            Content::Stored(number) => Some(number),
        });
        let mut open: Option<OpenBlock> = None;
        for change in pages {
            let zeros = [0; PAGE_BYTES];
            let (offset, content) = match change.content {
                Content::Zeros => (self.trace.tail(), &zeros[..]),
                Content::Stored(number) => {
                    let block = match open.take().filter(|block| block.get(number).is_some()) {
                        Some(block) => open.insert(block),
                        None => open.insert(self.open(number)?),
                    };
                    (block.offset, block.get(number).unwrap_or_default())
                }
            };
            if page_hash(content) != change.hash {
                let reason = format!("it is not what the keyframe says of page {:#x}", change.page << 12);
                return Err(self.trace.damaged(offset, "contents of a page", reason));
            }
            visit(change.page, content);
        }
        Ok(())
    }

    /// Reads the block that should hold this content.
    fn open(&self, number: u32) -> Result<OpenBlock, TraceError> {
        let at = self.contents.partition_point(|(first, _)| *first <= u64::from(number));
        let Some((first, place)) = at.checked_sub(1).and_then(|i| self.contents.get(i)) else {
            let reason = format!("content {number} is not there");
            return Err(self.trace.damaged(self.trace.tail(), BlockType::Contents.name(), reason));
        };
        let kind = BlockType::from_number(place.header.kind).unwrap_or(BlockType::Contents);
        let mut bytes = self.trace.payload(place, kind.name())?;
        if kind == BlockType::Memory {
            let pages = memory::decode(&bytes)
                .map_err(|e| self.trace.damaged(place.offset, kind.name(), e.to_string()))?;
            bytes = pages.into_iter().flat_map(|(_, content)| content).copied().collect();
        }
        Ok(OpenBlock { first: *first, offset: place.offset, bytes })
    }
}

/// Contents that are read.
struct OpenBlock {
    first: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl OpenBlock {
    fn get(&self, number: u32) -> Option<&[u8]> {
        let i = usize::try_from(u64::from(number).checked_sub(self.first)?).ok()?;
        self.bytes.chunks_exact(PAGE_BYTES).nth(i)
    }
}
