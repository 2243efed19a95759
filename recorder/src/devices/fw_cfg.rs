//! QEMU's firmware configuration device, `fw_cfg` (QEMU `docs/specs/fw_cfg.rst`), at ports 0x510 (selector) and 0x511
//! (data): the traditional interface without DMA.
//!
//! It holds what makes `SeaBIOS` (`src/fw/paravirt.c`, `src/boot.c`, `src/sercon.c`) show its screen on COM1, take the memory
//! map from here, and stop at "No bootable device." at once instead of retrying for ever.

use std::collections::BTreeMap;

/// Item keys (`fw_cfg.rst`, "Selector (Control) Register" and `SeaBIOS`'s list in `paravirt.c`).
mod key {
    pub const SIGNATURE: u16 = 0x00;
    pub const ID: u16 = 0x01;
    pub const RAM_SIZE: u16 = 0x03;
    pub const NO_GRAPHIC: u16 = 0x04;
    pub const CPUS: u16 = 0x05;
    pub const BOOT_MENU: u16 = 0x0E;
    pub const MAX_CPUS: u16 = 0x0F;
    pub const FILE_DIRECTORY: u16 = 0x19;
    /// The first of the files.
    pub const FIRST_FILE: u16 = 0x20;
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
}

/// Interface version: traditional, without DMA.
const ID_TRADITIONAL: u32 = 1;
/// Type of an e820 entry: usable memory (ACPI Specification 6.5, table 15.4).
const E820_RAM: u32 = 1;
const FOUR_GIB: u64 = 1 << 32;
/// Bytes of a name in the file directory, with its terminating zero.
const NAME_BYTES: usize = 56;

/// What it holds beside a PC's own.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Items by their keys.
    pub items: Vec<(u16, Vec<u8>)>,
    /// What is tried to boot from, in this order: paths of Open Firmware, as `SeaBIOS` makes them (`src/boot.c`).
    pub boots: Vec<String>,
    /// Files; one of the same name as one of the PC's replaces it. Names longer than 55 bytes are cut.
    pub files: Vec<(String, Vec<u8>)>,
}

/// The device.
#[derive(Debug)]
pub struct FwCfg {
    items: BTreeMap<u16, Vec<u8>>,
    selected: Vec<u8>,
    position: usize,
}

impl FwCfg {
    /// The device of a machine with one CPU, and this much RAM below the PCI hole and above 4 GiB.
    pub fn new(below_4g: u64, above_4g: u64, contents: Contents) -> Self {
        let mut items: BTreeMap<_, _> = contents.items.into_iter().collect();
        items.insert(key::SIGNATURE, b"QEMU".to_vec());
        items.insert(key::ID, ID_TRADITIONAL.to_le_bytes().to_vec());
        items.insert(key::RAM_SIZE, below_4g.saturating_add(above_4g).to_le_bytes().to_vec());
        items.insert(key::NO_GRAPHIC, vec![1, 0]);
        items.insert(key::CPUS, vec![1, 0]);
        items.insert(key::MAX_CPUS, vec![1, 0]);
        // SeaBIOS makes this its file etc/show-boot-menu.
        items.insert(key::BOOT_MENU, vec![0, 0]);
        items.insert(key::IRQ0_OVERRIDE, vec![1]);

        let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::from([
            ("etc/e820".into(), e820(below_4g, above_4g)),
            ("etc/sercon-port".into(), 0x3F8u16.to_le_bytes().to_vec()),
            ("bootorder".into(), boot_order(contents.boots)),
            // All ones: never try again (SeaBIOS src/boot.c, BootRetryTime).
            ("etc/boot-fail-wait".into(), u32::MAX.to_le_bytes().to_vec()),
        ]);
        all.extend(contents.files);
        let mut directory = (all.len() as u32).to_be_bytes().to_vec();
        // Keys from FIRST_FILE up to the architecture's own at 0x8000.
        for (file_key, (name, content)) in (key::FIRST_FILE..0x8000).zip(all) {
            directory.extend((content.len() as u32).to_be_bytes());
            directory.extend(file_key.to_be_bytes());
            directory.extend([0; 2]);
            let mut field = [0; NAME_BYTES];
            for (to, from) in field.iter_mut().zip(name.bytes().take(NAME_BYTES - 1)) {
                *to = from;
            }
            directory.extend(field);
            items.insert(file_key, content);
        }
        items.insert(key::FILE_DIRECTORY, directory);
        Self { items, selected: b"QEMU".to_vec(), position: 0 }
    }

    /// Selects an item, from its beginning. An item that does not exist reads as zeros.
    pub fn select(&mut self, key: u16) {
        self.selected.clear();
        if let Some(item) = self.items.get(&key) {
            self.selected.extend_from_slice(item);
        }
        self.position = 0;
    }

