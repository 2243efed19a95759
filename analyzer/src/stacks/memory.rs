//! The guest's memory at one exit, each page fetched once.

use super::cpu::Segments;
use trapline_formats::Gva;

const PAGE: usize = 4096;
/// Pages looked at for one stack.
const MOST: usize = 64;

/// Reads bytes at a linear address, as many as are there.
pub type Read<'a> = &'a mut dyn FnMut(Gva, &mut [u8]) -> usize;

/// A page, and whether it is there.
struct Page {
    start: u64,
    bytes: Option<Box<[u8; PAGE]>>,
}

pub(super) struct Memory<'a> {
    read: Read<'a>,
    pages: Vec<Page>,
}

impl<'a> Memory<'a> {
    pub(super) fn new(read: Read<'a>) -> Self {
        Self { read, pages: Vec::new() }
    }

    /// Bytes that are read anew, however many; `None` where not all are there.
    pub(super) fn now(&mut self, address: u64, length: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        ((self.read)(Gva(address), &mut bytes) == bytes.len()).then_some(bytes)
    }

    fn page(&mut self, start: u64) -> Option<&[u8; PAGE]> {
        let at = match self.pages.iter().position(|p| p.start == start) {
            Some(at) => at,
            None if self.pages.len() == MOST => return None,
            None => {
                let mut bytes = Box::new([0; PAGE]);
                let whole = (self.read)(Gva(start), bytes.as_mut_slice()) == PAGE;
                self.pages.push(Page { start, bytes: whole.then_some(bytes) });
                self.pages.len() - 1
            }
        };
        self.pages[at].bytes.as_deref()
    }

    /// Copies bytes; false where not all are there.
    pub(super) fn copy(&mut self, address: u64, into: &mut [u8]) -> bool {
        let mut done = 0;
        while done < into.len() {
            let at = address.wrapping_add(done as u64);
            let from = at as usize % PAGE;
            let length = (PAGE - from).min(into.len() - done);
            let Some(page) = self.page(at - from as u64) else { return false };
            into[done..done + length].copy_from_slice(&page[from..from + length]);
            done += length;
        }
        true
    }

    /// A little-endian number of up to eight bytes.
    pub(super) fn number(&mut self, address: u64, width: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.copy(address, &mut bytes[..width as usize]).then(|| u64::from_le_bytes(bytes))
    }

    /// A number on the stack.
    pub(super) fn pushed(&mut self, segments: &Segments, sp: u64, width: u64) -> Option<u64> {
        self.number(segments.stack(sp), width)
    }
}
