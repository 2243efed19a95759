//! The tables by which an operating system without ACPI finds processor and interrupt controllers (Intel MultiProcessor
//! Specification 1.4, chapter 4). They say what the MADT of [`super::acpi`] says.

use super::acpi::{IO_APIC, LOCAL_APIC, SCI};
use trapline_formats::Gpa;

/// The floating pointer: in the area that is searched for it, F0000 to FFFFF (4), behind the ACPI tables.
pub const AT: u64 = 0xf_0000;
const POINTER_BYTES: usize = 16;
const HEADER_BYTES: usize = 44;
/// Version 1.4.
const REVISION: u8 = 4;
const PCI_BUS: u8 = 0;
const ISA_BUS: u8 = 1;
const IO_APIC_ID: u8 = 1;
/// As their version registers say.
const LOCAL_APIC_VERSION: u8 = 0x14;
const IO_APIC_VERSION: u8 = 0x11;

/// Interrupt types (table 4-10).
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    /// Its vector comes from the I/O APIC.
    Vectored = 0,
    Nmi = 1,
    /// Its vector comes from the 8259A.
    External = 3,
}

/// Polarity and trigger mode: as the bus has them; or active high, level-triggered.
const AS_THE_BUS: u8 = 0;
const HIGH_LEVEL: u8 = 0b1101;

/// The floating pointer and the configuration table behind it, to be put at [`AT`].
pub fn tables() -> (Gpa, Vec<u8>) {
    let table = configuration();
    let address = (AT as u32 + POINTER_BYTES as u32).to_le_bytes();
    // Length in paragraphs, revision, checksum, and five feature bytes that are zero: there is a configuration table, and
    // virtual wire mode instead of an IMCR (4.1).
    let mut bytes = b"_MP_".to_vec();
    bytes.extend(address);
    bytes.extend([1, REVISION, 0, 0, 0, 0, 0, 0]);
    bytes[10] = checksum(&bytes);
    bytes.extend(table);
    (Gpa(AT), bytes)
}

fn configuration() -> Vec<u8> {
    let entries = entries();
    let mut table = b"PCMP".to_vec();
    table.extend(((HEADER_BYTES + entries.concat().len()) as u16).to_le_bytes());
    table.extend([REVISION, 0]);
    table.extend(b"TRAPLINETRAPLINE PC ");
    // No table of the OEM's.
    table.extend([0; 6]);
    table.extend((entries.len() as u16).to_le_bytes());
    table.extend(LOCAL_APIC.to_le_bytes());
    // No extended table.
    table.extend([0; 4]);
    table.extend(entries.concat());
    table[7] = checksum(&table);
    table
}

/// In the order of their types, as 4.3 demands.
fn entries() -> Vec<Vec<u8>> {
    let mut entries = vec![processor(), bus(PCI_BUS, *b"PCI   "), bus(ISA_BUS, *b"ISA   "), io_apic()];
    entries.push(interrupt(3, Kind::External, AS_THE_BUS, 0, IO_APIC_ID, 0));
    // IRQ 2 is the second 8259A; its pin has the timer.
    for irq in (0..16).filter(|irq| *irq != 2) {
        let pin = if irq == 0 { 2 } else { irq };
        let flags = if u16::from(irq) == SCI { HIGH_LEVEL } else { AS_THE_BUS };
        entries.push(interrupt(3, Kind::Vectored, flags, irq, IO_APIC_ID, pin));
    }
    // Local interrupts: the 8259A at LINT0, NMI at LINT1 of every processor.
    entries.push(interrupt(4, Kind::External, AS_THE_BUS, 0, 0xff, 0));
    entries.push(interrupt(4, Kind::Nmi, AS_THE_BUS, 0, 0xff, 1));
    entries
}

