//! The index: what a reader would find by walking the whole file, at the end of it.
//!
//! ```text
//! index := blocks:varint block{blocks} postcard([Site])
//! block := type:varint flags:varint stored:varint raw:varint first-exit:delta crc(payload):u32
//! place := offset:u64                   of the index block; the last block of the file, 40 bytes in all
//! ```
//! It lists every block before it, in order, and holds the whole dictionary of sites. Whoever reads a block compares its header with
//! what the index says. A file without an index, or with a wrong one, is walked.

use crate::envelope::{
    BLOCK_HEADER_BYTES, BlockHeader, BlockType, FILE_HEADER_BYTES, MAX_BLOCK_BYTES, decode_payload,
};
use crate::error::Malformed;
use crate::exit::Site;
use crate::reader::{BlockPlace, MAX_SITES};
use crate::varint::{Cursor, put, put_delta};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// No index lists more blocks: what a reader must be ready to hold.
const MAX_BLOCKS: usize = 1 << 22;
/// Bytes that the sites of an index take in the file; they take several times as much in memory.
const MAX_SITE_BYTES: usize = 16 << 20;
/// Bytes that the last block takes, header included.
const PLACE_BYTES: u64 = BLOCK_HEADER_BYTES as u64 + 8;

/// What an index says.
pub(crate) struct Index {
    /// All blocks of the file, its own included.
    pub(crate) blocks: Vec<BlockPlace>,
    pub(crate) sites: Vec<Site>,
}

/// Encodes the index of these blocks, which are all that the file has. `None` where it would be too large for one.
pub(crate) fn encode(blocks: &[BlockHeader], sites: &[Site]) -> Option<Vec<u8>> {
    if blocks.len() > MAX_BLOCKS {
        return None;
    }
    let mut bytes = Vec::with_capacity(16 * blocks.len() + 10);
    put(&mut bytes, blocks.len() as u64);
    let mut first_exit = 0;
    for block in blocks {
        for number in [block.kind.into(), block.flags.into(), block.stored, block.raw] {
            put(&mut bytes, number.into());
        }
        put_delta(&mut bytes, block.first_exit, first_exit);
        first_exit = block.first_exit;
        bytes.extend_from_slice(&block.payload_crc.to_le_bytes());
    }
    let sites = postcard::to_stdvec(sites).ok().filter(|sites| sites.len() <= MAX_SITE_BYTES)?;
    bytes.extend(sites);
    (bytes.len() <= MAX_BLOCK_BYTES as usize).then_some(bytes)
}

/// Encodes where the index is.
pub(crate) fn encode_place(offset: u64) -> [u8; 8] {
    offset.to_le_bytes()
}

/// Finds the index of a file of so many bytes, from its end. `None` where there is none that can be believed.
pub(crate) fn find(file: &File, bytes: u64) -> io::Result<Option<Index>> {
    let Some(last) = bytes.checked_sub(PLACE_BYTES) else { return Ok(None) };
    let Some(place) = header_at(file, last)?.filter(|h| h.kind == BlockType::IndexPlace as u16) else {
        return Ok(None);
    };
    let Some(offset) =
        payload_at(file, last, &place)?.and_then(|p| Some(u64::from_le_bytes(p.try_into().ok()?)))
    else {
        return Ok(None);
    };
    if offset.checked_add(BLOCK_HEADER_BYTES as u64).is_none_or(|end| end > last) {
        return Ok(None);
    }
    let Some(header) = header_at(file, offset)?.filter(|h| h.kind == BlockType::Index as u16) else {
        return Ok(None);
    };
    if offset + BLOCK_HEADER_BYTES as u64 + u64::from(header.stored) != last {
        return Ok(None);
    }
    let Some(payload) = payload_at(file, offset, &header)? else { return Ok(None) };
    let Ok(mut index) = decode(&payload, offset) else { return Ok(None) };
    index.blocks.push(BlockPlace { offset, header });
    index.blocks.push(BlockPlace { offset: last, header: place });
    Ok(Some(index))
}

fn header_at(file: &File, offset: u64) -> io::Result<Option<BlockHeader>> {
    let mut bytes = [0; BLOCK_HEADER_BYTES];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(BlockHeader::decode(&bytes).ok())
}

fn payload_at(file: &File, offset: u64, header: &BlockHeader) -> io::Result<Option<Vec<u8>>> {
    if file.metadata()?.len() < offset + BLOCK_HEADER_BYTES as u64 + u64::from(header.stored) {
        return Ok(None);
    }
    let mut stored = vec![0; header.stored as usize];
    file.read_exact_at(&mut stored, offset + BLOCK_HEADER_BYTES as u64)?;
    Ok(decode_payload(header, stored).ok())
}

