//! The CALL before a return address: what tells one from a number that merely looks like one.

use super::cpu::Segments;
use super::memory::Memory;
use iced_x86::{Decoder, DecoderOptions, FlowControl};

/// What was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// The code at this linear address.
    Direct(u64),
    /// Who knows.
    Indirect,
}

/// Lengths of a near call, the usual ones first: E8 with 32 bits; FF /2 with its operands; E8 with 16 bits, or with a prefix.
const LENGTHS: [usize; 7] = [5, 2, 3, 6, 7, 4, 8];
const LONGEST: usize = 8;

/// The near call that would push this return address.
pub(super) fn before(memory: &mut Memory<'_>, segments: &Segments, offset: u64) -> Option<Call> {
    let mut bytes = [0; LONGEST];
    // Right after the start of a page that is not there, fewer bytes will do.
    let start = |length: usize| segments.code(offset.wrapping_sub(length as u64));
    let known = [LONGEST, 5, 2].into_iter().find(|&n| memory.copy(start(n), &mut bytes[LONGEST - n..]))?;
    let lengths = LENGTHS.into_iter().filter(|&n| n <= known && may_call(&bytes[LONGEST - n..]));
    lengths.into_iter().find_map(|n| decode(&bytes[LONGEST - n..], segments, offset))
}

/// Most bytes are no call: their first one, or the one after a prefix, says so.
fn may_call(bytes: &[u8]) -> bool {
    bytes.iter().take(2).any(|b| matches!(b, 0xe8 | 0xff))
}

fn decode(bytes: &[u8], segments: &Segments, offset: u64) -> Option<Call> {
    let ip = offset.wrapping_sub(bytes.len() as u64);
    let x86 = Decoder::with_ip(segments.mode.bits(), bytes, ip, DecoderOptions::NONE).decode();
    if x86.is_invalid() || x86.len() != bytes.len() {
        return None;
    }
    match x86.flow_control() {
        FlowControl::Call => Some(Call::Direct(segments.code(x86.near_branch_target()))),
        FlowControl::IndirectCall => Some(Call::Indirect),
        _ => None,
    }
}
