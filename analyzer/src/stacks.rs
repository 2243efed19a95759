//! Call stacks of the guest: who called the code that trapped.
//!
//! They are not recorded: a replay stands still at every exit, and there [`Unwinder`] looks at registers and memory. Each frame says
//! how it was found, for not all ways are equally sure. What a guest keeps on its stack may be anything: depth and work are bounded.

mod call;
mod cfi;
mod cpu;
mod elf_tables;
mod expression;
mod frame_pointer;
mod guess;
mod memory;
mod modules;
mod orc;
mod orc_search;
mod orc_table;
mod table;
mod trap_frame;
mod unwinder;

pub use table::{Caller, Method, Stacks};
pub use unwinder::{Standing, Unwinder};

#[cfg(test)]
mod tests;
