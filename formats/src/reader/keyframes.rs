//! Keyframes and the contents of their pages, found without reading more of the file than is wanted.

use super::guest_pages::GuestPages;
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
    pages: GuestPages,
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
        let pages = GuestPages::of(&self.header.memory);
        let mut found = Keyframes { trace: self, all: Vec::new(), contents: Vec::new(), pages };
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
        let damaged = |reason: &str| {
            self.trace.damaged(place.block.offset, BlockType::Keyframe.name(), reason.to_owned())
        };
        // Blocks of a few bytes can list millions of pages: no more of them are held than the guest has.
        if keyframe.changes > self.pages.len() {
            return Err(damaged("it changes more pages than its guest has"));
        }
        let mut all = Vec::new();
        for block in &place.changes {
            let what = BlockType::Changes.name();
            let payload = self.trace.payload(block, what)?;
            let changes = decode_changes(number, &payload)
                .map_err(|e| self.trace.damaged(block.offset, what, e.to_string()))?;
            all.extend(changes);
            if all.len() as u64 > keyframe.changes {
                break;
            }
        }
        if all.len() as u64 != keyframe.changes || !all.is_sorted_by(|a, b| a.page < b.page) {
            return Err(damaged("it does not have the pages that it says"));
        }
        if !all.iter().all(|change| self.pages.has(change.page)) {
            return Err(damaged("it changes a page that its guest does not have"));
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
                    let content = block.get(number).ok_or_else(|| {
                        let reason = format!("content {number} is not there");
                        self.trace.damaged(block.offset, BlockType::Contents.name(), reason)
                    })?;
                    (block.offset, content)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyframe::encode_changes;
    use crate::memory::page_hash;
    use crate::state::CpuState;
    use crate::{Header, MemoryRegion, TraceWriter};
    use tempfile::NamedTempFile;

    const PAGE: [u8; PAGE_BYTES] = [7; PAGE_BYTES];

    /// A trace of a guest with four pages of memory, and of one keyframe that says that it changes so many; one content is stored.
    fn trace(changes: &[Change], said: u64) -> Trace {
        let file = NamedTempFile::new().unwrap();
        let mut writer = TraceWriter::create(file.path(), true).unwrap();
        let memory = vec![MemoryRegion { gpa: 0x1000, bytes: 0x4000, readonly: false }];
        let header = Header { memory, ..Header::default() };
        let keyframe = Keyframe {
            number: 0,
            exit: 0,
            carried: false,
            window_requested: false,
            cpu: CpuState::default(),
            changes: said,
        };
        let blocks = [
            (BlockType::Header, postcard::to_stdvec(&header).unwrap()),
            (BlockType::Contents, PAGE.to_vec()),
            (BlockType::Changes, encode_changes(0, changes)),
            (BlockType::Keyframe, postcard::to_stdvec(&keyframe).unwrap()),
        ];
        for (kind, payload) in blocks {
            writer.block(kind, 0, payload).unwrap();
        }
        writer.finish().unwrap();
        Trace::open(file.path()).unwrap()
    }

    fn change(page: u64, content: &[u8], stored: u32) -> Change {
        Change { page, hash: page_hash(content), content: Content::Stored(stored) }
    }

    fn reason<T: std::fmt::Debug>(result: Result<T, TraceError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn the_pages_of_a_keyframe_are_loaded() {
        let trace = trace(&[change(1, &PAGE, 0), change(4, &PAGE, 0)], 2);
        let keyframes = trace.keyframes();
        let changes = keyframes.changes(0).unwrap().unwrap();
        let mut pages = Vec::new();
        keyframes.load(changes, |page, content| pages.push((page, content == PAGE))).unwrap();
        assert_eq!(pages, [(1, true), (4, true)]);
    }

    #[test]
    fn a_content_that_no_block_holds_is_damage_even_if_nothing_has_its_hash() {
        for content in [&PAGE[..], &[]] {
            let change = change(1, content, 1);
            let trace = trace(&[change], 1);
            let loaded = trace.keyframes().load(vec![change], |page, content| {
                panic!("{} bytes of page {page}", content.len());
            });
            assert!(reason(loaded).contains("content 1 is not there"));
        }
    }

    #[test]
    fn a_keyframe_changes_no_more_pages_than_its_guest_has() {
        let changes: Vec<_> = (1..7).map(|page| change(page, &PAGE, 0)).collect();
        let changed = |changes: &[Change], said| reason(trace(changes, said).keyframes().changes(0));
        assert!(changed(&changes, 6).contains("more pages than its guest has"));
        assert!(changed(&changes, 4).contains("does not have the pages that it says"));
        assert!(changed(&changes[..3], 4).contains("does not have the pages that it says"));
        for foreign in [0, 5, u64::MAX] {
            assert!(changed(&[change(foreign, &PAGE, 0)], 1).contains("a page that its guest does not have"));
        }
    }
}
