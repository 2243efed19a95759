//! Which sites share a row of the report.

use crate::by::By;
use crate::names::Names;
use crate::symbols::Symbols;
use std::collections::BTreeMap;
use trapline_formats::{ExitKind, Instruction, Site, Space};

/// Sites by group.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The group of each site.
    pub(crate) of_site: Vec<u32>,
    /// The sites of each group, ascending. No group is empty.
    pub(crate) members: Vec<Vec<u32>>,
}

/// What sites of one group have in common. HLT is idleness and shares no row with a cost.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Site(u32),
    Instruction(&'a Instruction, bool),
    /// The sites without a symbol share one row.
    Symbol(Option<(&'a str, u64)>, bool),
    Reason(ExitKind),
    Device(Space, Option<String>),
    Address(Space, u64),
    /// An exit without an address, where rows are addresses or devices.
    NoAddress(ExitKind),
}

impl Groups {
    pub(crate) fn new(by: By, sites: &[Site], names: &Names, symbols: &Symbols) -> Self {
        let mut numbers = BTreeMap::new();
        let mut groups = Self { of_site: Vec::with_capacity(sites.len()), members: Vec::new() };
        for (id, site) in sites.iter().enumerate() {
            let id = id as u32;
            let group = *numbers.entry(key(by, id, site, names, symbols)).or_insert(groups.members.len());
            groups.of_site.push(group as u32);
            match groups.members.get_mut(group) {
                Some(members) => members.push(id),
                None => groups.members.push(vec![id]),
            }
        }
        groups
    }
}

fn key<'a>(by: By, id: u32, site: &'a Site, names: &Names, symbols: &'a Symbols) -> Key<'a> {
    match (by, site.kind.space()) {
        (By::Site, _) => Key::Site(id),
        (By::Instruction, _) => Key::Instruction(&site.instruction, site.kind == ExitKind::Halt),
        (By::Symbol, _) => {
            Key::Symbol(symbols.of(id).map(|s| (s.name.as_str(), s.start)), site.kind == ExitKind::Halt)
        }
        (By::Reason, _) => Key::Reason(site.kind),
        (By::Device | By::Address, None) => Key::NoAddress(site.kind),
        (By::Device, Some(space)) => {
            Key::Device(space, names.of(space, site.address).map(|n| n.device.into_owned()))
        }
        (By::Address, Some(space)) => Key::Address(space, site.address),
    }
}
