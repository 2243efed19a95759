//! Looks for what made a replay diverge: an instruction whose result the host decides, on the way from the exit before to the one
//! that differed.
//!
//! The way is followed as far as the code alone tells it: both sides of branches, into calls and past them, and where a
//! function returns, to what lies on the stack and follows a call. What is found *may* have been executed: it is a lead.

use crate::divergence::Divergence;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction as X86, OpKind};
use std::collections::BTreeSet;
use trapline_formats::{CpuMode, Gva, Instruction, Registers};
use trapline_machine::Machine;
use trapline_machine::stand_in::is_source;

/// Instructions followed at most.
const FOLLOWED: usize = 20_000;
/// Words of the stack that are looked at for places to return to.
const STACK_WORDS: u64 = 64;
/// Leads given at most.
const LEADS: usize = 8;
const LONGEST: usize = 15;
/// The longest and the shortest CALL that stands before a place to return to: `call rel32`, `call [rip+disp32]`, `call rax`.
const CALLS: [(usize, u8); 3] = [(5, 0xe8), (6, 0xff), (2, 0xff)];

/// The instructions that may have made the difference, in the order in which they are come across. `entry` is where the guest
/// started.
pub(crate) fn leads(machine: &Machine, divergence: &Divergence, entry: Gva) -> Vec<Instruction> {
    let here = divergence.expected.as_ref().map(|e| &e.site.instruction);
    let before = divergence.history.last().map(|e| &e.site.instruction);
    let Some(from) = before.or(here) else { return Vec::new() };
    let mut walk = Walk {
        machine,
        mode: from.mode,
        cpl: from.cpl,
        work: return_places(machine, from.mode),
        seen: BTreeSet::new(),
        end: here.map(|i| i.address.0),
        found: Vec::new(),
    };
    walk.work.push(before.map_or(entry.0, |i| i.address.0.wrapping_add(i.bytes.len() as u64)));
    walk.work.extend(walk.end);
    walk.follow();
    walk.found
}

/// Addresses on the stack that follow a call, the topmost last.
fn return_places(machine: &Machine, mode: CpuMode) -> Vec<u64> {
    let width = mode.bits() as usize / 8;
    if width < 4 {
        return Vec::new();
    }
    let top = machine.registers().general[Registers::RSP];
    let word = |n: u64| {
        let mut bytes = [0; 8];
        let read = machine.read_linear(Gva(top.wrapping_add(n * width as u64)), &mut bytes[..width]);
        (read == width).then(|| u64::from_le_bytes(bytes))
    };
    let follows_call = |address: &u64| {
        CALLS.iter().any(|&(length, opcode)| {
            let mut byte = [0];
            machine.read_linear(Gva(address.wrapping_sub(length as u64)), &mut byte) == 1 && byte[0] == opcode
        })
    };
    (0..STACK_WORDS).rev().filter_map(word).filter(follows_call).collect()
}

struct Walk<'a> {
    machine: &'a Machine,
    mode: CpuMode,
    cpl: u8,
    /// Addresses to go on from.
    work: Vec<u64>,
    seen: BTreeSet<u64>,
    /// The exit that differed.
    end: Option<u64>,
    found: Vec<Instruction>,
}

impl Walk<'_> {
    fn follow(&mut self) {
        while let Some(address) = self.work.pop() {
            if self.seen.len() >= FOLLOWED || self.found.len() >= LEADS {
                return;
            }
            if !self.seen.insert(address) {
                continue;
            }
            let mut bytes = [0; LONGEST];
            let there = self.machine.read_linear(Gva(address), &mut bytes);
            let x86 =
                Decoder::with_ip(self.mode.bits(), &bytes[..there], address, DecoderOptions::NONE).decode();
            if x86.is_invalid() {
                continue;
            }
            if is_source(&x86) {
                self.found.push(Instruction {
                    address: Gva(address),
                    bytes: bytes[..x86.len()].to_vec(),
                    mode: self.mode,
                    cpl: self.cpl,
                });
            }
            if self.end != Some(address) {
                self.go_on(&x86);
            }
        }
    }

    fn go_on(&mut self, x86: &X86) {
        let target =
            matches!(x86.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
                .then(|| x86.near_branch_target());
        let (falls, branches) = match x86.flow_control() {
            FlowControl::Return | FlowControl::Exception | FlowControl::IndirectBranch => (false, false),
            FlowControl::UnconditionalBranch => (false, true),
            FlowControl::ConditionalBranch | FlowControl::Call => (true, true),
            _ => (true, false),
        };
        if falls {
            self.work.push(x86.next_ip());
        }
        if let Some(target) = target.filter(|_| branches) {
            self.work.push(target);
        }
    }
}
