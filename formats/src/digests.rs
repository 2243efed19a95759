//! The digest stream: what the registers were at each exit, and complete checkpoints.
//!
//! Registers are not hashed but stored as differences to the last visit of the same site, so that a replay can *name*
//! the one that differs, in fewer bytes than a hash. A chunk is
//! ```text
//! chunk  := exits:varint exit{exits} postcard([Checkpoint])
//! exit   := mask:varint delta*          bit i of the mask: compared register i differs from the prediction
//! ```
//! RIP is not in it: the site is.

use crate::error::Malformed;
use crate::state::{CpuState, RFLAGS_RF, Registers};
use crate::varint::{Cursor, put, put_delta};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Registers compared at every exit: the flags and the general ones.
pub const COMPARED: usize = 17;

/// The registers compared at every exit: RFLAGS (without RF), then the general ones in the order of
/// [`crate::GENERAL_NAMES`]. Those that loops change come first, which keeps the mask in one byte.
pub type Compared = [u64; COMPARED];

/// Takes from `registers` what is compared.
#[inline]
pub fn compared(registers: &Registers) -> Compared {
    let mut all = [0; COMPARED];
    all[0] = registers.flags_compared();
    all[1..].copy_from_slice(&registers.general);
    all
}

/// Registers with these values; RIP, which is not compared, is 0.
pub fn registers(compared: &Compared) -> Registers {
    let mut registers = Registers { rflags: compared[0], ..Registers::default() };
    registers.general.copy_from_slice(&compared[1..]);
    registers
}

/// The name of a compared register.
pub fn name(register: usize) -> &'static str {
    if register == 0 { "RFLAGS" } else { crate::state::GENERAL_NAMES[register - 1] }
}

/// The complete state, compared after an exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The exit that it follows; the exit's instruction is complete.
    pub exit: u64,
    /// The complete CPU state.
    pub cpu: CpuState,
    /// Guest memory.
    pub memory: MemoryDigest,
}

/// What is known of guest memory at a checkpoint: pages as (number, XXH3-64), ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryDigest {
    /// It was not looked at.
    None,
    /// The pages that are not all zeros: pages that the guest never wrote are compared too.
    All(#[serde(deserialize_with = "ascending")] Vec<(u64, u64)>),
    /// The pages whose content is another than when memory was last looked at, for a checkpoint or a keyframe, or than at the start.
    Changed(#[serde(deserialize_with = "ascending")] Vec<(u64, u64)>),
}

/// Pages in ascending order, and no others: a page named over and over would take next to nothing in the file, and gigabytes here.
fn ascending<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(u64, u64)>, D::Error> {
    struct Pages;

    impl<'de> Visitor<'de> for Pages {
        type Value = Vec<(u64, u64)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("pages in ascending order")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut pages: Self::Value = Vec::new();
            while let Some(page) = list.next_element::<(u64, u64)>()? {
                if pages.last().is_some_and(|last| last.0 >= page.0) {
                    return Err(de::Error::custom("pages do not ascend"));
                }
                pages.push(page);
            }
            Ok(pages)
        }
    }

    deserializer.deserialize_seq(Pages)
}

/// Sites are folded into this many slots: the predictions stay in the cache however many sites there are.
const SLOTS: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Slot {
    site: u32,
    chunk: u32,
    registers: Registers,
}

#[derive(Debug)]
struct Predictor {
    chunk: u32,
    slots: Vec<Slot>,
    /// The slot of the exit before; none at the start of a chunk.
    last: Option<usize>,
}

impl Predictor {
    fn new() -> Self {
        let empty = Slot { site: 0, chunk: 0, registers: Registers::default() };
        Self { chunk: 1, slots: vec![empty; SLOTS], last: None }
    }

    /// The registers at the last visit of this site in this chunk, or at the exit before.
    #[inline]
    fn of(&mut self, site: u32) -> &mut Registers {
        let i = site as usize % SLOTS;
        if self.slots[i].chunk != self.chunk || self.slots[i].site != site {
            let registers = self.last.map_or_else(Registers::default, |last| self.slots[last].registers);
            self.slots[i] = Slot { site, chunk: self.chunk, registers };
        }
        self.last = Some(i);
        &mut self.slots[i].registers
    }

