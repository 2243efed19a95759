//! The dictionary of sites: every exit is looked up, a new one is resolved.

use crate::code::CodeSegment;
use crate::convention::instruction_of;
use crate::error::MachineError;
use crate::exit::Exit;
use crate::machine::Machine;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use trapline_formats::{ExitKind, Site};

/// What KVM tells of an exit without decoding anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    rip: u64,
    address: u64,
    segment: CodeSegment,
    kind: ExitKind,
    size: u8,
    /// RIP stands at the instruction, whatever the engine's convention.
    is_ours: bool,
}

/// A recent exit, found again without hashing.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    rip: u64,
    address: u64,
    tag: u64,
    number: u32,
    is_clock: bool,
}

/// Everything else of an exit in one number, never 0: kind, size, and the generation of the code segment.
#[inline]
fn tag(exit: &Exit, generation: u32) -> u64 {
    u64::from(generation) << 32
        | u64::from(exit.size) << 16
        | (exit.kind() as u64) << 8
        | u64::from(exit.is_ours) << 1
        | 1
}

/// Recent exits kept, a power of two: the exits of most loops.
const RECENT: usize = 64;

/// Sites in the order of their first exit.
#[derive(Debug)]
pub struct SiteTable {
    recent: [Recent; RECENT],
    /// Never iterated, so its order shows nowhere.
    by_key: FxHashMap<Key, u32>,
    by_site: BTreeMap<Site, u32>,
    sites: Vec<Site>,
}

impl Default for SiteTable {
    fn default() -> Self {
        Self {
            recent: [Recent::default(); RECENT],
            by_key: FxHashMap::default(),
            by_site: BTreeMap::new(),
            sites: Vec::new(),
        }
    }
}

impl SiteTable {
    /// The number of the site of an exit. An exit at a rewritten RDTSC becomes a clock read here.
    #[expect(clippy::inline_always, reason = "every exit passes here: a call costs 28 instructions")]
    #[inline(always)]
    pub fn number(&mut self, machine: &mut Machine, exit: &mut Exit) -> Result<u32, MachineError> {
        let tag = tag(exit, machine.code_segment(exit.rip)?);
        let place = (exit.rip ^ exit.address) as usize % RECENT;
        let mut recent = self.recent[place];
        if recent.rip != exit.rip || recent.address != exit.address || recent.tag != tag {
            recent = self.look_up(machine, exit, place)?;
        }
        if recent.is_clock && !exit.is_ours {
            exit.become_clock_read();
        }
        Ok(recent.number)
    }

    /// Finds an exit by its key, or resolves it.
    #[inline(never)]
    fn look_up(&mut self, machine: &mut Machine, exit: &Exit, place: usize) -> Result<Recent, MachineError> {
        // The number may stand for a remembered segment; what is written down is read.
        let segment = machine.read_code_segment()?;
        let (kind, is_ours) = (exit.kind(), exit.is_ours);
        let key = Key { rip: exit.rip, address: exit.address, segment, kind, size: exit.size, is_ours };
        let number = match self.by_key.get(&key) {
            Some(&number) => number,
            None => self.resolve(machine, exit, key),
        };
        let recent = Recent {
            rip: exit.rip,
            address: exit.address,
            tag: tag(exit, machine.code_segment(exit.rip)?),
            number,
            is_clock: self.sites[number as usize].kind == ExitKind::ClockRead,
        };
        self.recent[place] = recent;
        Ok(recent)
    }

    #[cold]
    fn resolve(&mut self, machine: &Machine, exit: &Exit, key: Key) -> u32 {
        let (instruction, rep) = instruction_of(machine, exit, key.segment);
        let is_clock = exit.kind() == ExitKind::PortWrite
            && machine.stand_ins().clock.is_some_and(|port| instruction.bytes == [0xe6, port]);
        let site = if is_clock {
            Site { kind: ExitKind::ClockRead, address: 0, size: 8, rep: false, instruction }
        } else {
            Site { kind: exit.kind(), address: exit.address, size: exit.size, rep, instruction }
        };
        let next = self.sites.len() as u32;
        let number = *self.by_site.entry(site).or_insert_with_key(|site| {
            self.sites.push(site.clone());
            next
        });
        self.by_key.insert(key, number);
        number
    }

    /// The sites so far.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }
}
