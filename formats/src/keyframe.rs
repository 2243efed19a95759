//! Keyframes: complete state in the middle of a trace, to start a replay from.
//!
//! A keyframe is written as contents of pages that the file does not hold yet, lists of the pages that changed since the keyframe
//! before, and the state of the processor, in this order: where the last is, all that belongs to it is.
//! ```text
//! contents := page*                                  4096 bytes each
//! changes  := keyframe:varint change*                number of the keyframe that they belong to
//! change   := page:varint hash:u64 content:delta     page: difference to the one before; XXH3-64 of what it holds
//! keyframe := postcard(Keyframe)
//! ```
//! Contents are numbered through the file: first the pages of the memory blocks, in their order, then those of the contents
//! blocks. `content` is 0 for a page of zeros, which is stored nowhere, otherwise the number plus one, as a difference to the one
//! before in the list. A page that goes back to an earlier content, or that equals another one, is not stored again.

use crate::error::Malformed;
use crate::memory::{PAGE_BYTES, PAGES_PER_BLOCK, is_zero};
use crate::state::CpuState;
use crate::varint::{Cursor, put, put_delta};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_128;

/// Pages in one block of changes: a bound on what a reader holds at once.
pub const CHANGES_PER_BLOCK: usize = 1 << 16;
/// Contents that the encoder remembers. Beyond it forgets them all, and what comes again is stored again.
const REMEMBERED: usize = 1 << 20;

/// The state of the processor at a keyframe, and what else there is to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyframe {
    /// Its number: 0 for the first of the trace. [`crate::Event::Keyframe`] names it where it stands.
    pub number: u32,
    /// The exit that it follows; the exit's instruction is complete.
    pub exit: u64,
    /// A replay takes it over instead of executing up to it: it stands between two exits, where no replay stops by itself.
    /// Otherwise it stands at a settled position, is compared there, and a replay may start from it.
    pub carried: bool,
    /// KVM has been asked to exit when the guest can take an interrupt.
    pub window_requested: bool,
    /// The complete CPU state.
    pub cpu: CpuState,
    /// How many pages changed since the keyframe before.
    pub changes: u64,
}

/// A page that changed since the keyframe before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Number of the page.
    pub page: u64,
    /// XXH3-64 of what it holds, as in digests.
    pub hash: u64,
    /// Where that is.
    pub content: Content,
}

/// Where the content of a page is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// All zeros: nowhere.
    Zeros,
    /// The content of this number.
    Stored(u32),
}

impl Content {
    fn code(self) -> u64 {
        match self {
            Self::Zeros => 0,
            Self::Stored(number) => u64::from(number) + 1,
        }
    }

    fn of_code(code: u64) -> Result<Self, Malformed> {
        match code.checked_sub(1) {
            None => Ok(Self::Zeros),
            Some(number) => u32::try_from(number)
                .map(Self::Stored)
                .map_err(|_| Malformed("a content has an impossible number")),
        }
    }
}

/// Pages on their way to the writer's thread.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// (page number, XXH3-64), ascending.
    numbers: Vec<(u64, u64)>,
    /// Their contents, one after the other.
    bytes: Vec<u8>,
}

impl Pages {
    /// No pages yet, with room for as many as a block holds.
    pub fn new() -> Self {
        Self {
            numbers: Vec::with_capacity(PAGES_PER_BLOCK),
            bytes: Vec::with_capacity(PAGES_PER_BLOCK * PAGE_BYTES),
        }
    }

    /// Adds a page: its number, and the hash and the bytes of what it holds.
    pub fn push(&mut self, number: u64, hash: u64, content: &[u8; PAGE_BYTES]) {
        self.numbers.push((number, hash));
        self.bytes.extend_from_slice(content);
    }

    /// Whether they fill a block.
    pub fn is_full(&self) -> bool {
        self.numbers.len() >= PAGES_PER_BLOCK
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// All of them: (page number, XXH3-64, content).
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, &[u8])> {
        let contents = self.bytes.chunks_exact(PAGE_BYTES);
        self.numbers.iter().zip(contents).map(|((number, hash), content)| (*number, *hash, content))
    }
}

/// Finds what of the pages of keyframes is not stored yet.
#[derive(Debug, Default)]
pub(crate) struct KeyframeEncoder {
    /// Contents in the file, by a hash that two of them do not share by accident.
    stored: BTreeMap<u128, u32>,
    /// Contents so far.
    contents: u32,
    /// Those that are not in the file yet.
    fresh: Vec<u8>,
    /// Changes of the keyframe that is being written.
    changes: Vec<Change>,
}

impl KeyframeEncoder {
    /// Numbers the contents of a memory block.
    pub(crate) fn start(&mut self, pages: &Pages) {
        for (_, _, content) in pages.iter() {
            self.remember(xxh3_128(content));
        }
    }

    fn remember(&mut self, hash: u128) -> u32 {
        if self.stored.len() >= REMEMBERED {
            self.stored.clear();
        }
        let number = self.contents;
        self.stored.insert(hash, number);
        self.contents = self.contents.saturating_add(1);
        number
    }

    /// Takes pages of the next keyframe. Where enough of them are new, gives the contents block that is to be written.
    pub(crate) fn pages(&mut self, pages: &Pages) -> Option<Vec<u8>> {
        for (page, hash, content) in pages.iter() {
            let content = self.content(content);
            self.changes.push(Change { page, hash, content });
        }
        (self.fresh.len() >= PAGES_PER_BLOCK * PAGE_BYTES).then(|| std::mem::take(&mut self.fresh))
    }

