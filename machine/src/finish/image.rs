//! The registers of x87, SSE and AVX while an instruction is being finished: an XSAVE image where the processor can load it.

use crate::error::MachineError;
use crate::xsave;

/// Bytes of KVM_GET_XSAVE (KVM API 4.42).
pub(crate) const BYTES: usize = 4096;
/// Offsets in the legacy region (SDM vol. 1, table 10-2, the layout of FXSAVE64).
const FSW: usize = 2;
const FOP: usize = 6;
const FIP: usize = 8;
const FDP: usize = 16;
const XSTATE_BV: usize = 512;

/// The image. XRSTOR wants it at a multiple of 64 (SDM vol. 1, 13.7).
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Image {
    pub(crate) bytes: [u8; BYTES],
    pub(crate) xcr0: u64,
}

impl Image {
    /// From canonical bytes, see [`xsave::canonical`].
    pub(crate) fn new(canonical: &[u8], xcr0: u64) -> Result<Box<Self>, MachineError> {
        let mut image = Box::new(Self { bytes: [0; BYTES], xcr0 });
        for (to, word) in image.bytes.chunks_exact_mut(4).zip(xsave::to_words(canonical)?) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        Ok(image)
    }

    /// The canonical bytes.
    pub(crate) fn canonical(&self, components: &[(u32, usize, usize)]) -> Vec<u8> {
        let mut words = [0; BYTES / 4];
        for (word, bytes) in words.iter_mut().zip(self.bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        xsave::canonical(&words, components)
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|i| self.bytes[at + i]))
    }

    /// Marks components as in use, x87 and SSE always: their bytes were written, whether the processor takes them for their
    /// start or not, and the canonical form sorts that out. (XSAVE marks SSE by the XMM registers alone, whatever MXCSR is:
    /// SDM vol. 1, 13.6; processors that KVM emulates may mark less.)
    pub(crate) fn mark_in_use(&mut self, components: u64) {
        let marked = self.in_use() | components & self.xcr0 | 3;
        self.bytes[XSTATE_BV..XSTATE_BV + 8].copy_from_slice(&marked.to_le_bytes());
    }

    /// ES of the x87 status word: an unmasked exception waits (SDM vol. 1, 8.1.3).
    pub(crate) fn x87_exception_waits(&self) -> bool {
        self.bytes[FSW] & 0x80 != 0
    }

    /// The address of the last x87 instruction, of its memory operand, and its opcode.
    pub(crate) fn x87_pointers(&self) -> (u64, u64) {
        (self.u64(FIP), self.u64(FDP))
    }

    pub(crate) fn set_x87_instruction(&mut self, address: u64, opcode: Option<u16>) {
        self.bytes[FIP..FIP + 8].copy_from_slice(&address.to_le_bytes());
        if let Some(opcode) = opcode
            && self.bytes[FOP..FOP + 2] != [0, 0]
        {
            self.bytes[FOP..FOP + 2].copy_from_slice(&(opcode & 0x7ff).to_le_bytes());
        }
    }

    pub(crate) fn set_x87_operand(&mut self, address: u64) {
        self.bytes[FDP..FDP + 8].copy_from_slice(&address.to_le_bytes());
    }

    pub(crate) fn in_use(&self) -> u64 {
        self.u64(XSTATE_BV)
    }
}
