//! Tells whether a guest that diverged has read its hardware clock: registers or memory hold a value that only this replay's clock
//! has shown.

use crate::error::ReplayError;
use std::collections::BTreeSet;
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{GENERAL_NAMES, Gpa, Trace};
use trapline_machine::{HardwareClock, Machine};

/// Where the clock starts. High bits that no address, counter or ASCII text starts with, and others than a recording's.
pub(crate) const CANARY: u64 = 0x00a5_693c_0000_0000;

/// Where the guest holds such a value, in words.
pub(crate) fn place(
    machine: &Machine,
    clock: &HardwareClock,
    trace: &Trace,
) -> Result<Option<String>, ReplayError> {
    if !clock.is_moved() {
        return Ok(None);
    }
    let shown = clock.shown();
    let registers = machine.registers();
    if shown.holds_pair(registers) {
        return Ok(Some("EDX:EAX".into()));
    }
    if let Some(at) = registers.general.iter().position(|v| shown.holds(*v)) {
        return Ok(Some(GENERAL_NAMES[at].into()));
    }
    // What data such as a compressed image has by chance.
    let mut by_chance = BTreeSet::new();
    trace.start_memory(|_, content| by_chance.extend(shown.words(content).map(|(_, value)| value)))?;
    let mut found = None;
    machine.memory().for_each_page(|number, content| {
        let mut words = shown.words(content).filter(|(_, value)| !by_chance.contains(value));
        if let (None, Some((offset, _))) = (&found, words.next()) {
            found = Some(Gpa(number * PAGE_BYTES as u64 + offset as u64));
        }
    })?;
    Ok(found.map(|gpa| format!("memory at {gpa}")))
}