    /// Reads the next byte of the selected item; zeros after its end.
    pub fn read_data(&mut self) -> u8 {
        let byte = self.selected.get(self.position).copied().unwrap_or(0);
        self.position = self.position.saturating_add(1);
        byte
    }
}

/// What is tried to boot from, a line each; HALT: nothing else.
fn boot_order(mut boots: Vec<String>) -> Vec<u8> {
    boots.push("HALT\0".into());
    boots.join("\n").into_bytes()
}

/// The memory map: packed entries of address, length, type.
fn e820(below_4g: u64, above_4g: u64) -> Vec<u8> {
    let mut table = Vec::new();
    for (start, length) in [(0, below_4g), (FOUR_GIB, above_4g)] {
        if length > 0 {
            table.extend(start.to_le_bytes());
            table.extend(length.to_le_bytes());
            table.extend(E820_RAM.to_le_bytes());
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(device: &mut FwCfg, key: u16, bytes: usize) -> Vec<u8> {
        device.select(key);
        (0..bytes).map(|_| device.read_data()).collect()
    }

    /// Reads a file the way firmware does: by walking the directory.
    fn file(device: &mut FwCfg, wanted: &str) -> Option<Vec<u8>> {
        let count = item(device, key::FILE_DIRECTORY, 4).iter().fold(0, |n, b| n << 8 | usize::from(*b));
        let entries = item(device, key::FILE_DIRECTORY, 4 + count * 64);
        for entry in entries[4..].chunks(64) {
            if entry[8..].split(|b| *b == 0).next() == Some(wanted.as_bytes()) {
                let size = entry[..4].iter().fold(0, |n, b| n << 8 | usize::from(*b));
                return Some(item(device, u16::from_be_bytes([entry[4], entry[5]]), size));
            }
        }
        None
    }

    #[test]
    fn the_signature_is_there_and_there_is_no_dma() {
        let mut device = FwCfg::new(64 << 20, 0, Contents::default());
        assert_eq!(item(&mut device, key::SIGNATURE, 4), b"QEMU");
        assert_eq!(item(&mut device, key::ID, 4), [1, 0, 0, 0]);
    }

    #[test]
    fn e820_has_the_ram_on_both_sides_of_the_hole() {
        let mut device = FwCfg::new(0xC000_0000, 1 << 30, Contents::default());
        let table = file(&mut device, "etc/e820").unwrap_or_default();
        let number = |at: usize| table[at..at + 8].iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
        assert_eq!(table.len(), 40);
        assert_eq!((number(0), number(8)), (0, 0xC000_0000));
        assert_eq!((number(20), number(28)), (1 << 32, 1 << 30));
    }

    #[test]
    fn seabios_is_told_to_use_com1_and_to_stop_at_once() {
        let mut device = FwCfg::new(64 << 20, 0, Contents::default());
        assert_eq!(file(&mut device, "etc/sercon-port"), Some(vec![0xF8, 0x03]));
        assert_eq!(file(&mut device, "etc/boot-fail-wait"), Some(vec![0xFF; 4]));
        assert_eq!(file(&mut device, "bootorder"), Some(b"HALT\0".to_vec()));
        assert_eq!(item(&mut device, key::BOOT_MENU, 2), [0, 0]);
    }

    #[test]
    fn a_callers_file_is_found_beside_ours_and_may_replace_one() {
        let files = vec![("opt/test".into(), b"hello".to_vec()), ("etc/sercon-port".into(), vec![0, 0])];
        let items = vec![(0x18, b"setup".to_vec())];
        let mut device = FwCfg::new(64 << 20, 0, Contents { items, files, ..Contents::default() });
        assert_eq!(item(&mut device, 0x18, 5), b"setup");
        assert_eq!(file(&mut device, "opt/test"), Some(b"hello".to_vec()));
        assert_eq!(file(&mut device, "etc/sercon-port"), Some(vec![0, 0]));
        assert_eq!(file(&mut device, "opt/absent"), None);
    }

    #[test]
    fn what_is_booted_from_is_tried_in_its_order_and_nothing_else() {
        let boots = vec!["/rom@genroms/a.bin".into(), "/virtio-mmio@d0000000/disk".into()];
        let mut device = FwCfg::new(64 << 20, 0, Contents { boots, ..Contents::default() });
        let order = b"/rom@genroms/a.bin\n/virtio-mmio@d0000000/disk\nHALT\0";
        assert_eq!(file(&mut device, "bootorder"), Some(order.to_vec()));
    }

    #[test]
    fn unknown_items_and_what_lies_after_an_end_are_zeros() {
        let mut device = FwCfg::new(64 << 20, 0, Contents::default());
        assert_eq!(item(&mut device, 0x7777, 3), [0, 0, 0]);
        assert_eq!(item(&mut device, key::CPUS, 4), [1, 0, 0, 0]);
    }
}
