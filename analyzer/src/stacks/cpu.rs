//! The registers of one frame.

use super::table::Method;
use trapline_formats::{CpuMode, Registers};

/// Index of RBP in [`Registers::general`]; RSP's is [`Registers::RSP`].
pub(super) const RBP: usize = 7;

/// The registers of a frame, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cpu {
    /// Linear address of the instruction that trapped or was interrupted, or of the one that a call returns to.
    pub(super) ip: u64,
    /// A call returns to `ip`.
    pub(super) is_return: bool,
    /// In the order of [`Registers::general`].
    pub(super) general: [Option<u64>; 16],
}

impl Cpu {
    /// A caller of whose registers only these are known.
    pub(super) fn caller(ip: u64, sp: u64, bp: Option<u64>) -> Self {
        let mut cpu = Self { ip, is_return: true, general: [None; 16] };
        cpu.general[Registers::RSP] = Some(sp);
        cpu.general[RBP] = bp;
        cpu
    }

    pub(super) fn sp(&self) -> Option<u64> {
        self.general[Registers::RSP]
    }

    pub(super) fn bp(&self) -> Option<u64> {
        self.general[RBP]
    }

    /// An address inside the instruction that the frame stands at. A call that never returns may be the last of its function.
    pub(super) fn inside(&self) -> u64 {
        self.ip.wrapping_sub(self.is_return.into())
    }
}

/// One way outwards.
#[expect(clippy::large_enum_variant, reason = "it is taken at once, and never stored")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// To the caller, or to what was interrupted.
    To(Cpu, Method),
    /// There is none: this frame is the outermost.
    Outermost,
}

/// How addresses of code and stack are made: at this exit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segments {
    pub(super) mode: CpuMode,
    pub(super) code_base: u64,
    pub(super) stack_base: u64,
    /// Bits of the stack pointer that count.
    pub(super) stack_mask: u64,
}

impl Segments {
    /// The linear address of an offset in the code segment.
    pub(super) fn code(&self, offset: u64) -> u64 {
        self.linear(self.code_base.wrapping_add(offset))
    }

    /// The linear address of an offset in the stack segment.
    pub(super) fn stack(&self, offset: u64) -> u64 {
        self.linear(self.stack_base.wrapping_add(offset & self.stack_mask))
    }

    fn linear(&self, address: u64) -> u64 {
        if self.mode == CpuMode::Long64 { address } else { address & 0xffff_ffff }
    }

    /// Bytes that a near call may push: the mode's own first. Real-mode code of compilers calls with 32 bits.
    pub(super) fn widths(&self) -> &'static [u64] {
        match self.mode {
            CpuMode::Long64 => &[8],
            CpuMode::Protected32 => &[4],
            CpuMode::Real16 | CpuMode::Protected16 => &[2, 4],
        }
    }
}
