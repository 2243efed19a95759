//! A driver of our own against the devices: an honest one, and hostile ones.

use super::disk::Disk;
use super::driver::{AVAIL, DATA, Driver, NEXT, RAM, ROM, SIZE, STATUS, TABLE, USED, WRITE, image};
use super::{ADDRESS, Config, IRQS, LENGTH, Slots};
use crate::transfer::Transfers;
use proptest::prelude::*;
use std::io::Write;

#[test]
fn a_driver_finds_the_device_and_an_empty_slot() {
    let image = image();
    let driver = Driver::disk(&image, true);
    assert_eq!([0, 4, 8].map(|r| driver.get(r)), [0x7472_6976, 2, 2]);
    let mut capacity = [0; 8];
    driver.slots.read((0, 0x100), &mut capacity);
    assert_eq!(u64::from_le_bytes(capacity), 8);
    let mut id = [0xFF; 4];
    driver.slots.read((1, 8), &mut id);
    assert_eq!(id, [0; 4], "a placeholder has no number");
    assert_eq!(Slots::place(ADDRESS + LENGTH * IRQS.len() as u64), None);
    assert_eq!(Slots::place(ADDRESS + LENGTH + 4), Some((1, 4)));
}

#[test]
fn features_that_were_not_offered_are_refused() {
    let image = image();
    let mut driver = Driver::disk(&image, false);
    driver.set(STATUS, 0);
    driver.set(0x024, 0);
    driver.set(0x020, 1 << 5);
    driver.set(STATUS, 3 | 8);
    assert_eq!(driver.get(STATUS), 3, "neither version 1, nor was the disk offered as read-only");
}

#[test]
fn what_is_written_is_read_again_and_the_image_stays_as_it_was() {
    let image = image();
    let mut driver = Driver::disk(&image, false);
    assert_eq!(driver.request(0, 3, 1024), (0, 1025));
    assert_eq!(driver.look::<1024>(DATA)[510..514], [3, 3, 4, 4]);
    driver.put(DATA, &[0xAB; 512]);
    assert_eq!(driver.request(1, 3, 512), (0, 1));
    driver.put(DATA, &[0; 2048]);
    assert_eq!(driver.request(0, 2, 1536), (0, 1537));
    assert_eq!([0, 512, 1024].map(|at| driver.look::<1>(DATA + at)[0]), [2, 0xAB, 4]);
    assert_eq!(driver.request(4, 0, 0), (0, 1), "flush");
    assert_eq!(std::fs::read(image.path()).unwrap()[3 * 512], 3);
    assert!(!driver.is_broken());
    assert_eq!(driver.get(0x060), 1);
    driver.set(0x064, 1);
    assert_eq!(driver.get(0x060), 0);
    assert!(driver.slots.lines().into_iter().all(|(_, level)| !level));
}

#[test]
fn requests_that_cannot_be_served_fail_by_their_status() {
    let image = image();
    let mut driver = Driver::disk(&image, true);
    for (kind, sector, length, status) in [
        (1, 0, 512, 1),
        (0, 7, 1024, 1),
        (0, u64::MAX, 512, 1),
        (0, 1 << 55, 512, 1),
        (0, 0, 100, 1),
        (77, 0, 512, 2),
    ] {
        assert_eq!(driver.request(kind, sector, length), (status, 1), "{kind} {sector:#x} {length}");
    }
    assert_eq!(driver.request(8, 0, 20), (0, 21));
    assert_eq!(&driver.look::<14>(DATA), b"trapline-disk0");
}

#[test]
fn an_image_that_somebody_writes_to_is_noticed() {
    let mut image = image();
    let disk = Disk::open(image.path(), false, false).unwrap();
    assert_eq!(disk.change(), None);
    image.as_file_mut().write_all(&[0; 512]).unwrap();
    let change = disk.change().unwrap();
    assert!(change.contains("it had 4096 bytes and has 4608 now"), "{change}");
    let same_size = self::image();
    let disk = Disk::open(same_size.path(), false, false).unwrap();
    std::fs::write(same_size.path(), [9; 4096]).unwrap();
    let change = disk.change().unwrap();
    assert!(change.contains("was written to"), "{change}");
}

#[test]
fn entropy_fills_the_buffer_and_follows_from_its_seed() {
    let random = |seed| {
        let mut driver = Driver::new(Slots::new(Config { entropy_seed: Some(seed), ..Config::default() }));
        driver.describe(0, DATA, 64, WRITE, 0);
        driver.offer(0);
        driver.look::<64>(DATA)
    };
    assert_eq!(random(1), random(1));
    assert_ne!(random(1), random(2));
    assert_ne!(random(1), [0; 64]);
}