    fn next_chunk(&mut self) {
        self.chunk += 1;
        self.last = None;
    }
}

/// Encodes digests into chunks.
#[derive(Debug)]
pub struct DigestEncoder {
    predictor: Predictor,
    bytes: Vec<u8>,
    exits: u64,
    checkpoints: Vec<Checkpoint>,
}

impl Default for DigestEncoder {
    fn default() -> Self {
        Self { predictor: Predictor::new(), bytes: Vec::new(), exits: 0, checkpoints: Vec::new() }
    }
}

impl DigestEncoder {
    /// Appends the registers at the next exit.
    #[inline]
    pub fn exit(&mut self, site: u32, registers: &Registers) {
        self.exits += 1;
        let predicted = self.predictor.of(site);
        // Most exits of a loop find the registers as they were.
        if predicted == registers {
            self.bytes.push(0);
            return;
        }
        let (old, new) = (compared(predicted), compared(registers));
        let mask = (0..COMPARED).fold(0u32, |mask, r| mask | u32::from(old[r] != new[r]) << r);
        put(&mut self.bytes, mask.into());
        let mut left = mask;
        while left != 0 {
            let r = left.trailing_zeros() as usize;
            put_delta(&mut self.bytes, new[r], old[r]);
            left &= left - 1;
        }
        *predicted = *registers;
    }

    /// Appends a checkpoint after the last exit.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.checkpoints.push(checkpoint);
    }

    /// Bytes of the chunk so far, checkpoints apart.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the chunk is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the chunk and starts the next.
    pub fn take(&mut self) -> Vec<u8> {
        let mut chunk = Vec::with_capacity(self.bytes.len() + 16);
        put(&mut chunk, self.exits);
        chunk.append(&mut self.bytes);
        let checkpoints = std::mem::take(&mut self.checkpoints);
        // Serializing to memory fails only when memory does; an empty list is then the honest remainder.
        chunk.extend(postcard::to_stdvec(&checkpoints).unwrap_or_else(|_| vec![0]));
        self.exits = 0;
        self.predictor.next_chunk();
        chunk
    }
}

/// Decodes one chunk, exit by exit.
#[derive(Debug)]
pub struct DigestDecoder {
    predictor: Predictor,
}

impl Default for DigestDecoder {
    fn default() -> Self {
        Self { predictor: Predictor::new() }
    }
}

/// A decoded chunk.
#[derive(Debug, Default)]
pub struct DigestChunk {
    /// Number of its first exit.
    pub first_exit: u64,
    /// The registers at each exit.
    pub registers: Vec<Compared>,
    /// Its checkpoints, ascending.
    pub checkpoints: Vec<Checkpoint>,
}

/// Bytes that the checkpoints of a chunk take in memory at most, pages apart: an image of a megabyte can take five in the file.
const CHECKPOINT_BYTES: usize = 64 << 20;

fn decode_checkpoints(mut cursor: Cursor<'_>) -> Result<Vec<Checkpoint>, Malformed> {
    const WRONG: Malformed = Malformed("checkpoints do not decode");
    let number = cursor.varint()?;
    let mut rest = cursor.take(cursor.remaining())?;
    let (mut all, mut bytes) = (Vec::new(), 0);
    for _ in 0..number {
        let (checkpoint, after) = postcard::take_from_bytes::<Checkpoint>(rest).map_err(|_| WRONG)?;
        bytes += size_of::<Checkpoint>() + checkpoint.cpu.xsave.len() + 16 * checkpoint.cpu.msrs.len();
        if bytes > CHECKPOINT_BYTES {
            return Err(Malformed("the checkpoints of a chunk are larger than those of any chunk"));
        }
        all.push(checkpoint);
        rest = after;
    }
    Ok(all)
}

