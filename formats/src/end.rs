//! How a recording ended.

use crate::address::Space;
use crate::header::Rewrite;
use crate::preemption::Preemption;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a recording ended. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// HLT with interrupts disabled: nothing can wake the guest.
    Halted,
    /// HLT with interrupts enabled, but no timer runs and nobody types: nothing will wake the guest.
    Idle,
    /// Triple fault.
    TripleFault,
    /// The guest asked for a reset.
    Reset,
    /// The guest asked to be switched off.
    PowerOff,
    /// The guest wrote this code to the exit device.
    ExitDevice(u8),
    /// The console text matched this regular expression (`--until-console`).
    ConsoleMatch(String),
    /// The number of exits asked for was reached (`--max-exits`).
    MaxExits,
    /// The host time asked for was reached (`--timeout`).
    Timeout,
    /// The user interrupted the recording (Ctrl-C).
    Interrupted,
    /// The recording could not go on, for KVM or for want of room in a trace; in words.
    Failed(String),
}

impl EndReason {
    /// The name in reports and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Halted => "halted",
            Self::Idle => "idle",
            Self::TripleFault => "triple-fault",
            Self::Reset => "reset",
            Self::PowerOff => "power-off",
            Self::ExitDevice(_) => "exit-device",
            Self::ConsoleMatch(_) => "console-match",
            Self::MaxExits => "max-exits",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether the guest stood right behind an exit when it ended: everything is compared there.
    pub fn is_at_position(&self) -> bool {
        !self.is_by_host_time() && !matches!(self, Self::Failed(_))
    }

    /// Whether host time decided where the recording ends: two such recordings are compared up to the shorter one.
    pub fn is_by_host_time(&self) -> bool {
        matches!(self, Self::Timeout | Self::Interrupted)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted => f.write_str("the guest halted with interrupts disabled"),
            Self::Idle => f.write_str("the guest halted, and no timer or input was left to wake it"),
            Self::TripleFault => f.write_str("the guest triple-faulted"),
            Self::Reset => f.write_str("the guest asked for a reset"),
            Self::PowerOff => f.write_str("the guest switched itself off"),
            Self::ExitDevice(code) => write!(f, "the guest wrote {code:#04x} to the exit device"),
            Self::ConsoleMatch(regex) => write!(f, "the console matched `{}`", regex.escape_debug()),
            Self::MaxExits => f.write_str("the number of exits asked for was reached"),
            Self::Timeout => f.write_str("the time limit was reached"),
            Self::Interrupted => f.write_str("interrupted by the user"),
            Self::Failed(why) => write!(f, "the recording could not go on: {}", why.escape_debug()),
        }
    }
}

/// Accesses that no device answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclaimed {
    /// The address space.
    pub space: Space,
    /// The address.
    pub address: u64,
    /// Reads, answered with all ones (MSRs: with #GP).
    pub reads: u64,
    /// Writes, dropped (MSRs: answered with #GP).
    pub writes: u64,
}

/// An unclosed source that executed: replay may diverge from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclosed {
    /// The source: "RDTSC".
    pub source: String,
    /// The first exit at which its trace was seen.
    pub exit: u64,
    /// How it was seen, and where.
    pub evidence: String,
}

/// A rewrite that was made while the guest ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateRewrite {
    /// The exit after which it was made.
    pub exit: u64,
    /// What was rewritten.
    pub rewrite: Rewrite,
}

/// The end block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Why it ended.
    pub reason: EndReason,
    /// Number of exits.
    pub exits: u64,
    /// Accesses that no device answered.
    pub unclaimed: Vec<Unclaimed>,
    /// Unclosed sources that executed.
    pub unclosed: Vec<Unclosed>,
    /// Instructions that were rewritten after the start.
    pub rewrites: Vec<LateRewrite>,
    /// How interrupts came to the guest.
    pub preemption: Preemption,
}
