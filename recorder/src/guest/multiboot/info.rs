//! The structure that tells a multiboot kernel what it has (Multiboot Specification 0.6.96, 3.3).

use crate::guest::memory_map::{RAM, Row};
use trapline_formats::Gpa;

/// The structure's own bytes: up to the fields about APM and VBE, which are not there.
const INFO_BYTES: u64 = 72;
const LOADER: &[u8] = b"Trapline\0";
const ONE_MIB: u64 = 1 << 20;

// Which fields are valid.
const MEMORY: u32 = 1;
const CMDLINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const MEMORY_MAP: u32 = 1 << 6;
const LOADER_NAME: u32 = 1 << 9;

/// A module in memory.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// Its first address.
    pub start: u64,
    /// The first address after it.
    pub end: u64,
    /// The text that goes with it.
    pub text: String,
}

/// The structure at `at`, with the memory map and the loader's name behind it; and the command line at `texts`, with the
/// modules' list and texts behind it.
pub(super) fn build(
    at: u64,
    texts: u64,
    cmdline: &str,
    modules: &[Placed],
    map: &[Row],
) -> Vec<(Gpa, Vec<u8>)> {
    let rows = memory_map(map);
    let (map_at, name_at) = (at + INFO_BYTES, at + INFO_BYTES + rows.len() as u64);
    let mut strings = Vec::new();
    let cmdline_at = put(&mut strings, texts, cmdline);
    let text_at: Vec<u64> = modules.iter().map(|m| put(&mut strings, texts, &m.text)).collect();
    strings.resize(strings.len().next_multiple_of(4), 0);
    let list_at = texts + strings.len() as u64;
    strings.extend(modules.iter().zip(text_at).flat_map(|(m, text)| words(&[m.start, m.end, text, 0])));
    let (lower, upper) = sizes(map);
    let flags = MEMORY | CMDLINE | MODULES | MEMORY_MAP | LOADER_NAME;
    // Flags, lower and upper memory, boot device, command line, modules, symbols (4), memory map, drives (2), ROM
    // configuration, loader, APM.
    let mut info = words(&[u64::from(flags), lower, upper, 0, cmdline_at, modules.len() as u64, list_at]);
    info.extend(words(&[0, 0, 0, 0, rows.len() as u64, map_at, 0, 0, 0, name_at, 0]));
    info.extend(rows);
    info.extend(LOADER);
    vec![(Gpa(at), info), (Gpa(texts), strings)]
}

/// Appends a text and its final zero; returns its address.
fn put(strings: &mut Vec<u8>, base: u64, text: &str) -> u64 {
    let at = base + strings.len() as u64;
    strings.extend(text.as_bytes());
    strings.push(0);
    at
}

/// All of these lie below 4 GiB.
fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect()
}

/// The rows, each after its size, which does not count itself.
fn memory_map(map: &[Row]) -> Vec<u8> {
    let row = |&(start, bytes, kind): &Row| {
        let mut row = words(&[20]);
        row.extend(start.to_le_bytes());
        row.extend(bytes.to_le_bytes());
        row.extend(kind.to_le_bytes());
        row
    };
    map.iter().flat_map(row).collect()
}

/// KiBs of RAM from address 0, and from 1 MiB up to the first hole.
fn sizes(map: &[Row]) -> (u64, u64) {
    let ram_at =
        |address| map.iter().find(|row| row.0 == address && row.2 == RAM).map_or(0, |row| row.1 >> 10);
    (ram_at(0), ram_at(ONE_MIB))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{memory_map, ram_regions};

    #[test]
    fn the_structure_says_what_there_is_and_where() {
        let map = memory_map::of(&ram_regions(4 << 20).unwrap());
        let module = |start, end, text: &str| Placed { start, end, text: text.into() };
        let modules = [module(0x20_0000, 0x20_0003, "one"), module(0x20_1000, 0x20_1001, "")];
        let pieces = build(0x7000, 0x2_0000, "a line", &modules, &map);
        let byte = |at: u32| {
            let (gpa, bytes) = pieces.iter().rev().find(|(gpa, _)| gpa.0 <= u64::from(at)).unwrap();
            bytes.get((u64::from(at) - gpa.0) as usize).copied().unwrap_or(0xff)
        };
        let word = |at: u32| u32::from_le_bytes([0, 1, 2, 3].map(|i| byte(at + i)));
        let text = |at: u32| {
            let bytes = (at..at + 32).map(byte).take_while(|b| *b != 0).collect();
            String::from_utf8(bytes).unwrap()
        };
        let field = |offset: u32| word(0x7000 + offset);
        assert_eq!(field(0), 0b10_0100_1101);
        assert_eq!((field(4), field(8)), (639, 3072));
        assert_eq!((text(field(16)), text(field(64))), ("a line".into(), "Trapline".into()));
        assert_eq!((field(20), field(24) % 4), (2, 0));
        let list = field(24);
        assert_eq!((word(list), word(list + 4), text(word(list + 8))), (0x20_0000, 0x20_0003, "one".into()));
        assert_eq!((word(list + 16), text(word(list + 24))), (0x20_1000, String::new()));
        assert_eq!(field(44), 3 * 24);
        let row = |n: u32| (0..6).map(|i| word(field(48) + n * 24 + i * 4)).collect::<Vec<_>>();
        assert_eq!(row(0), [20, 0, 0, 0x9_fc00, 0, 1]);
        assert_eq!(row(1), [20, 0xe_0000, 0, 0x2_0000, 0, 2]);
        assert_eq!(row(2), [20, 0x10_0000, 0, 0x30_0000, 0, 1]);
    }
}
