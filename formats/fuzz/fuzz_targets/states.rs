//! A start state: every register of the processor, an XSAVE image of any length among them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::CpuState;

fuzz_target!(|bytes: &[u8]| {
    let Some(state) = trapline_formats_fuzz::decoded::<CpuState>(bytes) else { return };
    assert!(state.differences(&state).is_empty());
    let none = CpuState::default();
    assert_eq!(state.differences(&none).len(), none.differences(&state).len());
    drop(state.xsave_registers());
    let _ = state.system.code_address(state.registers.rip);
});
