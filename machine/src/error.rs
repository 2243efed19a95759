//! What can go wrong between us and KVM.

use thiserror::Error;
use trapline_formats::{GENERAL_NAMES, Gpa, Registers};

/// An error of the machine.
#[derive(Debug, Error)]
pub enum MachineError {
    /// /dev/kvm cannot be used at all.
    #[error("{0}")]
    Unusable(String),
    /// KVM refused a request.
    #[error("KVM refused {request}: {source}")]
    Refused {
        /// The ioctl, by its name in the KVM API.
        request: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// KVM lacks a capability that recording needs.
    #[error("this KVM lacks {capability}, which {purpose}")]
    Missing {
        /// The capability, by its name in the KVM API.
        capability: &'static str,
        /// What it is needed for.
        purpose: &'static str,
    },
    /// Guest memory cannot be had.
    #[error("cannot set up {bytes} bytes of guest memory at {gpa}: {reason}")]
    Memory {
        /// Where.
        gpa: Gpa,
        /// How much.
        bytes: u64,
        /// Why not.
        reason: String,
    },
    /// An access outside of guest memory.
    #[error("guest memory has no {bytes} bytes at {gpa}")]
    OutOfMemory {
        /// Where.
        gpa: Gpa,
        /// How many bytes.
        bytes: usize,
    },
    /// KVM gave up on the guest.
    #[error("{0}")]
    GaveUp(Box<GaveUp>),
    /// A saved state cannot be restored here.
    #[error("cannot restore the recorded state on this host: {0}")]
    Restore(String),
}

/// KVM gave up: what it said, and where the guest was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaveUp {
    /// What KVM said, in words.
    pub reason: String,
    /// Linear address of the next instruction.
    pub address: u64,
    /// CPU mode in words: "64-bit mode, CPL 0".
    pub mode: String,
    /// The bytes there.
    pub bytes: Vec<u8>,
    /// Their disassembly, where they decode.
    pub disassembly: String,
    /// What finishing the instruction would need, where KVM left it to us.
    pub needed: Option<String>,
    /// The general registers.
    pub registers: Registers,
}

impl std::fmt::Display for GaveUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:#x} in {}", self.reason, self.address, self.mode)?;
        if !self.disassembly.is_empty() {
            write!(f, ": `{}`", self.disassembly)?;
        }
        let hex: Vec<_> = self.bytes.iter().map(|b| format!("{b:02x}")).collect();
        write!(f, " [{}]", hex.join(" "))?;
        if let Some(needed) = &self.needed {
            write!(f, "; to finish it, Trapline would need {needed}")?;
        }
        write!(f, "; RFLAGS={:#x}", self.registers.rflags)?;
        for (name, value) in GENERAL_NAMES.iter().zip(self.registers.general) {
            write!(f, " {name}={value:#x}")?;
        }
        Ok(())
    }
}

/// Turns an errno of kvm-ioctls into an error that names the request.
pub(crate) fn refused(request: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> MachineError {
    move |e| MachineError::Refused { request, source: std::io::Error::from_raw_os_error(e.errno()) }
}
