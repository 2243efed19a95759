//! Instructions as text.

use std::collections::BTreeMap;
use std::fmt::Write;
use trapline_formats::{ExitKind, Instruction, Rewrite, Site, disassemble};

/// A site's instruction: its bytes and its text in NASM syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disassembly {
    /// The bytes of the instruction in hexadecimal; all bytes known where they do not decode.
    pub(crate) bytes: String,
    /// `None` where memory could not be read or the bytes are no instruction.
    pub(crate) text: Option<String>,
}

/// SDM vol. 2, RDTSC.
const RDTSC: [u8; 2] = [0x0f, 0x31];

/// No x86 instruction is longer (SDM vol. 2, 2.3.11). What a trace holds beyond it is not looked at.
const LONGEST: usize = 15;

/// The disassembler of one trace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disassembler<'a> {
    /// Rewritten instructions: the original by page offset and replacement. Sites are linear and rewrites physical; the
    /// page offset is what they have in common.
    rewrites: BTreeMap<(u64, &'a [u8]), &'a [u8]>,
}

impl<'a> Disassembler<'a> {
    pub(crate) fn new(rewrites: &'a [Rewrite]) -> Self {
        let by_place = |r: &'a Rewrite| ((r.gpa & 0xfff, r.replacement.as_slice()), r.original.as_slice());
        Self { rewrites: rewrites.iter().map(by_place).collect() }
    }

    /// Disassembles the instruction of a site. Where a clock read was rewritten, the text is that of the original
    /// instruction and the bytes are those that trapped.
    pub(crate) fn of(&self, site: &Site) -> Disassembly {
        let bytes = &site.instruction.bytes[..site.instruction.bytes.len().min(LONGEST)];
        let (trapped, length) = decode(site, bytes);
        let text = match self.original(site, bytes) {
            Some(original) => decode(site, original).0,
            None => trapped,
        };
        Disassembly { bytes: hex(bytes.get(..length).unwrap_or(bytes)), text }
    }

    /// The instruction of a site as the guest's author has it: of a rewritten one, the original.
    pub(crate) fn code(&self, site: &Site) -> Vec<u8> {
        let bytes = &site.instruction.bytes[..site.instruction.bytes.len().min(LONGEST)];
        let code = self.original(site, bytes).unwrap_or(bytes);
        let length = decode(site, code).1;
        code[..length.min(code.len())].to_vec()
    }

    /// What stood here before the recorder rewrote it; `None` where it did not.
    pub(crate) fn rewritten(&self, address: u64, code: &[u8]) -> Option<&'a [u8]> {
        let offset = address & 0xfff;
        let here = self.rewrites.range((offset, &[][..])..(offset + 1, &[][..]));
        here.rev().find(|((_, replacement), _)| code.starts_with(replacement)).map(|(_, original)| *original)
    }

    /// The bytes that stood where a clock read traps now.
    fn original(&self, site: &Site, bytes: &[u8]) -> Option<&'a [u8]> {
        if site.kind != ExitKind::ClockRead {
            return None;
        }
        let offset = site.instruction.address.0 & 0xfff;
        let told = (1..=bytes.len()).rev().find_map(|n| self.rewrites.get(&(offset, &bytes[..n])).copied());
        // Code that was rewritten may have been copied since: what is read at a clock read is the clock.
        Some(told.unwrap_or(&RDTSC))
    }
}

/// The text of the first instruction in `bytes` and its length; no text and all bytes where there is none.
fn decode(site: &Site, bytes: &[u8]) -> (Option<String>, usize) {
    let Instruction { mode, address, .. } = site.instruction;
    disassemble(bytes, mode, address.0).map_or((None, bytes.len()), |(length, text)| (Some(text), length))
}

/// Bytes in hexadecimal, without separators.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::{CpuMode, Gva};

    fn site(kind: ExitKind, mode: CpuMode, bytes: &[u8]) -> Site {
        let instruction = Instruction { address: Gva(0x2010), bytes: bytes.to_vec(), mode, cpl: 0 };
        Site { kind, address: 0, size: 0, rep: false, instruction }
    }

    fn text(mode: CpuMode, bytes: &[u8]) -> Option<String> {
        Disassembler::default().of(&site(ExitKind::MmioWrite, mode, bytes)).text
    }

    #[test]
    fn the_same_bytes_read_differently_in_every_mode() {
        assert_eq!(text(CpuMode::Real16, &[0xed]).as_deref(), Some("in ax, dx"));
        assert_eq!(text(CpuMode::Protected32, &[0xed]).as_deref(), Some("in eax, dx"));
        assert_eq!(text(CpuMode::Long64, &[0x48, 0x89, 0x07]).as_deref(), Some("mov [rdi], rax"));
        assert_eq!(text(CpuMode::Long64, &[0xf3, 0x6c]).as_deref(), Some("rep insb"));
        assert_eq!(text(CpuMode::Long64, &[0xa2]), None, "cut short");
    }

    #[test]
    fn bytes_after_the_instruction_are_not_shown() {
        let shown =
            Disassembler::default().of(&site(ExitKind::PortRead, CpuMode::Long64, &[0xec, 0x90, 0x90]));
        assert_eq!(shown, Disassembly { bytes: "ec".into(), text: Some("in al, dx".into()) });
        let unknown = Disassembler::default().of(&site(ExitKind::PortRead, CpuMode::Long64, &[]));
        assert_eq!(unknown, Disassembly { bytes: String::new(), text: None });
    }

    #[test]
    fn a_rewritten_clock_read_shows_what_it_was() {
        let rewrite = Rewrite {
            gpa: 0x10_0010,
            original: vec![0x0f, 0x31],
            replacement: vec![0xe6, 0x7e],
            found_by: String::new(),
        };
        let rewrites = [rewrite];
        let shown =
            Disassembler::new(&rewrites).of(&site(ExitKind::ClockRead, CpuMode::Long64, &[0xe6, 0x7e]));
        assert_eq!(shown, Disassembly { bytes: "e67e".into(), text: Some("rdtsc".into()) });
    }

    #[test]
    fn no_bytes_make_the_disassembler_panic() {
        for first in 0..=255 {
            for second in 0..=255 {
                for mode in [CpuMode::Real16, CpuMode::Protected16, CpuMode::Protected32, CpuMode::Long64] {
                    let _ = text(mode, &[first, second, 0x0f, 0xff]);
                }
            }
        }
    }
}
