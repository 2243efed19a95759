//! Recognizes what the guest's hardware TSC has shown: whoever holds such a value read a clock that nothing closed.
//!
//! The TSC of the guest is moved to a value that nothing else has. Where KVM does not let us, it is the host's: then any pair of small
//! numbers may look like one of its values, and only the moment at which it was seen tells. The clock that Trapline answers counts from
//! zero.

use crate::error::MachineError;
use crate::machine::Machine;
use crate::ticks::ticks;
use trapline_formats::Registers;

/// How far the guest may be off our own reading of the clock.
const SLACK: u64 = 1 << 20;
/// The same where the clock is moved to where nothing else is: seconds, and a sixteenth of what has passed. KVM corrects the clock of a
/// guest where it takes the host's for unstable, by a frequency that it measured.
const MOVED_SLACK: u64 = 1 << 33;
const MOVED_SHARE: u32 = 4;
/// Of so many readings of both clocks, the one that took the least time counts: nobody came in between.
const READINGS: u32 = 8;
/// Hours pass before a clock changes any bit above these.
const LOW_BITS: u32 = 45;
/// Of the upper half of a value: bits that are the same, or change once, for as long as anybody records.
const HIGH: u32 = 0xffff_0000;

/// The hardware TSC of a guest.
#[derive(Debug, Clone, Copy)]
pub struct HardwareClock {
    /// What it showed when the watch began.
    first: u64,
    /// Our own clock then.
    started: u64,
    is_moved: bool,
}

impl HardwareClock {
    /// Sets the guest's TSC, and begins to watch for its values.
    pub fn watch(machine: &mut Machine, value: u64) -> Result<Self, MachineError> {
        machine.set_hardware_tsc(value)?;
        let mut tightest = u64::MAX;
        let (mut first, mut started) = (0, 0);
        for _ in 0..READINGS {
            let before = ticks();
            let shown = machine.hardware_tsc()?;
            let took = ticks().wrapping_sub(before);
            if took < tightest {
                (tightest, first, started) = (took, shown, before);
            }
        }
        Ok(Self { first, started, is_moved: first >> LOW_BITS == value >> LOW_BITS })
    }

    /// Whether it shows what nothing else does.
    pub fn is_moved(&self) -> bool {
        self.is_moved
    }

    /// The values that it can have shown between two moments of [`ticks`].
    #[inline]
    pub fn between(&self, from: u64, to: u64) -> Shown {
        let passed = to.wrapping_sub(self.started);
        let slack = if self.is_moved { MOVED_SLACK.saturating_add(passed >> MOVED_SHARE) } else { SLACK };
        let first = self.first.wrapping_add(from.wrapping_sub(self.started)).wrapping_sub(slack);
        Shown { first, span: to.wrapping_sub(from).saturating_add(2 * slack) }
    }

    /// All values that it can have shown by now.
    pub fn shown(&self) -> Shown {
        self.between(self.started, ticks())
    }

    /// All values that it can show for hours.
    pub fn to_be_shown(&self) -> Shown {
        self.between(self.started, self.started + (1 << LOW_BITS))
    }
}

/// Values that a clock showed.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    pub(crate) first: u64,
    pub(crate) span: u64,
}

impl Shown {
    /// The first of them.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Whether this is one of them.
    #[inline]
    pub fn holds(&self, value: u64) -> bool {
        value.wrapping_sub(self.first) < self.span
    }

    /// Whether EDX:EAX or a general register is one of them.
    pub fn is_in(&self, registers: &Registers) -> bool {
        self.holds_pair(registers) || registers.general.iter().any(|value| self.holds(*value))
    }

    /// Whether EDX:EAX is one of them, where RDTSC leaves it.
    #[inline]
    pub fn holds_pair(&self, registers: &Registers) -> bool {
        let general = &registers.general;
        self.holds(general[Registers::RDX] << 32 | general[Registers::RAX] & 0xffff_ffff)
    }

    /// The words of a page that are among them: (offset, value).
    pub fn words<'p>(&self, page: &'p [u8]) -> impl Iterator<Item = (usize, u64)> + use<'p> {
        let words = page.as_chunks().0;
        let shown = *self;
        // Hardly a page holds any: their highest bits tell, without a branch for each word.
        let high = |value: u64| (value >> 32) as u32 & HIGH;
        let (first, last) = (high(self.first), high(self.first.wrapping_add(self.span)));
        let candidates = words.iter().fold(0, |candidates: u32, word: &[u8; 8]| {
            let word = u32::from_le_bytes([word[4], word[5], word[6], word[7]]) & HIGH;
            candidates | u32::from(word == first) | u32::from(word == last)
        });
        let words = if candidates == 0 { &[] } else { words };
        let values = words.iter().enumerate().map(|(at, word)| (at * 8, u64::from_le_bytes(*word)));
        values.filter(move |(_, value)| shown.holds(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_page_are_found_where_the_clock_showed_them() {
        let shown = Shown { first: 0x00c3_5a96_ffff_fff0, span: 0x100 };
        let mut page = vec![0u8; 4096];
        assert_eq!(shown.words(&page).count(), 0);
        // A carry into the upper half; one before the first; one behind the last; one across words; the first.
        for (at, value) in [
            (8, 0x00c3_5a97_0000_0000),
            (16, 0x00c3_5a96_ffff_ffef),
            (24, 0x00c3_5a97_0000_00f0),
            (36, 0x00c3_5a96_ffff_fff5_u64),
            (4088, 0x00c3_5a96_ffff_fff0),
        ] {
            page[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
        let found: Vec<_> = shown.words(&page).collect();
        assert_eq!(found, [(8, 0x00c3_5a97_0000_0000), (4088, 0x00c3_5a96_ffff_fff0)]);
    }
}
