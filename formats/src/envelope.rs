//! The envelope: a fixed file header, then blocks. It is walked without knowing what is inside.
//!
//! ```text
//! file  := file-header block*
//! file-header (16 bytes): magic[8] version:u16 reserved:u16 crc32c(first 12 bytes):u32
//! block (32 bytes + stored): magic[4] type:u16 flags:u16 stored:u32 raw:u32 first_exit:u64 crc(payload):u32 crc(header):u32
//! ```
//! All integers are little-endian.

use crate::error::Malformed;

/// First bytes of every trace. The high bit, CR LF and Ctrl-Z catch text-mode transfers, as in PNG.
pub const FILE_MAGIC: [u8; 8] = *b"\x89TRAP\r\n\x1a";
/// First bytes of every block, so that a reader can say where the last whole one ends.
pub const BLOCK_MAGIC: [u8; 4] = *b"TRPB";
/// The version that this crate reads and writes (SPEC.md). Version 0 was never promised to anybody.
pub const VERSION: u16 = 1;
/// Bytes of the file header.
pub const FILE_HEADER_BYTES: usize = 16;
/// Bytes of a block header.
pub const BLOCK_HEADER_BYTES: usize = 32;
/// No block is larger than this, stored or raw: what a reader must be ready to hold.
pub const MAX_BLOCK_BYTES: u32 = 64 << 20;

/// What a block holds. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum BlockType {
    /// The [`crate::Header`], first block of every trace.
    Header = 1,
    /// The CPU state at the start.
    StartState = 2,
    /// Pages of guest memory at the start.
    Memory = 3,
    /// New entries of the site dictionary.
    Sites = 4,
    /// Exits with their data, and events.
    Inputs = 5,
    /// How long each exit took.
    Timing = 6,
    /// Registers at each exit, and checkpoints.
    Digests = 7,
    /// What the guest printed.
    Console = 8,
    /// How the recording ended. Nothing but an index follows it.
    End = 9,
    /// Contents of pages that belong to keyframes.
    Contents = 10,
    /// Pages that changed between two keyframes.
    Changes = 11,
    /// A [`crate::Keyframe`].
    Keyframe = 12,
    /// Every block, and every site: a reader need not walk.
    Index = 13,
    /// Where the index is, last block of the file.
    IndexPlace = 14,
    /// What the guest's TSC showed, where it was held.
    HeldTsc = 15,
}

impl BlockType {
    /// Every type, in the order of the numbers.
    pub const ALL: [BlockType; 15] = [
        Self::Header,
        Self::StartState,
        Self::Memory,
        Self::Sites,
        Self::Inputs,
        Self::Timing,
        Self::Digests,
        Self::Console,
        Self::End,
        Self::Contents,
        Self::Changes,
        Self::Keyframe,
        Self::Index,
        Self::IndexPlace,
        Self::HeldTsc,
    ];

    /// The type with this number, if this version knows it.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as u16 == number)
    }

    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header block",
            Self::StartState => "start state block",
            Self::Memory => "memory block",
            Self::Sites => "sites block",
            Self::Inputs => "inputs block",
            Self::Timing => "timing block",
            Self::Digests => "digests block",
            Self::Console => "console block",
            Self::End => "end block",
            Self::Contents => "contents block",
            Self::Changes => "changes block",
            Self::Keyframe => "keyframe block",
            Self::Index => "index block",
            Self::IndexPlace => "index place block",
            Self::HeldTsc => "held TSC block",
        }
    }

    /// The flag of a type that the first readers of this version did not know, and that a replay cannot do without.
    fn needed(self) -> u16 {
        if self == Self::HeldTsc { FLAG_NEEDED } else { 0 }
    }
}

/// What a block of this type decompresses to at most, if nothing else bounds it: what a recorder writes fits by far, and what it is
/// decoded into stays within what a reader is ready to hold. Types that this version does not know are never decompressed.
pub fn most_raw_bytes(kind: u16) -> u32 {
    const MIB: u32 = 1 << 20;
    match BlockType::from_number(kind) {
        Some(BlockType::Header | BlockType::End | BlockType::StartState | BlockType::Memory) => 4 * MIB,
        Some(BlockType::Sites | BlockType::Inputs | BlockType::Console | BlockType::HeldTsc) => 8 * MIB,
        Some(BlockType::Timing) => 4 * crate::inputs::MAX_EXITS as u32,
        _ => MAX_BLOCK_BYTES,
    }
}

/// Flag: the payload is compressed with zstd.
pub const FLAG_ZSTD: u16 = 1;
/// Flag: who does not know the type of this block must not replay what follows it.
pub const FLAG_NEEDED: u16 = 2;
/// Flags: the number of the vCPU, of which there is one.
const FLAGS_VCPU: u16 = 0xff00;

/// A decoded block header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// Number of the type; may be unknown to this version.
    pub kind: u16,
    /// Flags.
    pub flags: u16,
    /// Bytes of payload in the file.
    pub stored: u32,
    /// Bytes of payload after decompression.
    pub raw: u32,
    /// Number of the first exit that the block speaks of; 0 where it speaks of none.
    pub first_exit: u64,
    /// CRC32C of the stored payload.
    pub payload_crc: u32,
}