/// The one there is: enabled, and the one that boots (4.3.1). Signature and features are the least that has an APIC (family 6;
/// FPU, CMPXCHG8B, APIC): CPUID knows better, and every system asks it.
fn processor() -> Vec<u8> {
    let mut entry = vec![0, 0, LOCAL_APIC_VERSION, 3];
    entry.extend(0x600_u32.to_le_bytes());
    entry.extend(0x301_u32.to_le_bytes());
    entry.extend([0; 8]);
    entry
}

fn bus(id: u8, name: [u8; 6]) -> Vec<u8> {
    [&[1, id][..], &name].concat()
}

fn io_apic() -> Vec<u8> {
    [&[2, IO_APIC_ID, IO_APIC_VERSION, 1][..], &IO_APIC.to_le_bytes()].concat()
}

/// An I/O (3) or local (4) interrupt: from the ISA bus to an input of an APIC.
fn interrupt(entry: u8, kind: Kind, flags: u8, irq: u8, apic: u8, input: u8) -> Vec<u8> {
    vec![entry, kind as u8, flags, 0, ISA_BUS, irq, apic, input]
}

/// What makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, b| sum.wrapping_sub(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, b| sum.wrapping_add(*b))
    }

    /// The entries of a table, by the lengths of table 4-3.
    fn walk(mut rest: &[u8]) -> Vec<&[u8]> {
        let mut entries = Vec::new();
        while let Some(kind) = rest.first() {
            let (entry, after) = rest.split_at(if *kind == 0 { 20 } else { 8 });
            entries.push(entry);
            rest = after;
        }
        entries
    }

    #[test]
    fn an_operating_system_finds_the_tables_and_their_checksums_are_right() {
        let (Gpa(at), bytes) = tables();
        assert!((0xf_0000..0x10_0000).contains(&at) && at.is_multiple_of(16));
        let (pointer, table) = bytes.split_at(16);
        assert_eq!(&pointer[..4], b"_MP_");
        assert_eq!(u32::from_le_bytes(*pointer[4..].first_chunk().unwrap()), at as u32 + 16);
        assert_eq!((pointer[8], sum(pointer)), (1, 0));
        assert_eq!(&table[..4], b"PCMP");
        assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());
        assert_eq!(sum(table), 0);
        assert_eq!(usize::from(u16::from_le_bytes([table[34], table[35]])), walk(&table[44..]).len());
        assert_eq!(table[36..40], 0xfee0_0000_u32.to_le_bytes());
    }

    #[test]
    fn the_entries_say_what_the_madt_says() {
        let (_, bytes) = tables();
        let entries = walk(&bytes[60..]);
        let of = |kind: u8| entries.iter().filter(|e| e[0] == kind).collect::<Vec<_>>();
        assert!(entries.is_sorted_by_key(|e| e[0]));
        assert_eq!(of(0).len(), 1);
        assert_eq!((of(0)[0][1], of(0)[0][3]), (0, 3));
        assert_eq!(of(2)[0][1], 1);
        assert_eq!(of(2)[0][4..8], 0xfec0_0000_u32.to_le_bytes());
        let vectored: Vec<_> = of(3).into_iter().filter(|e| e[1] == 0).collect();
        assert_eq!(vectored.len(), 15);
        for e in vectored {
            let (irq, pin) = (e[5], e[7]);
            assert_eq!(pin, if irq == 0 { 2 } else { irq });
            assert_eq!(e[2], if irq == 9 { 0b1101 } else { 0 });
            assert_eq!((e[4], e[6]), (ISA_BUS, 1));
        }
        assert_eq!(of(4).iter().map(|e| (e[1], e[6], e[7])).collect::<Vec<_>>(), [(3, 255, 0), (1, 255, 1)]);
        // The ACPI tables have the APICs at the same addresses, and end before these begin.
        let (Gpa(acpi_at), acpi) = crate::guest::acpi::tables();
        assert!(acpi_at + acpi.len() as u64 <= AT);
        let madt = acpi.windows(4).position(|w| w == b"APIC").unwrap();
        assert_eq!(acpi[madt + 36..madt + 40], 0xfee0_0000_u32.to_le_bytes());
    }
}
