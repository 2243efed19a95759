//! Finds clock reads that were not closed: a register that holds a value which the hardware TSC had during the recording.
//!
//! The guest's hardware TSC is moved to a value that nothing else has (where KVM lets us; elsewhere it is the host's,
//! which after some hours of uptime nothing else has either). The clock that Trapline answers counts from zero, so a
//! register inside the window of the hardware clock can only come from an RDTSC that did not trap. This finds what is
//! still in a register at the next exit; what a guest has hidden by then only a diverging replay shows.

use trapline_formats::{RawExit, Registers, Unclosed};
use trapline_machine::{Machine, MachineError, ticks};

/// High bits that no address, counter or ASCII text starts with.
const CANARY: u64 = 0x00c3_5a96_0000_0000;
/// How far a register may be ahead of our own reading of the clock.
const SLACK: u64 = 1 << 20;
/// Finds kept; more say nothing new.
const KEPT: usize = 16;

/// A watch over the registers.
#[derive(Debug)]
pub(crate) struct LeakWatch {
    /// The guest's TSC when the watch began.
    base: u64,
    started: u64,
    found: Vec<Unclosed>,
}

impl LeakWatch {
    /// Starts watching; sets the guest's hardware TSC.
    pub(crate) fn start(machine: &mut Machine) -> Result<Self, MachineError> {
        machine.set_hardware_tsc(CANARY)?;
        let base = machine.hardware_tsc()?;
        Ok(Self { base, started: ticks(), found: Vec::new() })
    }

    /// Looks at the registers at exits: where RDTSC leaves its result at each, everywhere at every eighth.
    pub(crate) fn look(&mut self, first_exit: u64, exits: &[RawExit]) {
        // What the clock may have shown by now.
        let span = ticks().wrapping_sub(self.started).saturating_add(SLACK);
        let base = self.base;
        let hit = |v: u64| v.wrapping_sub(base) < span;
        for (number, exit) in (first_exit..).zip(exits) {
            let g = &exit.registers.general;
            // RDTSC leaves EDX:EAX; compilers join them into one register.
            let pair = g[Registers::RDX] << 32 | g[Registers::RAX] & 0xffff_ffff;
            if hit(pair) || number.is_multiple_of(8) && g.iter().any(|v| hit(*v)) {
                self.note(number, &exit.registers);
            }
        }
    }

    #[cold]
    fn note(&mut self, exit: u64, registers: &Registers) {
        if self.found.len() < KEPT {
            let evidence =
                format!("a register held the hardware clock at the exit at RIP {:#x}", registers.rip);
            self.found.push(Unclosed { source: "RDTSC".into(), exit, evidence });
        }
    }

    pub(crate) fn into_found(self) -> Vec<Unclosed> {
        self.found
    }
}
