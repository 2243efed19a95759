//! What keeps an instruction from completing.

use crate::error::MachineError;

/// #DE, divide error (SDM vol. 3, table 6-1, as all of these).
pub(crate) const DE: u8 = 0;
/// #DB, debug.
pub(crate) const DB: u8 = 1;
/// #BP, breakpoint.
pub(crate) const BP: u8 = 3;
/// #OF, overflow.
pub(crate) const OF: u8 = 4;
/// #UD, invalid opcode.
pub(crate) const UD: u8 = 6;
/// #NM, device not available.
pub(crate) const NM: u8 = 7;
/// #DF, double fault.
pub(crate) const DF: u8 = 8;
/// #TS, invalid TSS.
pub(crate) const TS: u8 = 10;
/// #NP, segment not present.
pub(crate) const NP: u8 = 11;
/// #SS, stack-segment fault.
pub(crate) const SS: u8 = 12;
/// #GP, general protection.
pub(crate) const GP: u8 = 13;
/// #PF, page fault.
pub(crate) const PF: u8 = 14;
/// #MF, x87 floating-point error.
pub(crate) const MF: u8 = 16;
/// #AC, alignment check.
pub(crate) const AC: u8 = 17;
/// #XM, SIMD floating-point exception.
pub(crate) const XM: u8 = 19;

/// An exception of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) vector: u8,
    pub(crate) code: Option<u32>,
    /// What CR2 becomes.
    pub(crate) address: Option<u64>,
}

impl Fault {
    /// An exception without an error code.
    pub(crate) const fn plain(vector: u8) -> Self {
        Self { vector, code: None, address: None }
    }

    /// An exception with an error code.
    pub(crate) const fn coded(vector: u8, code: u32) -> Self {
        Self { vector, code: Some(code), address: None }
    }
}

/// Why an instruction was not completed.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It raises an exception in the guest.
    Fault(Fault),
    /// It cannot be carried out here: what would be needed.
    Cannot(String),
    /// KVM or memory refused.
    Machine(MachineError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<MachineError> for Stop {
    fn from(error: MachineError) -> Self {
        Self::Machine(error)
    }
}

/// What cannot be carried out, in words.
pub(crate) fn cannot<T>(needed: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Cannot(needed.into()))
}
