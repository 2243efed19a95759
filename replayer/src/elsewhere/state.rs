//! What of a complete state is compared between two processors.

use super::image;
use trapline_formats::CpuState;

const CS: usize = 0;
const CR0_PE: u64 = 1;
/// Bit 3 of a segment's type: code, not data (SDM vol. 3, 3.4.5.1).
const EXECUTABLE: u16 = 1 << 3;

/// The state without what only tells processors apart. `msrs`: those that this KVM has.
pub(super) fn compared(state: &CpuState, msrs: &[u32]) -> CpuState {
    let mut state = state.clone();
    // In real mode the type of CS has no effect: loading it leaves a data segment on one processor, code on another.
    if state.system.control[0] & CR0_PE == 0 {
        state.system.segments[CS].rights &= !EXECUTABLE;
    }
    // The guest could not write the others: here an access of theirs is an exit, which the recording has not.
    state.msrs.retain(|(index, _)| msrs.contains(index));
    image::forget(&mut state.xsave);
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(cr0: u64, rights: u16) -> CpuState {
        let mut state = CpuState { msrs: vec![(0x174, 1), (0x277, 2)], ..CpuState::default() };
        state.system.control[0] = cr0;
        state.system.segments[CS].rights = rights;
        state
    }

    #[test]
    fn the_type_of_cs_counts_in_protected_mode_only() {
        let msrs = [0x174, 0x277];
        let same = |cr0| compared(&state(cr0, 0x93), &msrs) == compared(&state(cr0, 0x9b), &msrs);
        assert!(same(0));
        assert!(!same(CR0_PE));
        assert_ne!(compared(&state(0, 0x93), &msrs), compared(&state(0, 0x83), &msrs));
    }

    #[test]
    fn msrs_that_are_not_here_are_left_out() {
        assert_eq!(compared(&state(0, 0), &[0x277]).msrs, [(0x277, 2)]);
    }
}
