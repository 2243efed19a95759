//! What may stand where bytes look like a source: with prefixes before them, or without.

use crate::guest::Guest;
use crate::rewrite::{Port, RDTSC};
use iced_x86::{Decoder, DecoderOptions};
use trapline_formats::{CpuMode, Suspect};
use trapline_machine::stand_in::is_source;

/// RDTSCP (SDM vol. 2).
const RDTSCP: [u8; 3] = [0x0f, 0x01, 0xf9];
/// NOP: fills up what a guess leaves of an instruction.
const NOP: u8 = 0x90;

/// One instruction that may stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    /// Where it begins.
    pub gpa: u64,
    /// Its bytes.
    pub original: Vec<u8>,
}

/// What it means that a guess was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A source is executed there.
    Source,
    /// Another instruction is, which has these bytes in it.
    Other,
    /// Another instruction is, which ends before these bytes.
    Shorter,
}

/// All that may stand at a suspect, the longest first: without its prefix, a source would leave its result in another register,
/// while an `OUT` exits with and without one. None: nothing can stand for these bytes.
pub fn guesses(guest: &Guest, suspect: &Suspect) -> Vec<Guess> {
    let plain = Guess { gpa: suspect.gpa, original: suspect.bytes.clone() };
    match suspect.bytes[..] {
        // RDRAND (/6) and RDSEED (/7) of a register (SDM vol. 2).
        [0x0f, 0xc7, 0xf0..=0xff] => {
            let longer = |prefixes| longer(guest, suspect, prefixes);
            [2, 1].into_iter().filter_map(longer).chain([plain]).collect()
        }
        _ if suspect.bytes == RDTSC || suspect.bytes == RDTSCP => vec![plain],
        _ => Vec::new(),
    }
}

/// The same with so many bytes before it, if those are prefixes.
fn longer(guest: &Guest, suspect: &Suspect, prefixes: u64) -> Option<Guess> {
    let gpa = suspect.gpa.checked_sub(prefixes)?;
    let original = guest.bytes_at(gpa, prefixes as usize + suspect.bytes.len())?;
    // Operand size, and REP: with that it is RDPID or SENDUIPI, which is no source. REX has to be the last.
    let (legacy, last) = ([0x66, 0xf2, 0xf3], original[prefixes as usize - 1]);
    let is_rex = (0x40..=0x4f).contains(&last);
    let is_one = (is_rex || legacy.contains(&last)) && (prefixes == 1 || legacy.contains(&original[0]));
    is_one.then(|| Guess { gpa, original: original.to_vec() })
}

impl Guess {
    /// As long as it, and exits at this port.
    pub fn trap(&self, port: Port) -> Vec<u8> {
        let mut trap = port.instruction().to_vec();
        trap.resize(self.original.len(), NOP);
        trap
    }

    /// What it means that it was executed, in this mode.
    pub fn meaning(&self, mode: CpuMode) -> Meaning {
        let x86 = Decoder::new(mode.bits(), &self.original, DecoderOptions::NONE).decode();
        if x86.is_invalid() || x86.len() < self.original.len() {
            Meaning::Shorter
        } else if is_source(&x86) {
            Meaning::Source
        } else {
            Meaning::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::flat;

    /// The guesses at the only suspect of this image, as bytes.
    fn of(image: &[u8]) -> Vec<Vec<u8>> {
        let guest = flat::from_bytes(image.to_vec(), flat::Mode::Bits64, 4 << 20).unwrap();
        assert_eq!(guest.suspects.len(), 1);
        guesses(&guest, &guest.suspects[0]).into_iter().map(|g| g.original).collect()
    }

    #[test]
    fn prefixes_are_tried_before_what_stands_without_them() {
        // jmp to itself; what comes next is reached by nothing.
        let rdrand = vec![0x0f, 0xc7, 0xf0];
        assert_eq!(of(&[0xeb, 0xfe, 0x0f, 0xc7, 0xf0]), std::slice::from_ref(&rdrand));
        assert_eq!(of(&[0xeb, 0xfe, 0x48, 0x0f, 0xc7, 0xf0]), [vec![0x48, 0x0f, 0xc7, 0xf0], rdrand.clone()]);
        assert_eq!(
            of(&[0xeb, 0xfe, 0x66, 0x41, 0x0f, 0xc7, 0xf0]),
            [vec![0x66, 0x41, 0x0f, 0xc7, 0xf0], vec![0x41, 0x0f, 0xc7, 0xf0], rdrand]
        );
        assert_eq!(of(&[0xeb, 0xfe, 0x48, 0x0f, 0x31]), [vec![0x0f, 0x31]]);
    }

    #[test]
    fn what_was_executed_depends_on_the_mode_and_on_all_bytes() {
        let guess = |bytes: &[u8]| Guess { gpa: 0, original: bytes.to_vec() };
        let rex = guess(&[0x48, 0x0f, 0xc7, 0xf0]);
        assert_eq!(rex.meaning(CpuMode::Long64), Meaning::Source);
        assert_eq!(rex.meaning(CpuMode::Protected32), Meaning::Shorter, "DEC EAX");
        assert_eq!(guess(&[0xf3, 0x0f, 0xc7, 0xf8]).meaning(CpuMode::Long64), Meaning::Other, "RDPID");
        assert_eq!(guess(&[0x66, 0x0f, 0xc7, 0xf0]).meaning(CpuMode::Real16), Meaning::Source);
        assert_eq!(guess(&[0x0f, 0x31]).meaning(CpuMode::Real16), Meaning::Source);
    }

    #[test]
    fn a_trap_is_as_long_as_what_it_replaces() {
        let guess = Guess { gpa: 0, original: vec![0x48, 0x0f, 0xc7, 0xf0] };
        assert_eq!(guess.trap(Port(0x9d)), [0xe6, 0x9d, 0x90, 0x90]);
    }
}