/// Decodes an index that stands at `end`: its blocks must fill the file up to there.
fn decode(bytes: &[u8], end: u64) -> Result<Index, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.varint()?;
    // Each takes room in the file.
    if count > (MAX_BLOCKS as u64).min(end / BLOCK_HEADER_BYTES as u64) {
        return Err(Malformed("it lists more blocks than any index may"));
    }
    let mut blocks = Vec::new();
    let (mut offset, mut first_exit) = (FILE_HEADER_BYTES as u64, 0);
    for _ in 0..count {
        let header = decode_block(&mut cursor, first_exit)?;
        first_exit = header.first_exit;
        blocks.push(BlockPlace { offset, header });
        offset += BLOCK_HEADER_BYTES as u64 + u64::from(header.stored);
    }
    if offset != end {
        return Err(Malformed("its blocks do not fill the file"));
    }
    let rest = cursor.take(cursor.remaining())?;
    if rest.len() > MAX_SITE_BYTES || Cursor::new(rest).varint()? > MAX_SITES as u64 {
        return Err(Malformed("it has more sites than a reader holds"));
    }
    let sites = postcard::from_bytes(rest).map_err(|_| Malformed("its sites do not decode"))?;
    Ok(Index { blocks, sites })
}

fn decode_block(cursor: &mut Cursor<'_>, first_exit: u64) -> Result<BlockHeader, Malformed> {
    const WIDE: Malformed = Malformed("a field of a block is wider than it may be");
    let (kind, flags) = (cursor.varint()?, cursor.varint()?);
    let (stored, raw) = (cursor.varint()?, cursor.varint()?);
    let size = |n: u64| u32::try_from(n).map_err(|_| WIDE);
    BlockHeader {
        kind: u16::try_from(kind).map_err(|_| WIDE)?,
        flags: u16::try_from(flags).map_err(|_| WIDE)?,
        stored: size(stored)?,
        raw: size(raw)?,
        first_exit: cursor.delta(first_exit)?,
        payload_crc: cursor.u32()?,
    }
    .checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{FLAG_ZSTD, most_raw_bytes};
    use proptest::prelude::*;

    fn header(
        (kind, flags, stored, raw, first_exit, payload_crc): (u16, u16, u32, u32, u64, u32),
    ) -> BlockHeader {
        let (stored, raw) = (stored % (MAX_BLOCK_BYTES + 1), raw % (most_raw_bytes(kind) + 1));
        BlockHeader { kind, flags: flags & FLAG_ZSTD, stored, raw, first_exit, payload_crc }
    }

    proptest! {
        #[test]
        fn every_list_of_blocks_survives(headers in prop::collection::vec(any::<(u16, u16, u32, u32, u64, u32)>(), 0..40)) {
            let headers: Vec<_> = headers.into_iter().map(header).collect();
            let end = headers.iter().fold(16, |end, h| end + 32 + u64::from(h.stored));
            let bytes = encode(&headers, &[]).unwrap();
            let index = decode(&bytes, end).unwrap();
            prop_assert_eq!(index.blocks.iter().map(|b| b.header).collect::<Vec<_>>(), headers);
            prop_assert!(decode(&bytes, end + 1).is_err());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes, 16);
        }
    }

    #[test]
    fn an_index_of_more_sites_than_a_dictionary_may_have_is_refused() {
        let index = |sites: usize| {
            let mut bytes = vec![0];
            put(&mut bytes, sites as u64);
            bytes.extend([0; 8].repeat(sites));
            decode(&bytes, FILE_HEADER_BYTES as u64).map(|index| index.sites.len())
        };
        assert_eq!(index(MAX_SITES), Ok(MAX_SITES));
        assert!(index(MAX_SITES + 1).is_err());
    }

    #[test]
    fn sites_that_no_reader_takes_from_an_index_are_not_written_into_one() {
        let mut sites: Vec<Site> = vec![postcard::from_bytes(&[0; 8]).unwrap()];
        assert!(encode(&[], &sites).is_some());
        sites[0].instruction.bytes = vec![0x90; MAX_SITE_BYTES];
        assert!(encode(&[], &sites).is_none());
    }

    #[test]
    fn an_index_that_claims_billions_of_blocks_is_refused() {
        let mut bytes = Vec::new();
        put(&mut bytes, u64::MAX);
        assert!(decode(&bytes, 16).is_err());
    }
}
