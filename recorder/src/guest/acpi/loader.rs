//! The tables as firmware gets them: in files of `fw_cfg`, with a list of commands that say what to allocate for them, which pointers
//! to move and which checksums to make (QEMU, `hw/acpi/bios-linker-loader.c`; `SeaBIOS`, `src/fw/romfile_loader.h`; OVMF and qboot
//! do the same).

use super::{Tables, rsdp};

const RSDP_FILE: &str = "etc/acpi/rsdp";
const TABLES_FILE: &str = "etc/acpi/tables";
const COMMANDS_FILE: &str = "etc/table-loader";

/// Bytes of a command, and of a file's name in it.
const COMMAND_BYTES: usize = 128;
const NAME_BYTES: usize = 56;

const ALLOCATE: u32 = 1;
const ADD_POINTER: u32 = 2;
const ADD_CHECKSUM: u32 = 3;
/// Zones of memory: anywhere below 4 GiB, or where operating systems search for the RSDP.
const HIGH: u8 = 1;
const F_SEGMENT: u8 = 2;

/// Offsets in tables (ACPI 6.5, 5.2.5.3, 5.2.6, 5.2.8, 5.2.9).
const LENGTH: u64 = 4;
const CHECKSUM: u64 = 9;
const FADT_FACS: u64 = 36;
const FADT_DSDT: u64 = 40;
const FADT_X_DSDT: u64 = 140;
const XSDT_ENTRIES: u64 = 36;
const RSDP_XSDT: u64 = 24;
const RSDP_EXTENDED_CHECKSUM: u64 = 32;
const RSDP_BYTES: u64 = 36;

/// The files.
pub fn files() -> [(String, Vec<u8>); 3] {
    // From address 0 on, an address is an offset in the file, which is what a pointer holds before it is moved.
    let mut tables = Tables::at(0);
    let mut rsdp = rsdp(tables.xsdt);
    let mut commands = Commands::default();
    commands.allocate(TABLES_FILE, 64, HIGH);
    commands.allocate(RSDP_FILE, 16, F_SEGMENT);
    commands.add_pointer(TABLES_FILE, tables.fadt + FADT_FACS, 4);
    commands.add_pointer(TABLES_FILE, tables.fadt + FADT_DSDT, 4);
    commands.add_pointer(TABLES_FILE, tables.fadt + FADT_X_DSDT, 8);
    let xsdt_end = tables.xsdt + tables.length(tables.xsdt);
    for entry in (tables.xsdt + XSDT_ENTRIES..xsdt_end).step_by(8) {
        commands.add_pointer(TABLES_FILE, entry, 8);
    }
    // OVMF sums up what stands where the checksum goes.
    for table in [tables.fadt, tables.xsdt] {
        commands.add_checksum(TABLES_FILE, table + CHECKSUM, table, tables.length(table));
        tables.bytes[(table + CHECKSUM) as usize] = 0;
    }
    commands.add_pointer(RSDP_FILE, RSDP_XSDT, 8);
    commands.add_checksum(RSDP_FILE, RSDP_EXTENDED_CHECKSUM, 0, RSDP_BYTES);
    rsdp[RSDP_EXTENDED_CHECKSUM as usize] = 0;
    let files = [(RSDP_FILE, rsdp), (TABLES_FILE, tables.bytes), (COMMANDS_FILE, commands.bytes)];
    files.map(|(name, bytes)| (name.to_owned(), bytes))
}

impl Tables {
    /// What a table says of its length.
    fn length(&self, table: u64) -> u64 {
        let at = (table - self.base + LENGTH) as usize;
        self.bytes[at..at + 4].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
    }
}

#[derive(Default)]
struct Commands {
    bytes: Vec<u8>,
}

impl Commands {
    fn allocate(&mut self, file: &str, alignment: u32, zone: u8) {
        self.push(ALLOCATE, &[&name(file), &alignment.to_le_bytes(), &[zone]]);
    }

