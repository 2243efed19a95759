//! Closes instructions whose result the host decides and that do not exit: rewrites them into `OUT imm8, AL`, which exits on
//! every engine. RDTSC is as long; of RDTSCP, RDRAND and RDSEED see [`stand_in`].

use crate::disassembly::{self, Entry, Reached, View};
use crate::guest::Guest;
use iced_x86::{Instruction, Mnemonic, OpKind};
use std::collections::{BTreeMap, BTreeSet};
use trapline_formats::{Rewrite, StandIns, Suspect};
use trapline_machine::stand_in;

/// RDTSC (SDM vol. 2).
pub const RDTSC: [u8; 2] = [0x0f, 0x31];
/// `OUT imm8, AL`.
const OUT_IMM8_AL: u8 = 0xe6;
/// Ports that may stand for something else: nothing on a PC listens there. The first that the image itself does not name
/// are taken.
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

    /// One that neither a guest nor anything that was rewritten in it uses.
    pub fn left_in(guest: &Guest) -> Result<Self, String> {
        let stand_ins = Ports::of(guest)?.stand_ins();
        let jump = guest.hand_off.as_ref().map(|h| h.port);
        let taken = [stand_ins.clock, stand_ins.long, jump];
        let used = guest.used_ports.iter().copied().chain(taken.into_iter().flatten()).collect();
        Self::free(&used, 0)
    }

    /// `OUT imm8, AL` to it.
    pub fn instruction(self) -> [u8; 2] {
        [OUT_IMM8_AL, self.0]
    }
}

/// The ports that stand for the sources.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    clock: Port,
    long: Port,
}

impl Ports {
    /// Two that code does not use. The error is a reason in words.
    pub fn free(used: &BTreeSet<u8>) -> Result<Self, String> {
        Ok(Self { clock: Port::free(used, 0)?, long: Port::free(used, 1)? })
    }

    /// As above, and one for another purpose.
    pub fn free_with_one_more(used: &BTreeSet<u8>) -> Result<(Self, Port), String> {
        Ok((Self::free(used)?, Port::free(used, 2)?))
    }

    /// Both, in a guest.
    pub fn of(guest: &Guest) -> Result<Self, String> {
        Self::free(&guest.used_ports)
    }

    /// As the header tells them.
    pub fn told(stand_ins: StandIns) -> Option<Self> {
        Some(Self { clock: Port(stand_ins.clock?), long: Port(stand_ins.long?) })
    }

    /// The same, the other way round.
    pub fn stand_ins(self) -> StandIns {
        StandIns { clock: Some(self.clock.0), long: Some(self.long.0) }
    }

