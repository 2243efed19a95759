//! Finds instructions in code that is known to be code, by decoding it from end to end.
//!
//! Right for the executable sections of a kernel, which compilers fill with nothing else; wrong for firmware, whose code and
//! data share an image: see [`crate::disassembly`]. Where symbols say that functions begin, decoding begins anew, so that
//! nothing out of step gets past the next function.

use crate::rewrite::named_port;
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic};
use std::collections::{BTreeMap, BTreeSet};
use trapline_machine::stand_in::is_source;

/// What a sweep found, by address.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// Instructions whose result the host decides: their bytes.
    pub sources: BTreeMap<u64, Vec<u8>>,
    /// `JMP RAX`: how code that was unpacked is entered.
    pub jumps_to_rax: BTreeSet<u64>,
    /// Ports of `OUT imm8`: not free to stand for something else.
    pub ports: BTreeSet<u8>,
}

impl Sweep {
    /// Sweeps code of 32 or 64 `bits` at `address`; `starts` are addresses of functions, ascending.
    pub fn over(&mut self, bits: u32, code: &[u8], address: u64, starts: &[u64]) {
        // A damaged file may say that its code lies at the end of everything.
        let end = address.saturating_add(code.len() as u64);
        if end == address {
            return;
        }
        let first = starts.partition_point(|s| *s <= address);
        let last = starts.partition_point(|s| *s < end);
        let bounds: Vec<u64> =
            std::iter::once(address).chain(starts[first..last].iter().copied()).chain([end]).collect();
        for pair in bounds.windows(2) {
            let range = (pair[0] - address) as usize..(pair[1] - address) as usize;
            self.piece(bits, &code[range], pair[0]);
        }
    }

    fn piece(&mut self, bits: u32, code: &[u8], address: u64) {
        let mut decoder = Decoder::with_ip(bits, code, address, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            self.note(&instruction, code, address);
        }
    }

    fn note(&mut self, instruction: &Instruction, code: &[u8], address: u64) {
        let at = instruction.ip();
        match instruction.mnemonic() {
            _ if is_source(instruction) => {
                let start = (at - address) as usize;
                self.sources.insert(at, code[start..start + instruction.len()].to_vec());
            }
            Mnemonic::Jmp
                if instruction.code() == Code::Jmp_rm64
                    && instruction.len() == 2
                    && instruction.op0_register() == iced_x86::Register::RAX =>
            {
                self.jumps_to_rax.insert(at);
            }
            _ => self.ports.extend(named_port(instruction)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_found_and_bytes_inside_others_are_not() {
        // mov eax, 0x0000310f; rdtsc; rdtscp; out 0x80, al; jmp rax
        let code = [0xb8, 0x0f, 0x31, 0, 0, 0x0f, 0x31, 0x0f, 0x01, 0xf9, 0xe6, 0x80, 0xff, 0xe0];
        let mut sweep = Sweep::default();
        sweep.over(64, &code, 0x1000, &[]);
        let expected = [(0x1005, vec![0x0f, 0x31]), (0x1007, vec![0x0f, 0x01, 0xf9])];
        assert_eq!(sweep.sources, expected.into());
        assert_eq!(sweep.ports, [0x80].into());
        assert_eq!(sweep.jumps_to_rax, [0x100c].into());
    }

    #[test]
    fn code_that_claims_to_lie_at_the_end_of_memory_does_no_harm() {
        let mut sweep = Sweep::default();
        sweep.over(64, &[0x0f, 0x31, 0xc3, 0x90], u64::MAX - 1, &[0, 1, u64::MAX]);
        sweep.over(64, &[0x0f, 0x31], u64::MAX, &[u64::MAX]);
        assert_eq!(sweep.sources.len(), 0);
    }

    #[test]
    fn an_empty_section_with_a_symbol_holds_nothing() {
        let mut sweep = Sweep::default();
        sweep.over(64, &[], 0x1000, &[0x1000]);
        assert_eq!(sweep, Sweep::default());
    }

    #[test]
    fn the_start_of_a_function_puts_decoding_back_in_step() {
        // The first byte would swallow the RDTSC that the function at 0x1001 begins with.
        let code = [0xb8, 0x0f, 0x31, 0xc3, 0x90, 0x90];
        let mut sweep = Sweep::default();
        sweep.over(64, &code, 0x1000, &[0x1001]);
        assert_eq!(sweep.sources, [(0x1001, vec![0x0f, 0x31])].into());
    }
}
