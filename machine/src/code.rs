//! Code segments: what a RIP means.

use kvm_bindings::kvm_sregs;
use trapline_formats::CpuMode;

/// What of CS and the control registers decides how code is fetched and decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CodeSegment {
    pub(crate) base: u64,
    pub(crate) mode: CpuMode,
    pub(crate) cpl: u8,
}

/// CR0.PE, EFER.LMA, RFLAGS is not needed: virtual-8086 code is 16-bit protected code with a base.
const CR0_PE: u64 = 1;
const EFER_LMA: u64 = 1 << 10;

impl CodeSegment {
    pub(crate) fn of(sregs: &kvm_sregs) -> Self {
        let cs = &sregs.cs;
        let mode = if sregs.cr0 & CR0_PE == 0 {
            CpuMode::Real16
        } else if sregs.efer & EFER_LMA != 0 && cs.l != 0 {
            CpuMode::Long64
        } else if cs.db != 0 {
            CpuMode::Protected32
        } else {
            CpuMode::Protected16
        };
        // SS.DPL is the CPL (SDM vol. 3, 24.4.1); in real mode it is 0.
        let cpl = if mode == CpuMode::Real16 { 0 } else { sregs.ss.dpl };
        Self { base: if mode == CpuMode::Long64 { 0 } else { cs.base }, mode, cpl }
    }

    /// The linear address of an offset in this segment.
    pub(crate) fn linear(&self, rip: u64) -> u64 {
        let linear = self.base.wrapping_add(rip);
        if self.mode == CpuMode::Long64 { linear } else { linear & 0xffff_ffff }
    }

    pub(crate) fn describe(&self) -> String {
        match self.mode {
            CpuMode::Real16 => "real mode".to_owned(),
            mode => format!("{}-bit mode, CPL {}", mode.bits(), self.cpl),
        }
    }
}

/// The last code segment that was read.
///
/// Reading CS costs a system call. 16 and 32-bit code changes it all the time, so there it is read at every exit. In
/// 64-bit mode its base is zero and only mode switches and changes of privilege matter; those that cannot be seen from
/// RIP alone are caught within `REUSE` exits. What hangs on it is the *name* of a site, not the replay: every register
/// that moves is compared at every exit, and the segments at every checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    last: Option<CodeSegment>,
    /// Counts changes of `last`.
    generation: u32,
    /// Exits at which `last` may still be used.
    left: u32,
    /// Half of the address space that the last one was read in.
    high: bool,
}

const REUSE: u32 = 256;

impl Cache {
    /// Whether the last segment may be taken for the one at this RIP.
    #[inline]
    pub(crate) fn holds(&mut self, rip: u64) -> bool {
        // Crossing between the halves of the address space is how kernels and their processes change privilege.
        let high = rip >> 63 != 0;
        if self.left == 0 || high != self.high {
            self.high = high;
            return false;
        }
        self.left -= 1;
        true
    }

    /// Equal numbers, equal segments.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn put(&mut self, segment: CodeSegment) -> CodeSegment {
        if self.last.replace(segment) != Some(segment) {
            self.generation += 1;
        }
        self.left = if segment.mode == CpuMode::Long64 { REUSE } else { 0 };
        segment
    }

    pub(crate) fn forget(&mut self) {
        (self.last, self.left) = (None, 0);
    }
}
