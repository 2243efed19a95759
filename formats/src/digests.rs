//! The digest stream: what the registers were at each exit, and complete checkpoints.
//!
//! Registers are not hashed but stored as differences to the last visit of the same site, so that a replay can *name*
//! the one that differs, in fewer bytes than a hash. A chunk is
//! ```text
//! chunk  := exits:varint exit{exits} postcard([Checkpoint])
//! exit   := mask:varint delta*          bit i of the mask: register i of ORDER differs from the prediction
//! ```
//! RIP is not in it: the site is.

use crate::error::Malformed;
use crate::state::{CpuState, Registers};
use crate::varint::{Cursor, put, put_delta};
use serde::{Deserialize, Serialize};

/// Registers compared at every exit: the general ones and the flags.
pub const COMPARED: usize = 17;

/// Which register stands at which bit of the mask: those that loops change come first, to keep the mask in one byte.
/// Numbers index [`crate::GENERAL_NAMES`]; 16 stands for RFLAGS.
const ORDER: [usize; COMPARED] = [0, 1, 2, 6, 7, 16, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];

/// The registers compared at every exit, RFLAGS (without RF) last.
pub type Compared = [u64; COMPARED];

/// Takes from `registers` what is compared.
#[inline]
pub fn compared(registers: &Registers) -> Compared {
    let mut all = [0; COMPARED];
    all[..16].copy_from_slice(&registers.general);
    all[16] = registers.flags_compared();
    all
}

/// The name of a compared register.
pub fn name(register: usize) -> &'static str {
    if register == 16 { "RFLAGS" } else { crate::state::GENERAL_NAMES[register] }
}

/// The complete state, compared after an exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The exit that it follows; the exit's instruction is complete.
    pub exit: u64,
    /// The complete CPU state.
    pub cpu: CpuState,
    /// Guest memory: (page number, XXH3-64) of the pages that differ from the start of the recording, ascending.
    /// `None` where memory was not looked at.
    pub pages: Option<Vec<(u64, u64)>>,
}

/// Sites are folded into this many slots: the predictions stay in the cache however many sites there are.
const SLOTS: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Slot {
    site: u32,
    chunk: u32,
    registers: Compared,
}

#[derive(Debug)]
struct Predictor {
    chunk: u32,
    slots: Vec<Slot>,
    last: Compared,
}

impl Predictor {
    fn new() -> Self {
        let empty = Slot { site: 0, chunk: 0, registers: [0; COMPARED] };
        Self { chunk: 1, slots: vec![empty; SLOTS], last: [0; COMPARED] }
    }

    /// The registers at the last visit of this site in this chunk, or at the exit before.
    #[inline]
    fn of(&mut self, site: u32) -> &mut Slot {
        let slot = &mut self.slots[site as usize % SLOTS];
        if slot.chunk != self.chunk || slot.site != site {
            *slot = Slot { site, chunk: self.chunk, registers: self.last };
        }
        slot
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
    pub fn exit(&mut self, site: u32, registers: &Compared) {
        let slot = self.predictor.of(site);
        let mut mask = 0u32;
        for (bit, &r) in ORDER.iter().enumerate() {
            mask |= u32::from(slot.registers[r] != registers[r]) << bit;
        }
        put(&mut self.bytes, mask.into());
        let mut left = mask;
        while left != 0 {
            let r = ORDER[left.trailing_zeros() as usize];
            put_delta(&mut self.bytes, registers[r], slot.registers[r]);
            left &= left - 1;
        }
        slot.registers = *registers;
        self.predictor.last = *registers;
        self.exits += 1;
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
        self.predictor.chunk += 1;
        self.predictor.last = [0; COMPARED];
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

impl DigestDecoder {
    /// Decodes a chunk; `sites` gives the site of each of its exits, as the input stream has them.
    pub fn decode(
        &mut self,
        first_exit: u64,
        bytes: &[u8],
        sites: impl Iterator<Item = u32>,
    ) -> Result<DigestChunk, Malformed> {
        self.predictor.chunk += 1;
        self.predictor.last = [0; COMPARED];
        let mut cursor = Cursor::new(bytes);
        let exits = cursor.varint()?;
        let mut registers = Vec::new();
        for site in sites {
            let slot = self.predictor.of(site);
            let mut mask = cursor.varint()?;
            if mask >> COMPARED != 0 {
                return Err(Malformed("a digest names a register that does not exist"));
            }
            while mask != 0 {
                let r = ORDER[mask.trailing_zeros() as usize];
                slot.registers[r] = cursor.delta(slot.registers[r])?;
                mask &= mask - 1;
            }
            let now = slot.registers;
            self.predictor.last = now;
            registers.push(now);
        }
        if registers.len() as u64 != exits {
            return Err(Malformed("digests and inputs disagree on the number of exits"));
        }
        let rest = cursor.take(cursor.remaining())?;
        let checkpoints = postcard::from_bytes(rest).map_err(|_| Malformed("checkpoints do not decode"))?;
        Ok(DigestChunk { first_exit, registers, checkpoints })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_sequence_of_registers_survives(steps in prop::collection::vec((0u32..3000, any::<[u64; COMPARED]>()), 0..60)) {
            let mut encoder = DigestEncoder::default();
            let mut decoder = DigestDecoder::default();
            for _ in 0..2 {
                for (site, registers) in &steps {
                    encoder.exit(*site, registers);
                }
                let chunk = decoder.decode(0, &encoder.take(), steps.iter().map(|s| s.0)).unwrap();
                prop_assert_eq!(chunk.registers, steps.iter().map(|s| s.1).collect::<Vec<_>>());
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = DigestDecoder::default().decode(0, &bytes, 0..10);
        }
    }

    #[test]
    fn a_loop_that_counts_costs_two_bytes_an_exit() {
        let mut encoder = DigestEncoder::default();
        let mut registers = [0x1234_5678_9abc; COMPARED];
        for i in 0..1000 {
            registers[1] = 1000 - i;
            encoder.exit(3, &registers);
        }
        assert!(encoder.len() < 2 * 1000 + 200, "{} bytes", encoder.len());
    }
}
