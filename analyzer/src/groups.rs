//! Which sites share a row of the report.

use crate::by::By;
use crate::names::Names;
use crate::symbols::Symbols;
use std::collections::BTreeMap;
use trapline_formats::{ExitKind, Instruction, Site, Space};

/// Sites by group.
#[derive(Debug)]
pub(crate) enum Groups {
    /// Every site is a group of its own: so many.
    Sites(u32),
    /// The others.
    Shared {
        /// The group of each site.
        of_site: Vec<u32>,
        /// The sites, those of a group together, ascending.
        order: Vec<u32>,
        /// Where in `order` each group starts; and where the last one ends.
        starts: Vec<u32>,
    },
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
        if by == By::Site {
            return Self::Sites(sites.len() as u32);
        }
        let mut numbers = BTreeMap::new();
        let mut starts: Vec<u32> = vec![0];
        let mut of_site = Vec::with_capacity(sites.len());
        for (id, site) in (0..).zip(sites) {
            let next = numbers.len() as u32;
            let group = *numbers.entry(key(by, id, site, names, symbols)).or_insert(next);
            if group == next {
                starts.push(0);
            }
            starts[group as usize + 1] += 1;
            of_site.push(group);
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let (mut order, mut next) = (vec![0; of_site.len()], starts.clone());
        for (id, &group) in (0..).zip(&of_site) {
            let place = &mut next[group as usize];
            order[*place as usize] = id;
            *place += 1;
        }
        Self::Shared { of_site, order, starts }
    }

    /// How many; none is empty.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Sites(sites) => *sites as usize,
            Self::Shared { starts, .. } => starts.len() - 1,
        }
    }

    /// The group of a site that exists.
    #[inline]
    pub(crate) fn of(&self, site: u32) -> usize {
        match self {
            Self::Sites(_) => site as usize,
            Self::Shared { of_site, .. } => of_site[site as usize] as usize,
        }
    }

    /// The sites of a group, ascending.
    pub(crate) fn members(&self, group: usize) -> impl Iterator<Item = u32> + Clone {
        let (range, order) = match self {
            Self::Sites(_) => (group as u32..group as u32 + 1, &[][..]),
            Self::Shared { order, starts, .. } => (starts[group]..starts[group + 1], order.as_slice()),
        };
        range.map(move |i| order.get(i as usize).copied().unwrap_or(i))
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
