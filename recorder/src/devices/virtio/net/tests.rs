//! The card under an honest driver and hostile ones.

use super::super::driver::{AVAIL, DATA, Driver, NEXT, RAM, ROM, SIZE, TABLE, USED, WRITE};
use super::super::{Config, Slots};
use super::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// A network that holds frames for the guest and keeps what it says.
#[derive(Clone, Default)]
struct Cable {
    to_guest: Arc<Mutex<VecDeque<Vec<u8>>>>,
    from_guest: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Link for Cable {
    fn send(&mut self, frame: &[u8]) {
        self.from_guest.lock().unwrap().push(frame.to_vec());
    }

    fn has_frame(&self) -> bool {
        !self.to_guest.lock().unwrap().is_empty()
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.to_guest.lock().unwrap().pop_front()
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }
}

/// A driver of one of the two queues.
fn driver(cable: &Cable, queue: usize) -> Driver {
    let config = Config { net: Some(Box::new(cable.clone())), ..Config::default() };
    let mut driver = Driver::new(Slots::new(config));
    driver.queue = queue as u32;
    driver.begin([TABLE, AVAIL, USED]);
    driver
}

fn frame(length: usize) -> Vec<u8> {
    (0..length).map(|n| n as u8).collect()
}

const SEND: usize = 1;
const WHOLE: u32 = (HEADER + LONGEST) as u32;

#[test]
fn a_driver_finds_its_address() {
    let driver = driver(&Cable::default(), SEND);
    let mut address = [0; 6];
    driver.slots.read((0, 0x100), &mut address);
    assert_eq!((driver.get(8), address), (1, GUEST_MAC));
    assert_eq!(address[0] & 3, 2, "one station, locally administered");
}

#[test]
fn a_frame_is_sent_without_its_header_from_however_many_buffers() {
    let cable = Cable::default();
    let mut driver = driver(&cable, SEND);
    let sent = [vec![0; HEADER], frame(100)].concat();
    driver.put(DATA, &sent);
    driver.describe(0, DATA, 5, NEXT, 1);
    driver.describe(1, DATA + 5, 20, NEXT, 2);
    driver.describe(2, DATA + 25, 87, 0, 0);
    driver.offer(0);
    assert_eq!(*cable.from_guest.lock().unwrap(), [frame(100)]);
    assert_eq!(driver.look::<8>(USED + 4), [0; 8], "nothing was written");
    assert_eq!(driver.slots.net().unwrap().counts().sent, 1);
}

#[test]
fn frames_wait_for_buffers_and_are_given_with_a_header() {
    let cable = Cable::default();
    let mut driver = driver(&cable, RECEIVE);
    cable.to_guest.lock().unwrap().extend([frame(LONGEST), frame(20)]);
    assert!(!driver.slots.has_work(), "the driver has given no buffer");
    driver.describe(0, DATA, 10, WRITE | NEXT, 1);
    driver.describe(1, DATA + 10, 2000, WRITE, 0);
    driver.offer(0);
    assert_eq!(driver.look::<12>(DATA), ONE_BUFFER);
    assert!(driver.look::<LONGEST>(DATA + 12)[..] == frame(LONGEST)[..]);
    assert_eq!(u32::from_le_bytes(driver.look(USED + 8)), WHOLE);
    assert!(!driver.slots.has_work(), "there is no other buffer");
    driver.offer(0);
    assert_eq!(driver.look::<20>(DATA + 12)[..], frame(20)[..]);
    assert_eq!(u32::from_le_bytes(driver.look(USED + 16)), 32);
    assert_eq!(driver.slots.net().unwrap().counts().received, 2);
    driver.offer(0);
    assert!(!driver.slots.has_work() && !driver.is_broken(), "there is no other frame");
}

#[test]
fn frames_of_impossible_lengths_are_counted_and_not_sent() {
    let cable = Cable::default();
    let mut driver = driver(&cable, SEND);
    for length in [HEADER as u32, HEADER as u32 + 13, WHOLE + 1, 0x10000] {
        driver.describe(0, DATA, length, 0, 0);
        driver.offer(0);
    }
    assert!(cable.from_guest.lock().unwrap().is_empty() && !driver.is_broken());
    assert_eq!(driver.slots.net().unwrap().counts().malformed, 4);
}

/// What a hostile driver does: a name, to which queue, and how.
type Attack = (&'static str, usize, fn(&mut Driver));

const ATTACKS: &[Attack] = &[
    ("a loop of descriptors", SEND, |d| {
        d.describe(0, DATA, 4 << 20, NEXT, 1);
        d.describe(1, DATA, 4 << 20, NEXT, 0);
        d.offer(0);
    }),
    ("a loop of small buffers", RECEIVE, |d| {
        d.describe(0, DATA, 1, NEXT | WRITE, 0);
        d.offer(0);
    }),
    ("a frame behind memory", SEND, |d| {
        d.describe(0, RAM + 0x1000, 64, 0, 0);
        d.offer(0);
    }),
    ("a length of four gigabytes", SEND, |d| {
        d.describe(0, DATA, u32::MAX, 0, 0);
        d.offer(0);
    }),
    ("lengths that overflow together", SEND, |d| {
        d.describe(0, DATA, 1 << 31, NEXT, 1);
        d.describe(1, DATA, 1 << 31, NEXT, 2);
        d.describe(2, DATA, 26, 0, 0);
        d.offer(0);
    }),
    ("a header that is too short", SEND, |d| {
        d.describe(0, DATA, 11, 0, 0);
        d.offer(0);
    }),
    ("a buffer for what is sent that the device shall write", SEND, |d| {
        d.describe(0, DATA, 64, WRITE, 0);
        d.offer(0);
    }),
    ("no room for the longest frame", RECEIVE, |d| {
        d.describe(0, DATA, WHOLE - 1, WRITE, 0);
        d.offer(0);
    }),
    ("a buffer of no bytes", RECEIVE, |d| {
        d.describe(0, DATA, 0, WRITE, 0);
        d.offer(0);
    }),
    ("something to read where frames are received", RECEIVE, |d| {
        d.describe(0, DATA, 64, NEXT, 1);
        d.describe(1, DATA, 2000, WRITE, 0);
        d.offer(0);
    }),
    ("a buffer in ROM", RECEIVE, |d| {
        d.describe(0, ROM, 2000, WRITE, 0);
        d.offer(0);
    }),
    ("a buffer that reaches into ROM", RECEIVE, |d| {
        d.describe(0, ROM - 1000, 2000, WRITE, 0);
        d.offer(0);
    }),
    ("a used ring in ROM", RECEIVE, |d| {
        d.begin([TABLE, AVAIL, ROM]);
        d.describe(0, DATA, 2000, WRITE, 0);
        d.offer(0);
    }),
    ("a used ring over the buffer's own descriptor", RECEIVE, |d| {
        d.begin([TABLE, AVAIL, TABLE]);
        d.describe(0, DATA, 2000, WRITE, 0);
        d.offer(0);
        d.offer(0);
    }),
    ("more buffers than the queue holds", RECEIVE, |d| {
        d.put(AVAIL + 2, &(SIZE + 1).to_le_bytes());
        d.notify();
    }),
    ("a head that is no descriptor", RECEIVE, |d| d.offer(SIZE)),
];

#[test]
fn whatever_a_hostile_driver_does_the_card_asks_for_a_reset_and_works_after_it() {
    for (name, queue, attack) in ATTACKS {
        let cable = Cable::default();
        let mut driver = driver(&cable, *queue);
        cable.to_guest.lock().unwrap().extend([frame(64), frame(64), frame(64)]);
        attack(&mut driver);
        assert!(driver.is_broken(), "{name}");
        assert!(!driver.slots.has_work(), "{name}: it does nothing more");
        assert!(cable.from_guest.lock().unwrap().is_empty(), "{name}");
        assert_eq!(driver.look::<4096>(ROM), [0; 4096], "{name}");
        driver.put(USED, &[0; 128]);
        driver.put(AVAIL, &[0; 32]);
        driver.begin([TABLE, AVAIL, USED]);
        driver.describe(0, DATA, 2000, if *queue == RECEIVE { WRITE } else { 0 }, 0);
        driver.offer(0);
        assert_eq!(driver.look::<2>(USED + 2), [1, 0], "{name}: after a reset");
    }
}

#[test]
fn buffers_that_all_lie_on_each_other_harm_the_guest_alone() {
    let cable = Cable::default();
    let mut driver = driver(&cable, RECEIVE);
    cable.to_guest.lock().unwrap().extend((0..100).map(|n| frame(60 + n)));
    // Eight times the same buffer, which lies on the ring that offers it.
    driver.describe(0, AVAIL, 2000, WRITE, 0);
    driver.put(AVAIL + 2, &SIZE.to_le_bytes());
    driver.notify();
    assert_eq!(driver.look::<4096>(ROM), [0; 4096]);
    assert!(cable.to_guest.lock().unwrap().len() >= 100 - usize::from(SIZE));
}