impl BlockHeader {
    /// The bytes in the file.
    pub fn encode(&self) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&BLOCK_MAGIC);
        bytes[4..6].copy_from_slice(&self.kind.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.flags.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stored.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.raw.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_exit.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header back; checks magic, checksum and sizes.
    pub fn decode(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<Self, Malformed> {
        if bytes[0..4] != BLOCK_MAGIC {
            return Err(Malformed("no block starts here"));
        }
        if crc32c::crc32c(&bytes[..28]) != le32(&bytes[28..32]) {
            return Err(Malformed("the checksum of the block header is wrong"));
        }
        let header = Self {
            kind: u16::from_le_bytes([bytes[4], bytes[5]]),
            flags: u16::from_le_bytes([bytes[6], bytes[7]]),
            stored: le32(&bytes[8..12]),
            raw: le32(&bytes[12..16]),
            first_exit: u64::from(le32(&bytes[16..20])) | u64::from(le32(&bytes[20..24])) << 32,
            payload_crc: le32(&bytes[24..28]),
        };
        header.checked()
    }

    /// The header, if this version can read its block or may leave it out.
    pub(crate) fn checked(self) -> Result<Self, Malformed> {
        if self.stored > MAX_BLOCK_BYTES || self.raw > most_raw_bytes(self.kind) {
            return Err(Malformed("the block claims to be larger than any block may be"));
        }
        if self.flags & FLAGS_VCPU != 0 {
            return Err(Malformed("the block is of a second vCPU, and this version knows one"));
        }
        if self.flags & !(FLAG_ZSTD | FLAG_NEEDED) != 0 {
            return Err(Malformed("the block has a flag that this version does not know"));
        }
        if self.flags & FLAG_NEEDED != 0 && BlockType::from_number(self.kind).is_none() {
            return Err(Malformed("a replay needs the block, and this version does not know its type"));
        }
        Ok(self)
    }
}

/// A whole block: its header, and the bytes of header and stored payload, compressed where that makes it smaller.
pub fn encode_block(
    kind: BlockType,
    first_exit: u64,
    raw: &[u8],
    compressor: &mut zstd::bulk::Compressor<'_>,
) -> (BlockHeader, Vec<u8>) {
    let compressed = compressor.compress(raw).ok().filter(|c| c.len() < raw.len());
    let (flags, payload) = match &compressed {
        Some(c) => (FLAG_ZSTD, c.as_slice()),
        None => (0, raw),
    };
    let header = BlockHeader {
        kind: kind as u16,
        flags: flags | kind.needed(),
        stored: payload.len() as u32,
        raw: raw.len() as u32,
        first_exit,
        payload_crc: crc32c::crc32c(payload),
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(payload);
    (header, bytes)
}

/// Checks the checksum of a stored payload and decompresses it.
pub fn decode_payload(header: &BlockHeader, stored: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    if crc32c::crc32c(&stored) != header.payload_crc {
        return Err(Malformed("the checksum of the payload is wrong"));
    }
    if header.flags & FLAG_ZSTD == 0 {
        return if stored.len() == header.raw as usize {
            Ok(stored)
        } else {
            Err(Malformed("its sizes disagree"))
        };
    }
    match zstd::bulk::decompress(&stored, header.raw as usize) {
        Ok(raw) if raw.len() == header.raw as usize => Ok(raw),
        Ok(_) => Err(Malformed("it decompresses to another size than it says")),
        Err(_) => Err(Malformed("it does not decompress")),
    }
}

/// The bytes that start a file.
pub fn encode_file_header() -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..8].copy_from_slice(&FILE_MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_needed_blocks_of_later_versions_are_refused_and_other_unknown_blocks_are_not() {
        let read = |kind, flags| BlockHeader::decode(&BlockHeader { kind, flags, ..sample() }.encode());
        assert!(read(5, FLAG_ZSTD).is_ok() && read(5, FLAG_NEEDED).is_ok() && read(16, FLAG_ZSTD).is_ok());
        let refused =
            [(16, FLAG_NEEDED), (5, 4), (5, 0x80), (5, 0x100)].map(|(k, f)| read(k, f).unwrap_err().0);
        assert!(refused[0].contains("does not know its type"), "{refused:?}");
        assert!(refused[1].contains("flag") && refused[2].contains("flag"), "{refused:?}");
        assert!(refused[3].contains("vCPU"), "{refused:?}");
    }

    fn sample() -> BlockHeader {
        BlockHeader { kind: 5, flags: 1, stored: 10, raw: 20, first_exit: 0x1_0000_0002, payload_crc: 7 }
    }

    #[test]
    fn a_block_header_survives() {
        assert_eq!(BlockHeader::decode(&sample().encode()), Ok(sample()));
    }

    #[test]
    fn every_flipped_bit_of_a_block_header_is_noticed() {
        for bit in 0..BLOCK_HEADER_BYTES * 8 {
            let mut bytes = sample().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(BlockHeader::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_block_that_claims_gigabytes_is_refused_before_anything_is_allocated() {
        let header = BlockHeader { raw: u32::MAX, ..sample() };
        assert!(BlockHeader::decode(&header.encode()).is_err());
    }
}
