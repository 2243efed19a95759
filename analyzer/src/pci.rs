//! Which PCI function and register an access to configuration space is for.
//!
//! Mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2): a doubleword written to 0xCF8 selects, and 0xCFC to 0xCFF read and write what is
//! selected. Both are in a trace, so the register that an access reaches is known, not guessed.

use crate::tally::scalar;
use std::collections::BTreeMap;
use trapline_formats::{Exit, ExitKind, Site};

const ADDRESS: u64 = 0xcf8;
const DATA: std::ops::Range<u64> = 0xcfc..0xd00;
const ENABLE: u64 = 1 << 31;

/// Registers of a configuration header by their first byte (PCI Local Bus 3.0, 6.1): up to 0x17 and from 0x34 on those of all
/// header types, between them those of type 0, which all but bridges have.
const REGISTERS: [(u8, &str); 27] = [
    (0x00, "vendor ID"),
    (0x02, "device ID"),
    (0x04, "command"),
    (0x06, "status"),
    (0x08, "revision ID"),
    (0x09, "class code"),
    (0x0c, "cache line size"),
    (0x0d, "latency timer"),
    (0x0e, "header type"),
    (0x0f, "BIST"),
    (0x10, "BAR 0"),
    (0x14, "BAR 1"),
    (0x18, "BAR 2"),
    (0x1c, "BAR 3"),
    (0x20, "BAR 4"),
    (0x24, "BAR 5"),
    (0x28, "CardBus CIS pointer"),
    (0x2c, "subsystem vendor ID"),
    (0x2e, "subsystem ID"),
    (0x30, "expansion ROM"),
    (0x34, "capabilities pointer"),
    (0x35, "reserved"),
    (0x3c, "interrupt line"),
    (0x3d, "interrupt pin"),
    (0x3e, "minimum grant"),
    (0x3f, "maximum latency"),
    (0x40, ""),
];

/// What a site addresses, as far as it is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    /// It is the site that selects.
    selects: bool,
    /// Bus, device and function, as bits 23 to 8 of the address have them.
    function: Option<u16>,
    register: Option<u8>,
}

/// The accesses to configuration space, by site.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigAccesses {
    selected: Option<u64>,
    sites: BTreeMap<u32, Target>,
}

impl ConfigAccesses {
    /// Looks at one exit.
    #[inline]
    pub(crate) fn add(&mut self, site: &Site, exit: &Exit<'_>) {
        if matches!(site.kind, ExitKind::PortRead | ExitKind::PortWrite)
            && (ADDRESS..DATA.end).contains(&site.address)
        {
            self.note(site, exit);
        }
    }

    #[cold]
    fn note(&mut self, site: &Site, exit: &Exit<'_>) {
        if site.address == ADDRESS && site.size == 4 && site.kind == ExitKind::PortWrite {
            let value = scalar(exit.data);
            self.selected = (value & ENABLE != 0).then_some(value);
        } else if !DATA.contains(&site.address) {
            return;
        }
        // What is not selected answers nobody.
        let Some(selected) = self.selected else { return };
        let new = Target {
            selects: site.address == ADDRESS,
            function: Some((selected >> 8) as u16),
            register: Some((selected & 0xfc | site.address & 3) as u8),
        };
        let known = self.sites.entry(exit.site).or_insert(new);
        known.function = known.function.filter(|f| Some(*f) == new.function);
        known.register = known.register.filter(|r| Some(*r) == new.register);
    }

    /// What a site addresses: "00:01.0 command". `None` where that is not always the same, or the site addresses nothing.
    pub(crate) fn of(&self, site: u32) -> Option<String> {
        let target = self.sites.get(&site)?;
        let name = match (target.function, target.register) {
            (Some(function), Some(register)) => format!("{} {}", place(function), register_name(register)),
            (Some(function), None) => format!("{} (several registers)", place(function)),
            (None, Some(register)) => format!("{} (several functions)", register_name(register)),
            (None, None) => return None,
        };
        Some(if target.selects { format!("address of {name}") } else { name })
    }
}

/// "00:1f.3".
fn place(function: u16) -> String {
    format!("{:02x}:{:02x}.{}", function >> 8, function >> 3 & 0x1f, function & 7)
}

/// The register that holds a byte.
fn register_name(byte: u8) -> String {
    match REGISTERS.iter().rev().find(|(first, _)| *first <= byte) {
        Some((first, name)) if !name.is_empty() && *first == byte => (*name).to_owned(),
        Some((first, name)) if !name.is_empty() => format!("{name}, byte {}", byte - first),
        _ => format!("register {byte:#04x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::{CpuMode, Gva, Instruction};

    fn site(kind: ExitKind, address: u64, size: u8) -> Site {
        let instruction = Instruction { address: Gva(0), bytes: Vec::new(), mode: CpuMode::Long64, cpl: 0 };
        Site { kind, address, size, rep: false, instruction }
    }

    fn access(all: &mut ConfigAccesses, number: u32, kind: ExitKind, port: u64, data: &[u8]) {
        let exit = Exit { index: 0, site: number, data, fault: false };
        all.add(&site(kind, port, data.len() as u8), &exit);
    }

    #[test]
    fn an_access_is_for_what_was_selected_last() {
        let mut all = ConfigAccesses::default();
        access(&mut all, 9, ExitKind::PortRead, 0xcfc, &[0; 4]);
        for (selected, register) in [(0x8000_0804u32, 4), (0x8000_fb04, 4), (0x0000_0804, 9)] {
            access(&mut all, 0, ExitKind::PortWrite, 0xcf8, &selected.to_le_bytes());
            access(&mut all, register, ExitKind::PortRead, 0xcfe, &[0; 2]);
            // Reset control is a neighbour and no part of it.
            access(&mut all, 7, ExitKind::PortWrite, 0xcf9, &[0]);
        }
        access(&mut all, 0, ExitKind::PortWrite, 0xcf8, &0x8000_fb44u32.to_le_bytes());
        access(&mut all, 1, ExitKind::PortRead, 0xcfd, &[0]);
        access(&mut all, 2, ExitKind::PortWrite, 0xcfc, &[0]);
        access(&mut all, 0, ExitKind::PortWrite, 0xcf8, &0x8000_fb3cu32.to_le_bytes());
        access(&mut all, 2, ExitKind::PortWrite, 0xcfc, &[0]);
        access(&mut all, 5, ExitKind::PortWrite, 0xcf8, &0x8000_0804u32.to_le_bytes());
        let name = |site| all.of(site).unwrap_or_default();
        assert_eq!(name(4), "status (several functions)");
        assert_eq!(name(5), "address of 00:01.0 command");
        assert_eq!(name(1), "00:1f.3 register 0x45");
        assert_eq!(name(2), "00:1f.3 (several registers)");
        assert_eq!([name(0), name(7), name(9)], [""; 3]);
    }

    #[test]
    fn every_byte_of_a_header_has_a_name() {
        assert_eq!(register_name(0x04), "command");
        assert_eq!(register_name(0x0b), "class code, byte 2");
        assert_eq!(register_name(0x27), "BAR 5, byte 3");
        assert_eq!(register_name(0x40), "register 0x40");
        assert!(REGISTERS.is_sorted());
    }
}
