//! Instructions that were rewritten into `OUT imm8, AL`, which exits on every engine, and that are longer than it.
//!
//! What follows the OUT says what stood there, so that the code may be copied or moved: RDRAND and RDSEED keep their prefixes
//! and their ModRM byte, which no RDTSCP has. The guest never executes those bytes: at the exit the original is finished in
//! place of the OUT, faults and length included.

use crate::convention::instruction_of;
use crate::error::MachineError;
use crate::exit::Exit;
use crate::machine::Machine;
use iced_x86::{Instruction as X86, Mnemonic};
use trapline_formats::{Gva, Registers};

/// `OUT imm8, AL`.
const OUT_IMM8_AL: u8 = 0xe6;
const OUT_BYTES: usize = 2;
/// RDTSCP (SDM vol. 2).
const RDTSCP: [u8; 3] = [0x0f, 0x01, 0xf9];
/// Stands for RDTSCP. One byte to a decoder that walks over it, as Linux's patching of alternatives does.
const RDTSCP_MARK: u8 = 0x98;
/// Opcode of RDRAND (/6) and RDSEED (/7); the operand is a register (SDM vol. 2).
const RANDOM: [u8; 2] = [0x0f, 0xc7];
const RANDOM_MODRM: u8 = 0xf0;
const OPERAND_SIZE: u8 = 0x66;
const REX: std::ops::RangeInclusive<u8> = 0x40..=0x4f;
/// The longest rest: a prefix, REX, ModRM.
const LONGEST_REST: usize = 3;

/// Whether the host decides what this instruction yields, without an exit.
pub fn is_source(instruction: &X86) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Rdtsc | Mnemonic::Rdtscp | Mnemonic::Rdrand | Mnemonic::Rdseed)
}

/// The stand-in of an instruction, as long as it. `None`: not for this one.
pub fn encode(original: &[u8], port: u8) -> Option<Vec<u8>> {
    let mut bytes = vec![OUT_IMM8_AL, port];
    if original == RDTSCP {
        bytes.push(RDTSCP_MARK);
        return Some(bytes);
    }
    let opcode = original.len().checked_sub(3)?;
    let (prefixes, instruction) = original.split_at(opcode);
    if instruction[..2] != RANDOM {
        return None;
    }
    bytes.extend(prefixes);
    bytes.push(instruction[2]);
    // Only what is read back as the same.
    (decode(&bytes[OUT_BYTES..]).as_deref() == Some(original)).then_some(bytes)
}

/// What stood there, by what follows the OUT.
fn decode(rest: &[u8]) -> Option<Vec<u8>> {
    if rest.first() == Some(&RDTSCP_MARK) {
        return Some(RDTSCP.to_vec());
    }
    let mut prefixes = usize::from(rest.first() == Some(&OPERAND_SIZE));
    prefixes += usize::from(rest.get(prefixes).is_some_and(|byte| REX.contains(byte)));
    let modrm = *rest.get(prefixes)?;
    (modrm >= RANDOM_MODRM).then(|| [&rest[..prefixes], &RANDOM, &[modrm]].concat())
}

impl Machine {
    /// At a write to the port of longer stand-ins: begins the instruction that stood there, if it is one of them.
    #[cold]
    pub(crate) fn begin_stand_in(&mut self, exit: &mut Exit) -> Result<(), MachineError> {
        exit.rip = self.registers().rip;
        let segment = self.read_code_segment()?;
        let (out, _) = instruction_of(self, exit, segment);
        if out.bytes != [OUT_IMM8_AL, exit.address as u8] {
            return Ok(());
        }
        let mut rest = [0; LONGEST_REST];
        let there = self.read_linear(Gva(out.address.0.wrapping_add(OUT_BYTES as u64)), &mut rest);
        let Some(original) = decode(&rest[..there]) else { return Ok(()) };
        // Completing one OUT leads nowhere but behind it.
        self.settle(exit)?;
        let behind = self.registers().rip;
        let start = Registers { rip: behind.wrapping_sub(OUT_BYTES as u64), ..*self.registers() };
        self.show_registers(&start);
        let mut bytes = [0; 15];
        bytes[..original.len()].copy_from_slice(&original);
        self.begin_unfinished(exit, (bytes, original.len()))?;
        self.finisher.stands_for = Some(original);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_as_long_as_its_original_and_read_back_as_it() {
        let mut originals = vec![RDTSCP.to_vec()];
        for modrm in RANDOM_MODRM..=0xff {
            for prefixes in [&[][..], &[0x66], &[0x48], &[0x41], &[0x66, 0x41]] {
                originals.push([prefixes, &RANDOM, &[modrm]].concat());
            }
        }
        for original in originals {
            let bytes = encode(&original, 0x9f).unwrap_or_default();
            assert_eq!(bytes.len(), original.len(), "{original:02x?}");
            assert_eq!(bytes[..2], [0xe6, 0x9f]);
            assert_eq!(decode(&bytes[2..]), Some(original));
        }
    }

    #[test]
    fn what_would_not_be_read_back_is_refused() {
        // RDTSC; CMPXCHG8B [rax]; RDPID eax; RDRAND under a REP prefix; nothing.
        for original in [
            &[0x0f, 0x31][..],
            &[0x0f, 0xc7, 0x08],
            &[0xf3, 0x0f, 0xc7, 0xf8],
            &[0xf2, 0x0f, 0xc7, 0xf0],
            &[],
        ] {
            assert_eq!(encode(original, 0x9f), None, "{original:02x?}");
        }
        assert_eq!(decode(&[0x48]), None);
        assert_eq!(decode(&[0x90, 0x90, 0x90]), None);
    }
}
