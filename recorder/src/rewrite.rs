//! Closes RDTSC: rewrites it into `OUT imm8, AL`, which is as long and exits on every engine.

use crate::disassembly::{self, Entry, View};
use iced_x86::{Instruction, Mnemonic};
use std::collections::{BTreeMap, BTreeSet};
use trapline_formats::{Rewrite, Suspect};

/// RDTSC (SDM vol. 2).
const RDTSC: [u8; 2] = [0x0f, 0x31];
/// `OUT imm8, AL`.
const OUT_IMM8_AL: u8 = 0xe6;
/// Ports that may stand for the clock: nothing on a PC listens there. The first that the image itself does not name is
/// taken.
const PORTS: [u8; 6] = [0x9e, 0x9f, 0x9d, 0x9c, 0xbe, 0xbf];

/// A port that stands for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(pub u8);

impl Port {
    /// The `n`-th port that code does not use. The error is a reason in words.
    pub fn free(used: &BTreeSet<u8>, n: usize) -> Result<Self, String> {
        let free = PORTS.iter().filter(|port| !used.contains(port)).nth(n);
        free.copied().map(Self).ok_or_else(|| format!("its code uses all of the ports {PORTS:x?}"))
    }

    /// `OUT imm8, AL` to it.
    pub fn instruction(self) -> [u8; 2] {
        [OUT_IMM8_AL, self.0]
    }
}

/// An RDTSC, rewritten.
pub fn clock_read(gpa: u64, port: Port, found_by: &str) -> Rewrite {
    Rewrite {
        gpa,
        original: RDTSC.to_vec(),
        replacement: port.instruction().to_vec(),
        found_by: found_by.into(),
    }
}

/// An image with its clock reads rewritten.
#[derive(Debug)]
pub struct Rewritten {
    /// The image.
    pub image: Vec<u8>,
    /// What was rewritten, by guest-physical address.
    pub rewrites: Vec<Rewrite>,
    /// RDTSC's bytes where no instruction was proved to be.
    pub suspects: Vec<Suspect>,
    /// The port, if anything was rewritten.
    pub clock_port: Option<u8>,
}

/// Rewrites the clock reads that are reached from `entries`, or from `likely` ones if what they lead to is code.
pub fn clock_reads(image: Vec<u8>, views: &[View], entries: &[Entry], likely: &[Entry]) -> Rewritten {
    let found = reached(&image, views, entries, likely);
    clock_reads_at(image, views, &found)
}

/// Offsets of the clock reads that are reached, and how they were found.
pub fn reached(
    image: &[u8],
    views: &[View],
    entries: &[Entry],
    likely: &[Entry],
) -> BTreeMap<u64, &'static str> {
    let is_clock_read = |i: &Instruction| i.mnemonic() == Mnemonic::Rdtsc && i.len() == RDTSC.len();
    let found = disassembly::find(image, views, entries, likely, is_clock_read);
    found.into_iter().map(|offset| (offset, "disassembly from entry points")).collect()
}

/// Rewrites the clock reads at these offsets; what else looks like one and can be seen is suspect.
pub fn clock_reads_at(mut image: Vec<u8>, views: &[View], found: &BTreeMap<u64, &'static str>) -> Rewritten {
    let is_free = |port: &&u8| !image.windows(2).any(|w| w == [OUT_IMM8_AL, **port]);
    let port = PORTS.iter().find(is_free).copied().filter(|_| !found.is_empty());
    let gpa = |offset: u64| {
        // Where an image is seen twice, the last view is the one that runs.
        let view = views.iter().rev().find(|v| offset.wrapping_sub(v.offset) < v.bytes);
        view.map(|v| v.linear + (offset - v.offset))
    };
    let is_rewritten = |offset: &u64| port.is_some() && found.contains_key(offset);
    let suspects = image
        .windows(2)
        .enumerate()
        .filter(|(_, w)| *w == RDTSC)
        .map(|(offset, _)| offset as u64)
        .filter(|offset| !is_rewritten(offset))
        .filter_map(|offset| Some(Suspect { gpa: gpa(offset)?, bytes: RDTSC.to_vec() }))
        .collect();
    let mut rewrites = Vec::new();
    for (&offset, found_by) in found {
        if let (Some(port), Some(gpa)) = (port, gpa(offset)) {
            let rewrite = clock_read(gpa, Port(port), found_by);
            image[offset as usize..offset as usize + 2].copy_from_slice(&rewrite.replacement);
            rewrites.push(rewrite);
        }
    }
    Rewritten { image, rewrites, suspects, clock_port: port }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::CpuMode;

    fn run(image: &[u8]) -> Rewritten {
        let view = View { linear: 0x8000, offset: 0, bytes: image.len() as u64 };
        let entry = Entry { segment_base: 0, ip: 0x8000, mode: CpuMode::Long64 };
        clock_reads(image.to_vec(), &[view], &[entry], &[])
    }

    #[test]
    fn an_rdtsc_that_is_reached_is_rewritten_and_one_in_data_is_left_alone_and_named() {
        // rdtsc; jmp +2; (data: 0f 31); hlt
        let rewritten = run(&[0x0f, 0x31, 0xeb, 0x02, 0x0f, 0x31, 0xf4]);
        assert_eq!(rewritten.image, [0xe6, 0x9e, 0xeb, 0x02, 0x0f, 0x31, 0xf4]);
        assert_eq!(rewritten.rewrites.len(), 1);
        assert_eq!(rewritten.rewrites[0].gpa, 0x8000);
        assert_eq!(rewritten.suspects, [Suspect { gpa: 0x8004, bytes: vec![0x0f, 0x31] }]);
    }

    #[test]
    fn bytes_of_an_immediate_are_no_instruction() {
        // mov eax, 0x310f0000 ; hlt
        let rewritten = run(&[0xb8, 0x00, 0x00, 0x0f, 0x31, 0xf4]);
        assert!(rewritten.rewrites.is_empty());
        assert_eq!(rewritten.clock_port, None);
        assert_eq!(rewritten.suspects.len(), 1);
    }

    #[test]
    fn a_function_reached_by_its_address_is_followed() {
        // mov eax, 0x8008 ; call rax ; hlt ; 0x8008: rdtsc ; ret
        let rewritten = run(&[0xb8, 0x08, 0x80, 0, 0, 0xff, 0xd0, 0xf4, 0x0f, 0x31, 0xc3]);
        assert_eq!(rewritten.rewrites.len(), 1);
    }

    #[test]
    fn a_port_that_the_guest_uses_is_not_taken_for_the_clock() {
        // out 0x9e, al ; rdtsc ; hlt
        assert_eq!(run(&[0xe6, 0x9e, 0x0f, 0x31, 0xf4]).clock_port, Some(0x9f));
    }
}
