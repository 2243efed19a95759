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
}

/// Sites in the order of their first exit.
#[derive(Debug, Default)]
pub struct SiteTable {
    /// Never iterated, so its order shows nowhere.
    by_key: FxHashMap<Key, u32>,
    by_site: BTreeMap<Site, u32>,
    sites: Vec<Site>,
    last: Option<(Key, u32)>,
}

impl SiteTable {
    /// The number of the site of an exit. An exit at a rewritten RDTSC becomes a clock read here.
    #[inline]
    pub fn number(&mut self, machine: &mut Machine, exit: &mut Exit) -> Result<u32, MachineError> {
        let segment = machine.code_segment(exit.rip)?;
        let key = Key { rip: exit.rip, address: exit.address, segment, kind: exit.kind(), size: exit.size };
        let number = match self.last {
            Some((last, number)) if last == key => number,
            _ => match self.by_key.get(&key) {
                Some(&number) => number,
                None => self.resolve(machine, exit, key)?,
            },
        };
        self.last = Some((key, number));
        if self.sites[number as usize].kind == ExitKind::ClockRead {
            exit.become_clock_read();
        }
        Ok(number)
    }

    #[cold]
    fn resolve(&mut self, machine: &mut Machine, exit: &Exit, key: Key) -> Result<u32, MachineError> {
        // The key may hold a remembered segment; what is written down is read.
        let segment = machine.read_code_segment()?;
        let (instruction, rep) = instruction_of(machine, exit, segment)?;
        let is_clock = exit.kind() == ExitKind::PortWrite
            && machine.clock_port().is_some_and(|port| instruction.bytes == [0xe6, port]);
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
        self.by_key.insert(Key { segment, ..key }, number);
        Ok(number)
    }

    /// The sites so far; those from `from` on are new since a caller last looked.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }
}
