//! Where interrupts may be given to the guest, and how late they came.

use serde::{Deserialize, Serialize};

/// Where interrupts may be given to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Preempt {
    /// After exits, and at interrupt windows.
    #[default]
    Exits,
    /// Also between exits, at positions whose state the trace carries.
    Positions,
}

/// What giving interrupts to the guest came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preemption {
    /// Time between the moment when a timer was due and the moment when its interrupt was given to the guest.
    pub lateness: Spread,
    /// Positions between exits: the time that carrying each took.
    pub positions: Spread,
    /// Pages of memory in them.
    pub pages: u64,
    /// Interrupts that were due between exits and had to wait for one: the guest could not take them, or too much memory had
    /// changed.
    pub deferred: u64,
}

/// How times spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// How many there were.
    pub count: u64,
    /// The median, in ns, to a sixteenth.
    pub median_ns: u64,
    /// The 99th percentile, in ns, to a sixteenth.
    pub p99_ns: u64,
    /// The longest, in ns.
    pub max_ns: u64,
}