    /// A source, rewritten; `None` where nothing can stand for these bytes.
    pub fn rewrite(self, gpa: u64, original: &[u8], found_by: &str) -> Option<Rewrite> {
        let replacement = if original == RDTSC {
            self.clock.instruction().to_vec()
        } else {
            stand_in::encode(original, self.long.0)?
        };
        Some(Rewrite { gpa, original: original.to_vec(), replacement, found_by: found_by.into() })
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
    /// The ports, if anything was rewritten.
    pub stand_ins: StandIns,
    /// Ports that could stand for something, if the image did not name them.
    pub used_ports: BTreeSet<u8>,
}

/// Sources by offset: how long each is, and how it was found.
pub type Found = BTreeMap<u64, (usize, &'static str)>;

/// What is known of code.
#[derive(Debug)]
pub struct Code {
    /// Its sources.
    pub sources: Found,
    /// The ports that could stand for something, if it did not name them.
    pub used_ports: BTreeSet<u8>,
}

impl Code {
    /// What is reached from `entries`, or from `likely` ones if what they lead to is code.
    pub fn reached(image: &[u8], views: &[View], entries: &[Entry], likely: &[Entry]) -> Self {
        let reached = disassembly::reach(image, views, entries, likely);
        let mut used_ports = named_anywhere(image);
        if Ports::free(&used_ports).is_err() {
            // What is packed names every port by chance: then those count that code names which is reached.
            used_ports = reached.values().filter_map(named_port).collect();
        }
        Self { sources: sources_of(reached), used_ports }
    }
}

/// Rewrites the sources of code that is reached so, by other ports than `used`, which what runs beside it uses.
pub fn sources(
    image: Vec<u8>,
    views: &[View],
    entries: &[Entry],
    likely: &[Entry],
    used: &BTreeSet<u8>,
) -> Rewritten {
    let mut code = Code::reached(&image, views, entries, likely);
    code.used_ports.extend(used);
    sources_at(image, views, code)
}

fn named_anywhere(image: &[u8]) -> BTreeSet<u8> {
    let is_named = |port: &u8| image.windows(2).any(|w| w == [OUT_IMM8_AL, *port]);
    PORTS.into_iter().filter(is_named).collect()
}

fn sources_of(reached: Reached) -> Found {
    let sources = reached.into_iter().filter(|(_, instruction)| stand_in::is_source(instruction));
    sources.map(|((at, _), instruction)| (at, (instruction.len(), "disassembly from entry points"))).collect()
}

/// The port of `OUT imm8`, which is not free to stand for something else.
pub fn named_port(instruction: &Instruction) -> Option<u8> {
    let is_named = instruction.mnemonic() == Mnemonic::Out && instruction.op0_kind() == OpKind::Immediate8;
    is_named.then(|| instruction.immediate8())
}

/// Rewrites the sources of code, by ports that it does not use; what else looks like one and can be seen is suspect.
pub fn sources_at(mut image: Vec<u8>, views: &[View], code: Code) -> Rewritten {
    let Code { sources, used_ports } = code;
    let gpa = |offset: u64| {
        // Where an image is seen twice, the last view is the one that runs.
        let view = views.iter().rev().find(|v| offset.wrapping_sub(v.offset) < v.bytes);
        view.map(|v| v.linear + (offset - v.offset))
    };
    let ports = Ports::free(&used_ports).ok().filter(|_| !sources.is_empty());
    let rewrite = |(&offset, &(length, found_by)): (&u64, &(usize, &str))| {
        let original = image.get(offset as usize..)?.get(..length)?;
        Some((offset, ports?.rewrite(gpa(offset)?, original, found_by)?))
    };
    let rewrites: BTreeMap<u64, Rewrite> = sources.iter().filter_map(rewrite).collect();
    let is_rewritten = |offset: u64| {
        let before = rewrites.range(..=offset).next_back();
        before.is_some_and(|(start, rewrite)| offset - start < rewrite.original.len() as u64)
    };
    let suspects = looks_like_source(&image)
        .filter(|(offset, _)| !is_rewritten(*offset))
        .filter_map(|(offset, bytes)| Some(Suspect { gpa: gpa(offset)?, bytes }))
        .collect();
    for (&offset, rewrite) in &rewrites {
        let place = offset as usize..offset as usize + rewrite.replacement.len();
        image[place].copy_from_slice(&rewrite.replacement);
    }
    let stand_ins = ports.filter(|_| !rewrites.is_empty()).map(Ports::stand_ins).unwrap_or_default();
    Rewritten { image, rewrites: rewrites.into_values().collect(), suspects, stand_ins, used_ports }
}

/// Where the bytes of a source stand, prefixes apart: code or not.
pub fn looks_like_source(image: &[u8]) -> impl Iterator<Item = (u64, Vec<u8>)> {
    image.windows(2).enumerate().filter_map(|(offset, window)| {
        let third = image.get(offset + 2).copied().unwrap_or_default();
        let length = match (window, third) {
            (&[0x0f, 0x31], _) => 2,
            (&[0x0f, 0x01], 0xf9) | (&[0x0f, 0xc7], 0xf0..) => 3,
            _ => return None,
        };
        Some((offset as u64, image[offset..offset + length].to_vec()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::CpuMode;

    fn run(image: &[u8]) -> Rewritten {
        let view = View { linear: 0x8000, offset: 0, bytes: image.len() as u64 };
        let entry = Entry { segment_base: 0, ip: 0x8000, mode: CpuMode::Long64 };
        sources(image.to_vec(), &[view], &[entry], &[], &BTreeSet::new())
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
    fn a_boot_sector_is_followed_through_far_jumps_in_real_mode_and_out_of_it() {
        let reached_from = |jump: &[u8], mode: &[u8]| {
            // jmp to 0x7c07; (data: 0f 31); what shows the mode; rdtsc; hlt
            let image = [jump, &[0x0f, 0x31], mode, &[0x0f, 0x31, 0xf4]].concat();
            let view = View { linear: 0x7c00, offset: 0, bytes: image.len() as u64 };
            let entry = Entry { segment_base: 0, ip: 0x7c00, mode: CpuMode::Real16 };
            Code::reached(&image, &[view], &[entry], &[]).sources.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(reached_from(&[0xea, 0x07, 0x7c, 0, 0], &[]), [7]);
        // mov eax, 0x0f900000: in 16 bits it would end before the last two bytes, and take 0f 0f for what comes next.
        assert_eq!(reached_from(&[0xea, 0x07, 0x7c, 8, 0], &[0xb8, 0, 0, 0x90, 0x0f]), [12]);
    }

    #[test]
    fn bytes_of_an_immediate_are_no_instruction() {
        // mov eax, 0x310f0000 ; hlt
        let rewritten = run(&[0xb8, 0x00, 0x00, 0x0f, 0x31, 0xf4]);
        assert!(rewritten.rewrites.is_empty());
        assert_eq!(rewritten.stand_ins, StandIns::default());
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
        assert_eq!(run(&[0xe6, 0x9e, 0x0f, 0x31, 0xf4]).stand_ins.clock, Some(0x9f));
    }

    #[test]
    fn a_port_that_is_used_beside_it_is_not_taken_either() {
        let view = View { linear: 0x8000, offset: 0, bytes: 3 };
        let entry = Entry { segment_base: 0, ip: 0x8000, mode: CpuMode::Long64 };
        let rewritten =
            sources(vec![0x0f, 0x31, 0xf4], &[view], &[entry], &[], &BTreeSet::from([0x9e, 0x9d]));
        assert_eq!(rewritten.stand_ins, StandIns { clock: Some(0x9f), long: Some(0x9c) });
        assert_eq!(rewritten.used_ports, BTreeSet::from([0x9e, 0x9d]));
    }

    #[test]
    fn of_an_image_that_names_every_port_by_chance_those_count_that_code_names() {
        // out 0x9e, al; rdtsc; jmp to itself
        let code = [0xe6, 0x9e, 0x0f, 0x31, 0xeb, 0xfe];
        let packed = PORTS.map(|port| [0xe6, port]).concat();
        let rewritten = run(&[&code[..], &packed].concat());
        assert_eq!(rewritten.stand_ins, StandIns { clock: Some(0x9f), long: Some(0x9d) });
        assert_eq!(rewritten.used_ports, BTreeSet::from([0x9e]));
    }

    #[test]
    fn longer_sources_keep_their_length_and_say_what_they_were() {
        // rdtscp; rdrand rbx; rdseed cx; hlt
        let rewritten = run(&[0x0f, 0x01, 0xf9, 0x48, 0x0f, 0xc7, 0xf3, 0x66, 0x0f, 0xc7, 0xf9, 0xf4]);
        let long = rewritten.stand_ins.long.unwrap();
        let expected = [0xe6, long, 0x98, 0xe6, long, 0x48, 0xf3, 0xe6, long, 0x66, 0xf9, 0xf4];
        assert_eq!(rewritten.image, expected);
        assert_eq!(rewritten.rewrites.len(), 3);
        assert_eq!(rewritten.rewrites[1].original, [0x48, 0x0f, 0xc7, 0xf3]);
        assert!(rewritten.suspects.is_empty());
    }

    #[test]
    fn longer_sources_that_nothing_reaches_are_named() {
        // jmp to itself; (data: rdtscp, rdrand eax)
        let rewritten = run(&[0xeb, 0xfe, 0x0f, 0x01, 0xf9, 0x0f, 0xc7, 0xf0]);
        let gpas: Vec<u64> = rewritten.suspects.iter().map(|s| s.gpa).collect();
        assert_eq!(gpas, [0x8002, 0x8005]);
    }
}
