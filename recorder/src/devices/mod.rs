//! The devices of a PC, one per file, as pure state machines.
//!
//! None has a clock: every call that depends on time is told `now`. None can panic on what a guest does, and none does
//! more than a bounded amount of work per access. A device keeps its own interrupt output; [`crate::pc::Pc`] carries
//! it to the interrupt controller.

pub mod debugcon;
pub mod exit;
pub mod serial;
