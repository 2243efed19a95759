//! Finds clock reads that were not closed: a register or a word of memory that holds a value which the hardware TSC had during the
//! recording.
//!
//! A register inside that window can only come from an RDTSC that did not trap, and so can a word of memory, but for data
//! that is as good as random: of such words, one in 2^25 lies inside the window of a recording of five minutes. This finds what is
//! still in a register at the next exit, or in memory at the end; what a guest has forgotten by then only a diverging replay shows.
//! Where KVM does not let the TSC be moved, memory says nothing, and of registers only that they hold the time of this very exit.

use std::collections::BTreeSet;
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{Gpa, RawExit, Registers, Unclosed};
use trapline_machine::{HardwareClock, Machine, MachineError, Shown, ticks};

/// High bits that no address, counter or ASCII text starts with.
const CANARY: u64 = 0x00c3_5a96_0000_0000;
/// Ticks, about a second, in which a guest is in the middle of measuring.
const RECENT: u64 = 1 << 32;
/// Finds kept of each kind; more say nothing new.
const KEPT: usize = 16;

/// A watch over registers and memory.
#[derive(Debug)]
pub(crate) struct LeakWatch {
    /// `None`: the guest's TSC is held, and only what slips can be found.
    clock: Option<HardwareClock>,
    /// Our own clock at the last exit that was looked at, and where the window over registers begins.
    now: u64,
    from: u64,
    /// Words that were in memory before the clock could show them, such as those of a compressed image.
    by_chance: BTreeSet<u64>,
    in_registers: Vec<Unclosed>,
    in_memory: Vec<(Gpa, u64)>,
}

impl LeakWatch {
    /// Starts watching; sets the guest's hardware TSC.
    pub(crate) fn start(machine: &mut Machine) -> Result<Self, MachineError> {
        let is_held = machine.holds_tsc();
        let clock = if is_held { None } else { Some(HardwareClock::watch(machine, CANARY)?) };
        let (by_chance, in_registers, in_memory) = Default::default();
        Ok(Self { clock, now: 0, from: 0, by_chance, in_registers, in_memory })
    }

    /// From when on the times of exits count.
    pub(crate) fn timed_from(&mut self, ticks: u64) {
        (self.now, self.from) = (ticks, ticks);
    }

    /// Looks at a page before the guest runs.
    pub(crate) fn look_at_start(&mut self, content: &[u8]) {
        let Some(clock) = self.clock.filter(HardwareClock::is_moved) else { return };
        self.by_chance.extend(clock.to_be_shown().words(content).map(|(_, value)| value));
    }

    /// Looks at the registers at exits: where RDTSC leaves its result at each, everywhere at every eighth.
    pub(crate) fn look(&mut self, first_exit: u64, exits: &[RawExit]) {
        let Some(clock) = self.clock else { return };
        for (number, exit) in (first_exit..).zip(exits) {
            if !clock.is_moved() {
                self.from = self.now;
            }
            self.now += exit.spent.vmm + exit.spent.guest;
            let shown = clock.between(self.from, self.now);
            let is_joined = |v: &u64| shown.holds(*v);
            // Compilers join EDX:EAX into one register.
            if shown.holds_pair(&exit.registers)
                || number.is_multiple_of(8) && exit.registers.general.iter().any(is_joined)
            {
                self.note(number, exit.registers.rip);
            }
        }
    }

    /// Whether a register holds what the hardware clock shows at this exit, or showed not long ago.
    pub(crate) fn shows(&self, registers: &Registers) -> bool {
        let Some(clock) = self.clock else { return false };
        let now = ticks();
        let shown = if clock.is_moved() { clock.shown() } else { clock.between(now - RECENT, now) };
        shown.is_in(registers)
    }

    /// Looks at the registers at an exit for what a TSC that is held showed all the same.
    pub(crate) fn look_for(&mut self, numbers: &Shown, exit: u64, registers: &Registers) {
        if numbers.is_in(registers) {
            self.note(exit, registers.rip);
        }
    }

    #[cold]
    fn note(&mut self, exit: u64, rip: u64) {
        if self.in_registers.len() < KEPT {
            let evidence = format!("a register held the hardware clock at the exit at RIP {rip:#x}");
            self.in_registers.push(Unclosed { source: "RDTSC".into(), exit, evidence });
        }
    }

    /// Looks at a page after the last exit.
    pub(crate) fn look_at_end(&mut self, number: u64, content: &[u8]) {
        let Some(clock) = self.clock.filter(HardwareClock::is_moved) else { return };
        for (offset, value) in clock.shown().words(content) {
            if self.in_memory.len() < KEPT && !self.by_chance.contains(&value) {
                self.in_memory.push((Gpa(number * PAGE_BYTES as u64 + offset as u64), value));
            }
        }
    }

    /// What was found; `last_exit` is where memory was looked at.
    pub(crate) fn into_found(self, last_exit: u64) -> Vec<Unclosed> {
        let in_memory = self.in_memory.into_iter().map(|(gpa, value)| Unclosed {
            source: "RDTSC".into(),
            exit: last_exit,
            evidence: format!(
                "at the end, memory at {gpa} held {value:#x}, which the hardware clock had shown"
            ),
        });
        self.in_registers.into_iter().chain(in_memory).collect()
    }
}
