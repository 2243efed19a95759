//! Opening a file: is it a trace, and which blocks does it have.

use super::{BlockPlace, Damage};
use crate::envelope::{BLOCK_HEADER_BYTES, BlockHeader, FILE_HEADER_BYTES, FILE_MAGIC, VERSION};
use crate::error::TraceError;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(super) fn check_file_header(path: &Path, file: &File, bytes: u64) -> Result<(), TraceError> {
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
    let path = || path.to_owned();
    match found {
        VERSION => Ok(()),
        0..VERSION => Err(TraceError::TooOld { path: path() }),
        _ => Err(TraceError::TooNew { path: path(), found, supported: VERSION }),
    }
}

/// Walks the blocks up to the end or to the first thing that is none.
pub(super) fn walk(file: &File, bytes: u64) -> std::io::Result<(Vec<BlockPlace>, Option<Damage>)> {
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