#[test]
fn a_console_prints_and_then_gives_what_was_typed() {
    let mut driver = Driver::new(Slots::new(Config { console: true, ..Config::default() }));
    assert_eq!(driver.slots.type_in(b"typed"), Some(5));
    driver.describe(0, DATA, 3, WRITE, 0);
    driver.offer(0);
    assert!(!driver.slots.has_work(), "nobody has printed yet");

    driver.set(0x030, 1);
    for (register, address) in [(0x080, TABLE), (0x090, AVAIL + 0x100), (0x0A0, USED + 0x100)] {
        driver.set(register, address as u32);
    }
    driver.set(0x038, SIZE.into());
    driver.set(0x044, 1);
    driver.put(DATA + 0x100, b"said");
    driver.describe(1, DATA + 0x100, 4, 0, 0);
    driver.put(AVAIL + 0x104, &[1, 0]);
    driver.put(AVAIL + 0x102, &[1, 0]);
    driver.set(0x050, 1);
    driver.slots.work(&mut Transfers::unlogged(&driver.memory));
    assert_eq!(driver.slots.output().unwrap(), b"said");
    assert_eq!(driver.look::<2>(USED + 0x102), [1, 0]);

    assert_eq!(&driver.look::<4>(DATA), b"typ\0");
    assert!(!driver.slots.has_work(), "the driver has given no other buffer");
    driver.offer(0);
    assert_eq!(&driver.look::<3>(DATA), b"edp");
    assert_eq!(driver.slots.type_in(&[b'x'; 10_000]), Some(4096), "the rest is offered again");
}

/// What a hostile driver does, by a name.
type Attack = (&'static str, fn(&mut Driver));

const ATTACKS: &[Attack] = &[
    ("a loop of descriptors", |d| {
        d.describe(0, DATA, 4 << 20, NEXT, 1);
        d.describe(1, DATA, 4 << 20, NEXT, 0);
        d.offer(0);
    }),
    ("a buffer behind memory", |d| {
        d.describe(0, RAM + 0x1000, 16, 0, 0);
        d.offer(0);
    }),
    ("a buffer that wraps around", |d| {
        d.describe(0, u64::MAX - 8, 16, 0, 0);
        d.offer(0);
    }),
    ("a length of four gigabytes", |d| {
        d.describe(0, DATA, u32::MAX, WRITE, 0);
        d.offer(0);
    }),
    ("a buffer in ROM", |d| {
        d.describe(0, DATA, 16, NEXT, 1);
        d.describe(1, ROM, 513, WRITE, 0);
        d.offer(0);
    }),
    ("a buffer that ends in ROM", |d| {
        d.describe(0, DATA, 16, NEXT, 1);
        d.describe(1, ROM - 8, 513, WRITE, 0);
        d.offer(0);
    }),
    ("a head that is no descriptor", |d| d.offer(SIZE)),
    ("more requests than the queue holds", |d| {
        d.put(AVAIL + 2, &(SIZE + 1).to_le_bytes());
        d.notify();
    }),
    ("a buffer to read behind one to write", |d| {
        d.describe(0, DATA, 513, NEXT | WRITE, 1);
        d.describe(1, DATA, 16, 0, 0);
        d.offer(0);
    }),
    ("no room for the status", |d| {
        d.describe(0, DATA, 16, 0, 0);
        d.offer(0);
    }),
    ("a status of no bytes", |d| {
        d.describe(0, DATA, 16, NEXT, 1);
        d.describe(1, DATA, 0, WRITE, 0);
        d.offer(0);
    }),
    ("a header that is too short", |d| {
        d.describe(0, DATA, 15, NEXT, 1);
        d.describe(1, DATA, 1, WRITE, 0);
        d.offer(0);
    }),
    ("a used ring in ROM", |d| {
        d.begin([TABLE, AVAIL, ROM]);
        d.describe(0, DATA, 16, 0, 0);
        d.offer(0);
    }),
    ("a table behind memory", |d| {
        d.begin([RAM + 0x1000, AVAIL, USED]);
        d.notify();
    }),
    ("a queue of no size", |d| {
        d.set(0x038, 0);
        d.set(0x044, 0);
        d.notify();
    }),
];

#[test]
fn whatever_a_hostile_driver_does_the_device_asks_for_a_reset_and_works_after_it() {
    for (name, attack) in ATTACKS {
        let image = image();
        let mut driver = Driver::disk(&image, false);
        attack(&mut driver);
        assert!(driver.is_broken(), "{name}");
        assert!(!driver.slots.has_work(), "{name}: it does nothing more");
        driver.put(USED, &[0; 128]);
        driver.begin([TABLE, AVAIL, USED]);
        assert_eq!(driver.request(0, 5, 512), (0, 513), "{name}: after a reset");
    }
}

proptest! {
    #[test]
    fn no_bytes_in_the_rings_make_a_device_panic_or_write_into_rom(
        table: [[u8; 16]; 8],
        avail: [u8; 20],
        near in any::<bool>(),
        writes in prop::collection::vec((0u64..0x120, any::<u32>()), 0..20),
    ) {
        let image = image();
        let mut driver = Driver::disk(&image, false);
        for (mut descriptor, at) in table.into_iter().zip((TABLE..).step_by(16)) {
            if near {
                // Inside of memory, of some length: the way to what comes behind the checks.
                descriptor[3..8].fill(0);
                descriptor[2] &= 0xF;
                descriptor[10..12].fill(0);
                descriptor[14] &= 7;
                descriptor[15] = 0;
            }
            driver.put(at, &descriptor);
        }
        driver.put(AVAIL, &avail);
        if near {
            driver.put(AVAIL + 2, &[5, 0]);
        }
        for (register, value) in writes {
            driver.set(register, value);
        }
        driver.notify();
        prop_assert_eq!(driver.look::<4096>(ROM), [0; 4096]);
    }
}