    fn content(&mut self, bytes: &[u8]) -> Content {
        if is_zero(bytes) {
            return Content::Zeros;
        }
        let hash = xxh3_128(bytes);
        if let Some(&number) = self.stored.get(&hash) {
            return Content::Stored(number);
        }
        self.fresh.extend_from_slice(bytes);
        Content::Stored(self.remember(hash))
    }

    /// The rest of a keyframe: its last contents block, which may be empty, and its changes.
    pub(crate) fn finish(&mut self, keyframe: u32) -> (Vec<u8>, Vec<Vec<u8>>) {
        let changes = std::mem::take(&mut self.changes);
        let blocks = changes.chunks(CHANGES_PER_BLOCK).map(|part| encode_changes(keyframe, part)).collect();
        (std::mem::take(&mut self.fresh), blocks)
    }
}

/// Encodes a block of changes of the keyframe of this number.
pub fn encode_changes(keyframe: u32, changes: &[Change]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(10 + 11 * changes.len());
    put(&mut bytes, keyframe.into());
    let (mut page, mut code) = (0u64, 0);
    for change in changes {
        put(&mut bytes, change.page.wrapping_sub(page));
        bytes.extend_from_slice(&change.hash.to_le_bytes());
        let next = change.content.code();
        put_delta(&mut bytes, next, code);
        (page, code) = (change.page, next);
    }
    bytes
}

/// Decodes a block of changes of the keyframe of this number.
pub fn decode_changes(keyframe: u32, bytes: &[u8]) -> Result<Vec<Change>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    if cursor.varint()? != u64::from(keyframe) {
        return Err(Malformed("it belongs to another keyframe"));
    }
    let (mut page, mut code) = (0u64, 0);
    let mut changes = Vec::new();
    while !cursor.is_empty() {
        if changes.len() >= CHANGES_PER_BLOCK {
            return Err(Malformed("it holds more pages than any block may"));
        }
        page = page.checked_add(cursor.varint()?).ok_or(Malformed("a page number exceeds 64 bits"))?;
        let hash = cursor.u64()?;
        code = cursor.delta(code)?;
        changes.push(Change { page, hash, content: Content::of_code(code)? });
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::page_hash;
    use proptest::prelude::*;

    fn pages(all: &[(u64, u8)]) -> Pages {
        let mut pages = Pages::new();
        for (number, byte) in all {
            let content = [*byte; PAGE_BYTES];
            pages.push(*number, page_hash(&content), &content);
        }
        pages
    }

    fn change(page: u64, byte: u8, content: Content) -> Change {
        Change { page, hash: page_hash(&[byte; PAGE_BYTES]), content }
    }

    #[test]
    fn what_is_stored_already_is_not_stored_again() {
        let mut encoder = KeyframeEncoder::default();
        encoder.start(&pages(&[(0, 1), (1, 2)]));
        assert_eq!(encoder.pages(&pages(&[(0, 3), (1, 3), (2, 1), (7, 0), (8, 4)])), None);
        let (contents, blocks) = encoder.finish(0);
        assert_eq!(contents, [[3; PAGE_BYTES], [4; PAGE_BYTES]].concat());
        let expected = [
            change(0, 3, Content::Stored(2)),
            change(1, 3, Content::Stored(2)),
            change(2, 1, Content::Stored(0)),
            change(7, 0, Content::Zeros),
            change(8, 4, Content::Stored(3)),
        ];
        assert_eq!(decode_changes(0, &blocks[0]).unwrap(), expected);
        // The next keyframe: a page goes back to what it held at the start.
        assert_eq!(encoder.pages(&pages(&[(0, 1)])), None);
        let (contents, blocks) = encoder.finish(1);
        assert!(contents.is_empty());
        assert_eq!(decode_changes(1, &blocks[0]).unwrap(), [change(0, 1, Content::Stored(0))]);
        assert!(decode_changes(0, &blocks[0]).is_err());
    }

    #[test]
    fn contents_are_written_in_blocks_and_long_lists_in_several() {
        let mut encoder = KeyframeEncoder::default();
        let mut blocks = 0;
        for n in 0..=CHANGES_PER_BLOCK as u64 / 64 {
            let mut all = Pages::new();
            for i in 0..64 {
                let mut content = [0; PAGE_BYTES];
                content[..8].copy_from_slice(&(64 * n + i + 1).to_le_bytes());
                all.push(64 * n + i, 0, &content);
            }
            if let Some(contents) = encoder.pages(&all) {
                assert_eq!(contents.len(), PAGES_PER_BLOCK * PAGE_BYTES);
                blocks += 1;
            }
        }
        let (contents, lists) = encoder.finish(5);
        assert_eq!((blocks, contents.len()), (CHANGES_PER_BLOCK / PAGES_PER_BLOCK, 64 * PAGE_BYTES));
        let changes: Vec<_> = lists.iter().map(|list| decode_changes(5, list).unwrap().len()).collect();
        assert_eq!(changes, [CHANGES_PER_BLOCK, 64]);
    }

    proptest! {
        #[test]
        fn every_list_of_changes_survives(
            mut changes in prop::collection::vec((any::<u64>(), any::<u64>(), any::<Option<u32>>()), 0..100)
        ) {
            changes.sort_by_key(|c| c.0);
            let changes: Vec<_> = changes.into_iter().map(|(page, hash, stored)| {
                let content = stored.map_or(Content::Zeros, Content::Stored);
                Change { page, hash, content }
            }).collect();
            prop_assert_eq!(decode_changes(9, &encode_changes(9, &changes)).unwrap(), changes);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = decode_changes(bytes.first().copied().unwrap_or(0).into(), &bytes);
        }
    }
}