impl DigestDecoder {
    /// Decodes a chunk; `sites` gives the site of each of its exits, as the input stream has them.
    pub fn decode(
        &mut self,
        first_exit: u64,
        bytes: &[u8],
        sites: impl Iterator<Item = u32>,
    ) -> Result<DigestChunk, Malformed> {
        self.predictor.next_chunk();
        let mut cursor = Cursor::new(bytes);
        let exits = cursor.varint()?;
        let mut all = Vec::new();
        for site in sites {
            let predicted = self.predictor.of(site);
            let mut mask = cursor.varint()?;
            if mask >> COMPARED != 0 {
                return Err(Malformed("a digest names a register that does not exist"));
            }
            let mut now = compared(predicted);
            while mask != 0 {
                let r = mask.trailing_zeros() as usize;
                now[r] = cursor.delta(now[r])?;
                mask &= mask - 1;
            }
            if now[0] & RFLAGS_RF != 0 {
                return Err(Malformed("a digest holds a flag that is never compared"));
            }
            *predicted = registers(&now);
            all.push(now);
        }
        if all.len() as u64 != exits {
            return Err(Malformed("digests and inputs disagree on the number of exits"));
        }
        Ok(DigestChunk { first_exit, registers: all, checkpoints: decode_checkpoints(cursor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use super::registers as of;

    proptest! {
        #[test]
        fn every_sequence_of_registers_survives(steps in prop::collection::vec((0u32..3000, any::<[u64; COMPARED]>()), 0..60)) {
            let mut encoder = DigestEncoder::default();
            let mut decoder = DigestDecoder::default();
            for _ in 0..2 {
                for (site, registers) in &steps {
                    encoder.exit(*site, &of(registers));
                }
                let chunk = decoder.decode(0, &encoder.take(), steps.iter().map(|s| s.0)).unwrap();
                prop_assert_eq!(chunk.registers, steps.iter().map(|s| compared(&of(&s.1))).collect::<Vec<_>>());
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = DigestDecoder::default().decode(0, &bytes, 0..10);
        }
    }

    #[test]
    fn checkpoints_that_grow_beyond_measure_are_malformed() {
        let cpu = CpuState { xsave: vec![0; 1 << 20], ..CpuState::default() };
        let chunk = |number: usize| {
            let mut encoder = DigestEncoder::default();
            for _ in 0..number {
                let memory = MemoryDigest::None;
                encoder.checkpoint(Checkpoint { exit: 0, cpu: cpu.clone(), memory });
            }
            let bytes = encoder.take();
            assert!(bytes.len() < 400 * number + 16, "{} bytes", bytes.len());
            DigestDecoder::default().decode(0, &bytes, std::iter::empty())
        };
        assert_eq!(chunk(60).unwrap().checkpoints.len(), 60);
        assert!(chunk(64).is_err());
    }

    #[test]
    fn pages_that_do_not_ascend_are_malformed() {
        let chunk = |pages: Vec<(u64, u64)>| {
            let mut encoder = DigestEncoder::default();
            for memory in [MemoryDigest::All(pages.clone()), MemoryDigest::Changed(pages)] {
                encoder.checkpoint(Checkpoint { exit: 0, cpu: CpuState::default(), memory });
            }
            DigestDecoder::default().decode(0, &encoder.take(), std::iter::empty())
        };
        let pages = vec![(0, 9), (1, 9), (u64::MAX, 9)];
        assert_eq!(chunk(pages.clone()).unwrap().checkpoints[1].memory, MemoryDigest::Changed(pages));
        assert!(chunk(vec![(1, 9), (1, 9)]).is_err());
        assert!(chunk(vec![(1, 9), (0, 9)]).is_err());
    }

    #[test]
    fn a_digest_with_the_flag_that_is_never_compared_is_malformed() {
        let chunk = |flags: u64| {
            let mut bytes = vec![1, 1];
            put_delta(&mut bytes, flags, 0);
            bytes.push(0);
            DigestDecoder::default().decode(0, &bytes, std::iter::once(0))
        };
        assert_eq!(chunk(2).unwrap().registers[0][0], 2);
        assert!(chunk(2 | RFLAGS_RF).is_err());
    }

    #[test]
    fn a_loop_that_counts_costs_two_bytes_an_exit() {
        let mut encoder = DigestEncoder::default();
        let mut registers = of(&[0x1234_5678_9abc; COMPARED]);
        for i in 0..1000 {
            registers.general[Registers::RCX] = 1000 - i;
            encoder.exit(3, &registers);
        }
        assert!(encoder.len() < 2 * 1000 + 200, "{} bytes", encoder.len());
    }
}
