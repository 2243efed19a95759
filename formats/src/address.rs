//! Addresses and ordinals as types, so that none is taken for another.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A guest-physical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Gpa(pub u64);

/// A guest linear address (segment base added, paging not applied).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Gva(pub u64);

/// The number of an exit: 0 for the first that the guest caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ExitIndex(pub u64);

impl fmt::Display for Gpa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Gva {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for ExitIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An address space that instructions name and devices live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Space {
    /// I/O ports (16-bit).
    Port,
    /// Guest-physical memory that is not RAM.
    Mmio,
    /// Model-specific registers (32-bit).
    Msr,
}

/// The name of a range of addresses, as the recorded platform calls it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedRange {
    /// The address space.
    pub space: Space,
    /// First address.
    pub start: u64,
    /// First address after the range.
    pub end: u64,
    /// The device it belongs to: "COM1", "PIT", "CMOS/RTC".
    pub device: String,
    /// The register, where the range is one: "data", "line status". Empty for a whole device.
    pub register: String,
}
