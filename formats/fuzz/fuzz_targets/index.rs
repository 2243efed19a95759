//! The index of a trace, as a stranger may have changed it: its checksum is right.
//!
//! An honest one says what walking the file says. Of whatever other one is believed, the blocks that can be read are those of the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use trapline_formats::Trace;
use trapline_formats::envelope::{BlockHeader, BlockType};
use trapline_formats_fuzz::{File, MIB, Piece, pieces, read_all, whole, within};

static FILE: LazyLock<File> = LazyLock::new(File::new);

/// Changes to the bytes of the index: (where, to what).
type Changes = Vec<(u16, u8)>;

/// Takes an input apart: how many changes, each of three bytes, and a file without an index.
fn parts(bytes: &[u8]) -> Option<(Changes, Vec<Piece>)> {
    let (count, rest) = bytes.split_first()?;
    let (changes, file) = rest.split_at_checked(3 * usize::from(count % 32))?;
    let changes = changes.chunks_exact(3).map(|c| (u16::from_le_bytes([c[0], c[1]]), c[2])).collect();
    let mut blocks = pieces(file);
    blocks
        .retain(|b| b.header.kind < BlockType::Index as u16 || b.header.kind > BlockType::IndexPlace as u16);
    Some((changes, blocks))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((changes, mut blocks)) = parts(bytes) else { return };
    let path = FILE.with(&whole(&blocks));
    let Some(walked) = within(256 * MIB, || Trace::open(&path).ok()) else { return };
    assert!(!walked.has_index());
    let mut payload = index(&blocks, &postcard::to_stdvec(walked.sites()).expect("sites"));
    for (at, byte) in &changes {
        let at = usize::from(*at) % payload.len();
        payload[at] = *byte;
    }
    let offset = whole(&blocks).len() as u64;
    blocks.push(Piece::plain(BlockType::Index as u16, 0, payload));
    blocks.push(Piece::plain(BlockType::IndexPlace as u16, 0, offset.to_le_bytes().to_vec()));
    let path = FILE.with(&whole(&blocks));
    within(256 * MIB, || {
        let is_honest = changes.is_empty() && walked.damage().is_none();
        let found = read_all(&path);
        assert!(found.is_some() || !is_honest);
        let Some(found) = found else { return };
        let headers = |trace: &Trace| trace.blocks().iter().map(|b| (b.offset, b.header)).collect::<Vec<_>>();
        let is_sound = found.has_index() && found.check().is_ok_and(|damage| damage.is_none());
        if is_sound && walked.damage().is_none() {
            assert_eq!(headers(&found)[..blocks.len() - 2], headers(&walked));
        }
        if is_honest {
            assert!(found.has_index());
            assert_eq!((found.sites(), found.end()), (walked.sites(), walked.end()));
        }
    });
});

/// The index of these blocks by formats/SPEC.md, 6.7, not by the crate.
fn index(blocks: &[Piece], sites: &[u8]) -> Vec<u8> {
    let mut bytes = varint(blocks.len() as u64);
    let mut before = 0;
    for BlockHeader { kind, flags, stored, raw, first_exit, payload_crc } in blocks.iter().map(|b| b.header) {
        for number in [kind.into(), flags.into(), stored, raw] {
            bytes.extend(varint(number.into()));
        }
        let difference = first_exit.wrapping_sub(before) as i64;
        bytes.extend(varint((difference << 1 ^ difference >> 63) as u64));
        bytes.extend_from_slice(&payload_crc.to_le_bytes());
        before = first_exit;
    }
    [bytes.as_slice(), sites].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
