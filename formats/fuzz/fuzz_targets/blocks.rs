//! One block: any header and any payload, checksums that are right.
//!
//! It is refused, or holds as many bytes as it says; encoded anew, it holds the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{LazyLock, Mutex};
use trapline_formats::envelope::{
    BLOCK_HEADER_BYTES, BlockHeader, BlockType, decode_payload, encode_block, most_raw_bytes,
};
use trapline_formats_fuzz::{MIB, pieces, within};
use zstd::bulk::Compressor;

static COMPRESSOR: LazyLock<Mutex<Compressor<'_>>> =
    LazyLock::new(|| Mutex::new(Compressor::new(1).expect("a compressor")));

fuzz_target!(|bytes: &[u8]| {
    // A header of whatever bytes, too: its checksum is hardly ever right.
    if let Some(head) = bytes.first_chunk::<BLOCK_HEADER_BYTES>() {
        let header = BlockHeader::decode(head);
        assert!(header.is_err() || header.is_ok_and(|header| header.encode() == *head));
    }
    for block in pieces(bytes) {
        let Ok(header) = BlockHeader::decode(&block.header.encode()) else { continue };
        assert_eq!(header, block.header);
        let most = most_raw_bytes(header.kind) as usize;
        within(most + MIB, || {
            let Ok(raw) = decode_payload(&header, block.stored) else { return };
            assert!(raw.len() == header.raw as usize && raw.len() <= most);
            let Some(kind) = BlockType::from_number(header.kind).filter(|_| raw.len() < MIB) else { return };
            let mut compressor = COMPRESSOR.lock().expect("one thread");
            let (again, bytes) = encode_block(kind, header.first_exit, &raw, &mut compressor);
            assert_eq!(
                (again.kind, again.raw, again.first_exit),
                (header.kind, header.raw, header.first_exit)
            );
            assert_eq!(decode_payload(&again, bytes[BLOCK_HEADER_BYTES..].to_vec()), Ok(raw));
        });
    }
});