    /// Moves a pointer into the tables to where they have come to lie.
    fn add_pointer(&mut self, file: &str, offset: u64, size: u8) {
        self.push(ADD_POINTER, &[&name(file), &name(TABLES_FILE), &(offset as u32).to_le_bytes(), &[size]]);
    }

    fn add_checksum(&mut self, file: &str, offset: u64, start: u64, length: u64) {
        let numbers = [offset, start, length].map(|number| (number as u32).to_le_bytes());
        self.push(ADD_CHECKSUM, &[&name(file), &numbers.concat()]);
    }

    fn push(&mut self, command: u32, fields: &[&[u8]]) {
        let end = self.bytes.len() + COMMAND_BYTES;
        self.bytes.extend(command.to_le_bytes());
        self.bytes.extend(fields.concat());
        self.bytes.resize(end, 0);
    }
}

fn name(file: &str) -> [u8; NAME_BYTES] {
    let mut field = [0; NAME_BYTES];
    field[..file.len()].copy_from_slice(file.as_bytes());
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Where this firmware puts files.
    const AT: [(&str, u64); 2] = [(TABLES_FILE, 0x7f_e000), (RSDP_FILE, 0xf_5a00)];

    fn number(bytes: &[u8]) -> u64 {
        bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
    }

    fn text(field: &[u8]) -> &str {
        std::str::from_utf8(field.split(|byte| *byte == 0).next().unwrap()).unwrap()
    }

    /// Carries the commands out, as firmware does. Returns the files as they then lie in memory.
    fn installed() -> BTreeMap<String, Vec<u8>> {
        let mut files: BTreeMap<_, _> = files().into();
        let commands = files.remove(COMMANDS_FILE).unwrap();
        let place = |file: &str| AT.iter().find(|(name, _)| *name == file).unwrap().1;
        for command in commands.chunks(COMMAND_BYTES) {
            let file = text(&command[4..60]).to_owned();
            let bytes = files.get_mut(&file).unwrap();
            match number(&command[..4]) as u32 {
                ALLOCATE => {
                    assert_eq!(place(&file) % number(&command[60..64]), 0);
                    assert_eq!(command[64] == F_SEGMENT, file == RSDP_FILE);
                }
                ADD_POINTER => {
                    let (at, size) = (number(&command[116..120]) as usize, usize::from(command[120]));
                    let moved = number(&bytes[at..at + size]) + place(text(&command[60..116]));
                    bytes[at..at + size].copy_from_slice(&moved.to_le_bytes()[..size]);
                }
                ADD_CHECKSUM => {
                    let [at, start, length] =
                        [60, 64, 68].map(|field| number(&command[field..field + 4]) as usize);
                    let sum =
                        bytes[start..start + length].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
                    // SeaBIOS takes the sum from what is there, OVMF puts it there.
                    assert_eq!(bytes[at], 0);
                    bytes[at] = sum.wrapping_neg();
                }
                other => panic!("there is no command {other}"),
            }
        }
        files
    }

    #[test]
    fn installed_tables_lead_to_each_other_and_their_checksums_are_right() {
        let files = installed();
        let tables = &files[TABLES_FILE];
        let table = |address: u64| {
            let table = &tables[(address - AT[0].1) as usize..];
            let table = &table[..number(&table[4..8]) as usize];
            // The FACS has none.
            let sum = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
            assert!(sum == 0 || table.starts_with(b"FACS"), "{}", text(&table[..4]));
            table
        };
        let rsdp = &files[RSDP_FILE];
        assert_eq!(&rsdp[..8], b"RSD PTR ");
        for part in [20, 36] {
            assert_eq!(rsdp[..part].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        }
        let xsdt = table(number(&rsdp[24..32]));
        let entries: Vec<_> = xsdt[36..].chunks(8).map(|entry| table(number(entry))).collect();
        assert_eq!(entries.iter().map(|entry| &entry[..4]).collect::<Vec<_>>(), [b"FACP", b"APIC"]);
        let fadt = entries[0];
        let pointers = [36..40, 40..44, 140..148].map(|field| &table(number(&fadt[field]))[..4]);
        assert_eq!(pointers, [b"FACS", b"DSDT", b"DSDT"]);
    }
}
