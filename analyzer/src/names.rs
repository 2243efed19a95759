//! What addresses are called: by the recorded platform first, by the built-in tables of well-known addresses otherwise.

mod mmio;
mod msrs;
mod ports;

use std::borrow::Cow;
use std::collections::BTreeMap;
use trapline_formats::{NamedRange, Space, printable};

/// A device and, where it is known, the register.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name<'a> {
    /// "COM1", "local APIC", "CPU" for MSRs of the processor itself.
    pub device: Cow<'a, str>,
    /// "line status", "IA32_APIC_BASE"; empty where only the device is known.
    pub register: Cow<'a, str>,
}

/// A well-known range: first address, first address after it, device, register.
type Known = (u64, u64, &'static str, &'static str);

/// The names that one trace gives its addresses. Its text comes from a stranger and is made printable here.
#[derive(Debug, Clone, Default)]
pub struct Names {
    names: Vec<(String, String)>,
    /// Disjoint segments by space and first address: (first address after it, index of the name).
    segments: BTreeMap<(Space, u64), (u64, usize)>,
}

impl Names {
    /// Takes the ranges of a trace. Where they overlap, the smallest one names an address.
    pub fn new(ranges: &[NamedRange]) -> Self {
        let mut order: Vec<_> = ranges.iter().filter(|r| r.start < r.end).collect();
        order.sort_by_key(|r| std::cmp::Reverse(r.end - r.start));
        let mut names = Self::default();
        for range in order {
            let text = |name: &str| printable(name.as_bytes(), false);
            names.names.push((text(&range.device), text(&range.register)));
            names.paint(range, names.names.len() - 1);
        }
        names
    }

    /// Lays a range over the segments so far.
    fn paint(&mut self, range: &NamedRange, name: usize) {
        let (space, start, end) = (range.space, range.start, range.end);
        let before = self.segments.range((space, 0)..(space, start)).next_back().map(|(&k, &v)| (k, v));
        if let Some((key, (before_end, before_name))) =
            before.filter(|(_, (before_end, _))| *before_end > start)
        {
            self.segments.insert(key, (start, before_name));
            if before_end > end {
                self.segments.insert((space, end), (before_end, before_name));
            }
        }
        let covered: Vec<_> =
            self.segments.range((space, start)..(space, end)).map(|(&k, &v)| (k, v)).collect();
        for (key, (covered_end, covered_name)) in covered {
            self.segments.remove(&key);
            if covered_end > end {
                self.segments.insert((space, end), (covered_end, covered_name));
            }
        }
        self.segments.insert((space, start), (end, name));
    }

    /// The name of an address. Where the trace names only the device and the built-in table knows a register of a device
    /// of that name there, that register is told.
    pub fn of(&self, space: Space, address: u64) -> Option<Name<'_>> {
        let known = well_known(space, address);
        let Some((device, register)) = self.in_trace(space, address) else { return known };
        let register = match known {
            // "delay delay" says no more.
            _ if register == device => Cow::Borrowed(""),
            Some(known) if register.is_empty() && known.device == device => known.register,
            _ => Cow::Borrowed(register),
        };
        Some(Name { device: Cow::Borrowed(device), register })
    }

    fn in_trace(&self, space: Space, address: u64) -> Option<(&str, &str)> {
        let (_, &(end, name)) = self.segments.range((space, 0)..=(space, address)).next_back()?;
        let (device, register) = self.names.get(name)?;
        (address < end && !device.is_empty()).then_some((device, register))
    }
}

/// The name of an address in the built-in tables.
pub fn well_known(space: Space, address: u64) -> Option<Name<'static>> {
    let table = match space {
        Space::Port => ports::PORTS,
        Space::Mmio => mmio::MMIO,
        Space::Msr => return u32::try_from(address).ok().and_then(msrs::name),
    };
    let smallest = table.iter().filter(|k| (k.0..k.1).contains(&address)).min_by_key(|k| k.1 - k.0)?;
    Some(Name { device: Cow::Borrowed(smallest.2), register: Cow::Borrowed(smallest.3) })
}

/// How a space is called in tables.
pub(crate) fn space_name(space: Space) -> &'static str {
    match space {
        Space::Port => "port",
        Space::Mmio => "mmio",
        Space::Msr => "msr",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u64, end: u64, device: &str, register: &str) -> NamedRange {
        NamedRange { space: Space::Port, start, end, device: device.into(), register: register.into() }
    }

    fn shown(names: &Names, space: Space, address: u64) -> String {
        names.of(space, address).map_or_else(|| "-".into(), |n| format!("{}/{}", n.device, n.register))
    }

    #[test]
    fn well_known_addresses_have_names() {
        let names = Names::default();
        assert_eq!(shown(&names, Space::Port, 0x3fd), "COM1/line status");
        assert_eq!(shown(&names, Space::Port, 0xcf8), "PCI configuration/address");
        assert_eq!(shown(&names, Space::Port, 0xcf9), "PCI configuration/reset control");
        assert_eq!(shown(&names, Space::Port, 0x3f6), "IDE primary/device control");
        assert_eq!(shown(&names, Space::Port, 0x4321), "-");
        assert_eq!(shown(&names, Space::Mmio, 0xfee0_00b0), "local APIC/EOI");
        assert_eq!(shown(&names, Space::Msr, 0x80b), "local APIC/x2APIC EOI");
        assert_eq!(shown(&names, Space::Msr, 0x10), "CPU/IA32_TIME_STAMP_COUNTER");
        assert_eq!(shown(&names, Space::Msr, 0x40d), "CPU/IA32_MC3_STATUS");
        assert_eq!(shown(&names, Space::Msr, 1 << 32), "-");
    }

    #[test]
    fn the_trace_names_its_own_devices() {
        let names = Names::new(&[range(0x3f8, 0x400, "COM1", ""), range(0x60, 0x61, "my device", "")]);
        assert_eq!(shown(&names, Space::Port, 0x3fd), "COM1/line status", "the register is well known");
        assert_eq!(shown(&names, Space::Port, 0x60), "my device/", "and the keyboard's is not its own");
        let twice = Names::new(&[range(0x80, 0x81, "POST code", "POST code")]);
        assert_eq!(shown(&twice, Space::Port, 0x80), "POST code/");
        assert_eq!(shown(&names, Space::Port, 0x64), "PS/2 controller/status, command");
    }

    #[test]
    fn names_from_a_stranger_are_made_printable() {
        let names = Names::new(&[range(1, 2, "a\x1b[31m", "b\u{202e}\n")]);
        assert_eq!(shown(&names, Space::Port, 1), "a\\u{1b}[31m/b\\u{202e}\\n");
    }

    proptest! {
        #[test]
        fn the_smallest_range_names_an_address(ranges in prop::collection::vec((0u64..40, 0u64..12), 0..12)) {
            let ranges: Vec<_> = ranges.iter().enumerate()
                .map(|(i, (start, length))| range(0x9000 + start, 0x9000 + start + length, &i.to_string(), "")).collect();
            let names = Names::new(&ranges);
            for address in 0x9000..0x9040 {
                // Of equal sizes, the one that comes last.
                let expected = ranges.iter().rev().filter(|r| (r.start..r.end).contains(&address))
                    .min_by_key(|r| r.end - r.start).map(|r| r.device.clone());
                prop_assert_eq!(names.of(Space::Port, address).map(|n| n.device.into_owned()), expected);
            }
        }
    }

    #[test]
    fn ranges_of_the_built_in_tables_are_ranges() {
        for table in [ports::PORTS, mmio::MMIO] {
            for known in table {
                assert!(known.0 < known.1, "{known:x?}");
            }
        }
    }
}
