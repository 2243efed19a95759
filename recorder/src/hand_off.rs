//! Where an image that unpacks itself jumps into what it unpacked: the last moment at which nothing of it has run, and the
//! place to rewrite its clock reads.
//!
//! The `JMP RAX` instructions of the unpacking code are rewritten into `OUT imm8, AL`, which is as long. When one exits and
//! RAX is where the unpacked kernel begins, the kernel's own clock reads are rewritten in guest memory; then, and at any other
//! of the jumps, the jump is put back and executed. All of it is logged as events after that exit, so a replay needs to
//! know nothing of kernels.

use trapline_formats::{Gpa, Rewrite};
use trapline_machine::Memory;

/// `JMP RAX` (SDM vol. 2, JMP).
pub const JMP_RAX: [u8; 2] = [0xff, 0xe0];

/// What is done at the jump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOff {
    /// The port that stands for the jump.
    pub port: u8,
    /// Physical address of the entry point in the unpacked kernel, as it was linked.
    pub entry: u64,
    /// What is rewritten in the unpacked kernel; addresses are physical, as it was linked.
    pub rewrites: Vec<Rewrite>,
}

impl HandOff {
    /// The rewrites of a kernel that is entered at `target`: those whose original bytes are in memory. None at all: that is
    /// not the kernel.
    pub fn rewrites_at(&self, memory: &Memory, target: u64) -> Vec<Rewrite> {
        let moved = target.wrapping_sub(self.entry);
        let is_there = |rewrite: &Rewrite| {
            let mut bytes = vec![0; rewrite.original.len()];
            memory.read(Gpa(rewrite.gpa), &mut bytes).is_ok() && bytes == rewrite.original
        };
        self.rewrites
            .iter()
            .map(|r| Rewrite { gpa: r.gpa.wrapping_add(moved), ..r.clone() })
            .filter(is_there)
            .collect()
    }
}
