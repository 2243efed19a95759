//! A driver of our own, for tests of the devices.

use super::disk::Disk;
use super::{Config, Slots};
use crate::platform::Time;
use crate::transfer::Transfers;
use std::io::Write;
use tempfile::NamedTempFile;
use trapline_formats::{Gpa, MemoryRegion};
use trapline_machine::Memory;

pub(super) const RAM: u64 = 0x10_0000;
/// ROM right behind it.
pub(super) const ROM: u64 = RAM;
pub(super) const TABLE: u64 = 0x1000;
pub(super) const AVAIL: u64 = 0x2000;
pub(super) const USED: u64 = 0x3000;
pub(super) const DATA: u64 = 0x8000;
pub(super) const SIZE: u16 = 8;

pub(super) const STATUS: u64 = 0x070;
pub(super) const DRIVER_OK: u32 = 1 | 2 | 4 | 8;
pub(super) const NEEDS_RESET: u32 = 64;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;

/// A disk of eight sectors: each byte is the number of its sector.
pub(super) fn image() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for sector in 0..8u8 {
        file.write_all(&[sector; 512]).unwrap();
    }
    file
}

/// A driver with one queue, in the first slot.
pub(super) struct Driver {
    pub(super) memory: Memory,
    pub(super) slots: Slots,
    /// Requests made so far.
    pub(super) made: u16,
    /// The queue that it has.
    pub(super) queue: u32,
}

impl Driver {
    pub(super) fn new(slots: Slots) -> Self {
        let regions = [
            MemoryRegion { gpa: 0, bytes: RAM, readonly: false },
            MemoryRegion { gpa: ROM, bytes: 0x1000, readonly: true },
        ];
        let mut driver = Self { memory: Memory::new(&regions).unwrap(), slots, made: 0, queue: 0 };
        driver.begin([TABLE, AVAIL, USED]);
        driver
    }

    pub(super) fn disk(image: &NamedTempFile, readonly: bool) -> Self {
        let disks = vec![Disk::open(image.path(), readonly, false).unwrap()];
        Self::new(Slots::new(Config { disks, ..Config::default() }))
    }

    pub(super) fn begin(&mut self, rings: [u64; 3]) {
        self.set(STATUS, 0);
        self.set(STATUS, 3);
        self.set(0x024, 1);
        self.set(0x020, 1);
        self.set(STATUS, 11);
        self.set(0x030, self.queue);
        self.set(0x038, SIZE.into());
        for (register, address) in [0x080, 0x090, 0x0A0].into_iter().zip(rings) {
            self.set(register, address as u32);
            self.set(register + 4, (address >> 32) as u32);
        }
        self.set(0x044, 1);
        self.set(STATUS, DRIVER_OK);
        self.made = 0;
    }

    pub(super) fn set(&mut self, register: u64, value: u32) {
        self.slots.write(Time(0), (0, register), &value.to_le_bytes());
    }

    pub(super) fn get(&self, register: u64) -> u32 {
        let mut data = [0; 4];
        self.slots.read((0, register), &mut data);
        u32::from_le_bytes(data)
    }

    pub(super) fn put(&self, gpa: u64, bytes: &[u8]) {
        self.memory.write(Gpa(gpa), bytes).unwrap();
    }

    pub(super) fn look<const N: usize>(&self, gpa: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(Gpa(gpa), &mut bytes).unwrap();
        bytes
    }

    pub(super) fn describe(&self, index: u16, gpa: u64, length: u32, flags: u16, next: u16) {
        let bytes =
            [&gpa.to_le_bytes()[..], &length.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()];
        self.put(TABLE + 16 * u64::from(index), &bytes.concat());
    }

    /// Puts the chain that begins at `head` into the queue, and lets the device work.
    pub(super) fn offer(&mut self, head: u16) {
        self.put(AVAIL + 4 + 2 * u64::from(self.made % SIZE), &head.to_le_bytes());
        self.made += 1;
        self.put(AVAIL + 2, &self.made.to_le_bytes());
        self.notify();
    }

    pub(super) fn notify(&mut self) {
        self.set(0x050, self.queue);
        self.slots.work(&mut Transfers::unlogged(&self.memory));
    }

    /// A request to the disk: returns its status, and the bytes that the used ring says were written.
    pub(super) fn request(&mut self, kind: u32, sector: u64, length: u32) -> (u8, u32) {
        let header = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
        self.put(0x7000, &header);
        let direction = if kind == 1 { 0 } else { WRITE };
        self.describe(0, 0x7000, 16, NEXT, if length == 0 { 2 } else { 1 });
        self.describe(1, DATA, length, NEXT | direction, 2);
        self.describe(2, 0x7100, 1, WRITE, 0);
        self.put(0x7100, &[0xEE]);
        self.offer(0);
        let slot = u64::from((self.made - 1) % SIZE);
        let [id, written] = [0, 4].map(|at| u32::from_le_bytes(self.look(USED + 4 + 8 * slot + at)));
        assert_eq!((id, u16::from_le_bytes(self.look(USED + 2))), (0, self.made));
        let [status] = self.look(0x7100);
        (status, written)
    }

    pub(super) fn is_broken(&self) -> bool {
        let is_broken = self.get(STATUS) & NEEDS_RESET != 0;
        assert_eq!(self.get(0x060) & 2 != 0, is_broken, "it tells its driver");
        is_broken
    }
}
