//! What is known of a triple fault: a fault that led to a fault that led to a fault, for want of handlers.

use trapline_formats::CpuState;

/// After a reset the processor is about to execute its first instruction at F000:FFF0 (SDM vol. 3, 10.1.4).
const RESET_VECTOR: (u64, u64) = (0xffff_0000, 0xfff0);

/// One line about where, from the state that the fault left.
pub fn place(state: &CpuState) -> String {
    let (system, rip) = (&state.system, state.registers.rip);
    let cs = &system.segments[0];
    if (cs.base, rip) == RESET_VECTOR {
        return "where it faulted is not known: this engine has reset the processor already; the exit before the last one is \
                the last place that is known"
            .into();
    }
    let (idt, limit) = system.idt;
    let idt = match limit {
        0 => "there is no interrupt descriptor table to handle a fault".into(),
        _ => format!("the interrupt descriptor table lies at {idt:#x}, up to offset {limit:#x}"),
    };
    let linear = cs.base.wrapping_add(rip);
    let cr2 = system.control[1];
    format!("it faulted at {linear:#x} (CS:RIP {:#x}:{rip:#x}, CR2 {cr2:#x}); {idt}", cs.selector)
}

#[cfg(test)]
mod tests {
    use super::place;
    use trapline_formats::CpuState;

    #[test]
    fn the_place_of_a_fault_is_told_unless_the_processor_was_reset() {
        let mut state = CpuState::default();
        state.system.segments[0].selector = 8;
        state.registers.rip = 0x8004;
        state.system.control[1] = 0xdead_b000;
        assert!(
            place(&state)
                .starts_with("it faulted at 0x8004 (CS:RIP 0x8:0x8004, CR2 0xdeadb000); there is no")
        );
        state.system.idt = (0x6000, 0x7ff);
        assert!(place(&state).ends_with("table lies at 0x6000, up to offset 0x7ff"));
        (state.system.segments[0].base, state.registers.rip) = (0xffff_0000, 0xfff0);
        assert!(place(&state).contains("has reset the processor"));
    }
}
