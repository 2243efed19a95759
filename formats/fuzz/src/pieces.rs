//! A trace file as the fuzzer changes it: lengths and checksums are made right, so that what is changed is met by the decoders.

use trapline_formats::envelope::{
    BLOCK_HEADER_BYTES, BLOCK_MAGIC, BlockHeader, FLAG_ZSTD, encode_file_header,
};

/// Bytes of a block header between its magic and its payload checksum.
const FIELDS: usize = 20;
/// And between its magic and its payload.
const REST: usize = BLOCK_HEADER_BYTES - BLOCK_MAGIC.len();

/// A block: what its header says, and its payload as it is stored.
#[derive(Clone)]
pub struct Piece {
    pub header: BlockHeader,
    pub stored: Vec<u8>,
}

impl Piece {
    /// A block of these bytes, not compressed.
    pub fn plain(kind: u16, first_exit: u64, payload: Vec<u8>) -> Self {
        let header = BlockHeader { kind, flags: 0, stored: 0, raw: 0, first_exit, payload_crc: 0 };
        Self::new(header, payload)
    }

    fn new(header: BlockHeader, stored: Vec<u8>) -> Self {
        let length = stored.len() as u32;
        let raw = if header.flags & FLAG_ZSTD == 0 { length } else { header.raw };
        let payload_crc = crc32c::crc32c(&stored);
        Self { header: BlockHeader { stored: length, raw, payload_crc, ..header }, stored }
    }

    /// From the fields of a header, its checksums, and a payload.
    fn of(bytes: &[u8]) -> Option<Self> {
        let stored = bytes.get(REST..)?.to_vec();
        let number =
            |at: usize, n: usize| bytes[at..at + n].iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b));
        let header = BlockHeader {
            kind: number(0, 2) as u16,
            flags: number(2, 2) as u16,
            stored: 0,
            raw: number(8, 4) as u32,
            first_exit: number(FIELDS - 8, 8),
            payload_crc: 0,
        };
        Some(Self::new(header, stored))
    }
}

/// The blocks that these bytes are cut into: one at each magic, of whatever length. What stands before the first is left out.
pub fn pieces(bytes: &[u8]) -> Vec<Piece> {
    let magic = |from: usize| {
        let found = bytes[from..].windows(BLOCK_MAGIC.len()).position(|w| w == BLOCK_MAGIC);
        found.map(|at| from + at)
    };
    let mut all = Vec::new();
    let mut next = magic(0);
    while let Some(at) = next {
        let start = at + BLOCK_MAGIC.len();
        next = magic(start);
        all.extend(Piece::of(&bytes[start..next.unwrap_or(bytes.len())]));
    }
    all
}

/// The file of these blocks.
pub fn whole(pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = encode_file_header().to_vec();
    for piece in pieces {
        bytes.extend_from_slice(&piece.header.encode());
        bytes.extend_from_slice(&piece.stored);
    }
    bytes
}
