//! What sites are called in profiles and pictures.

use crate::disassembly::Disassembler;
use crate::names::{Names, space_name};
use crate::pci::ConfigAccesses;
use crate::symbols::Symbols;
use std::collections::BTreeMap;
use trapline_formats::{ExitKind, Site, Trace};

/// What stands for the function of an instruction that no symbol file knows.
pub(crate) const NO_SYMBOL: &str = "(no symbol)";

/// What sites are called that are too many to have a name each, and their number: no trace has so many sites.
const OTHERS: &str = "(other sites)";
const OTHER_SITES: u32 = u32::MAX;

/// The names of one site, from the outside in: a stack of three. All of it is printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// "io_serial_in".
    pub(crate) function: String,
    /// "in al, dx at io_serial_in+0xd", or at an address.
    pub(crate) instruction: String,
    /// "port-read 0x3fd COM1 line status".
    pub(crate) target: String,
}

/// Labels the sites of one trace.
pub(crate) struct Labeler<'a> {
    names: &'a Names,
    symbols: &'a Symbols,
    pci: &'a ConfigAccesses,
    disassembler: Disassembler<'a>,
}

impl<'a> Labeler<'a> {
    pub(crate) fn new(
        trace: &'a Trace,
        names: &'a Names,
        symbols: &'a Symbols,
        pci: &'a ConfigAccesses,
    ) -> Self {
        Self { names, symbols, pci, disassembler: Disassembler::new(&trace.header().rewrites) }
    }

    /// The label of a site.
    pub(crate) fn of(&self, id: u32, site: &Site) -> Label {
        let text = self.disassembler.of(site).text.unwrap_or_else(|| "(unreadable)".into());
        let address = site.instruction.address.0;
        let symbol = self.symbols.of(id);
        let place =
            symbol.map_or(format!("{address:#x}"), |s| format!("{}+{:#x}", s.name, address - s.start));
        Label {
            function: symbol.map_or(NO_SYMBOL.into(), |s| s.name.clone()),
            instruction: format!("{text} at {place}"),
            target: target(site, self.names, self.pci.of(id)),
        }
    }
}

/// The labels of some sites of a trace; all others share one.
pub(crate) struct Labels {
    known: BTreeMap<u32, Label>,
    other: Label,
}

impl Labels {
    /// Labels these sites.
    pub(crate) fn new(
        trace: &Trace,
        symbols: &Symbols,
        pci: &ConfigAccesses,
        sites: impl Iterator<Item = u32>,
    ) -> Self {
        let names = Names::new(&trace.header().names);
        let labeler = Labeler::new(trace, &names, symbols, pci);
        let label = |id: u32| Some((id, labeler.of(id, trace.sites().get(id as usize)?)));
        let text = || OTHERS.to_owned();
        let other = Label { function: text(), instruction: text(), target: text() };
        Self { known: sites.filter_map(label).collect(), other }
    }

    /// The number that a site goes by: its own, or the one of all that share a label.
    pub(crate) fn number(&self, site: u32) -> u32 {
        if self.known.contains_key(&site) { site } else { OTHER_SITES }
    }

    /// The label of a site, by its own number or by that of many.
    pub(crate) fn of(&self, site: u32) -> &Label {
        self.known.get(&site).unwrap_or(&self.other)
    }

    /// The label of all sites that have none of their own.
    pub(crate) fn of_others(&self) -> &Label {
        &self.other
    }
}

fn target(site: &Site, names: &Names, register: Option<String>) -> String {
    let kind = site.kind.name();
    let Some(space) = site.kind.space() else { return kind.into() };
    match names.of(space, site.address) {
        Some(name) => {
            let register = register.map_or(name.register, Into::into);
            format!("{kind} {:#x} {} {register}", site.address, name.device).trim_end().into()
        }
        None => format!("{kind} {:#x} ({})", site.address, space_name(space)),
    }
}

/// Whether a site is idleness.
pub(crate) fn is_idle(site: &Site) -> bool {
    site.kind == ExitKind::Halt
}
