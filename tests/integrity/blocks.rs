//! A trace as blocks that can be changed and written again with checksums that are right: what a stranger can make.

use fastrand::Rng;
use trapline_formats::envelope::{
    BLOCK_HEADER_BYTES, BlockHeader, FILE_HEADER_BYTES, decode_payload, encode_file_header,
};

/// The blocks of a trace, decompressed.
#[derive(Clone)]
pub struct Blocks(Vec<Block>);

#[derive(Clone)]
struct Block {
    kind: u16,
    first_exit: u64,
    raw: Vec<u8>,
}

/// What was done, to be told where it went unnoticed.
pub type Change = String;

impl Blocks {
    /// Takes a whole trace apart.
    pub fn of(bytes: &[u8]) -> Self {
        let mut blocks = Vec::new();
        let mut at = FILE_HEADER_BYTES;
        while at < bytes.len() {
            let head: &[u8; BLOCK_HEADER_BYTES] = bytes[at..at + BLOCK_HEADER_BYTES].try_into().unwrap();
            let header = BlockHeader::decode(head).unwrap();
            at += BLOCK_HEADER_BYTES;
            let stored = bytes[at..at + header.stored as usize].to_vec();
            at += stored.len();
            let raw = decode_payload(&header, stored).unwrap();
            blocks.push(Block { kind: header.kind, first_exit: header.first_exit, raw });
        }
        Self(blocks)
    }

    /// The trace again. Its blocks are not compressed: what is changed is found at its offset.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = encode_file_header().to_vec();
        for block in &self.0 {
            let header = BlockHeader {
                kind: block.kind,
                flags: 0,
                stored: block.raw.len() as u32,
                raw: block.raw.len() as u32,
                first_exit: block.first_exit,
                payload_crc: crc32c::crc32c(&block.raw),
            };
            bytes.extend_from_slice(&header.encode());
            bytes.extend_from_slice(&block.raw);
        }
        bytes
    }

    /// Changes something, anywhere.
    pub fn change(&mut self, random: &mut Rng) -> Change {
        let n = random.usize(..self.0.len());
        match random.u8(..16) {
            0 => {
                let other = random.usize(..self.0.len());
                self.0.swap(n, other);
                format!("blocks {n} and {other} changed places")
            }
            1 => {
                let gone = self.0.remove(n);
                format!("block {n} of type {} is gone", gone.kind)
            }
            2 => {
                let twice = self.0[n].clone();
                self.0.insert(n, twice);
                format!("block {n} is there twice")
            }
            3 => {
                let kind = random.u16(0..20);
                let was = std::mem::replace(&mut self.0[n].kind, kind);
                format!("block {n} is of type {kind}, and was of {was}")
            }
            4 => {
                let first = if random.bool() { random.u64(..) } else { self.0[n].first_exit ^ 1 };
                self.0[n].first_exit = first;
                format!("block {n} says that it starts at exit {first}")
            }
            5 => {
                let other = self.0[random.usize(..self.0.len())].raw.clone();
                self.0[n].raw = other;
                format!("block {n} has the payload of another")
            }
            _ => {
                let block = &mut self.0[n];
                format!("block {n} of type {}: {}", block.kind, change_bytes(&mut block.raw, random))
            }
        }
    }
}

/// Bytes that decoders are most likely to stumble over.
const ODD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x40, 2];

/// Changes some bytes.
pub fn change_bytes(bytes: &mut Vec<u8>, random: &mut Rng) -> Change {
    if bytes.is_empty() {
        bytes.push(random.u8(..));
        return "a byte where none was".into();
    }
    let at = random.usize(..bytes.len());
    let length = random.usize(1..=16).min(bytes.len() - at);
    match random.u8(..6) {
        0 => {
            bytes[at] ^= 1 << random.u8(..8);
            format!("a bit of byte {at:#x} flipped")
        }
        1 => {
            bytes[at..at + length].iter_mut().for_each(|b| *b = random.u8(..));
            format!("{length} bytes at {at:#x} are others")
        }
        2 => {
            bytes[at] = ODD[random.usize(..ODD.len())];
            format!("byte {at:#x} is {:#x}", bytes[at])
        }
        3 => {
            let new: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            bytes.splice(at..at, new);
            format!("{length} bytes more at {at:#x}")
        }
        4 => {
            bytes.drain(at..at + length);
            format!("{length} bytes less at {at:#x}")
        }
        _ => {
            bytes[at..at + length].fill(0xff);
            format!("{length} bytes at {at:#x} are 0xff")
        }
    }
}
