//! A driver that does anything at all to the queues of every virtio device.
//!
//! Whatever it does: nothing panics, no work is without end (libFuzzer's -timeout), ROM stays as it is, and every byte of memory that
//! changes is one that a recording would hold.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex};
use tempfile::NamedTempFile;
use trapline_formats::memory::page_hash;
use trapline_formats::{Event, Gpa, MemoryRegion};
use trapline_machine::Memory;
use trapline_recorder::devices::virtio::disk::Disk;
use trapline_recorder::devices::virtio::net::{Counts, LONGEST, Link};
use trapline_recorder::devices::virtio::{Config, Slots};
use trapline_recorder::platform::Time;
use trapline_recorder::transfer::Transfers;

/// RAM, ROM, and RAM again, without a gap.
const MEMORY: [MemoryRegion; 3] = [
    MemoryRegion { gpa: 0, bytes: 0x4000, readonly: false },
    MemoryRegion { gpa: 0x4000, bytes: 0x1000, readonly: true },
    MemoryRegion { gpa: 0x5000, bytes: 0x3000, readonly: false },
];
const BYTES: usize = 0x8000;
const QUEUES: u32 = 2;
const SIZE: u16 = 8;

static IMAGE: LazyLock<(NamedTempFile, Vec<u8>)> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..0x4000u32).map(|at| (at / 512 + at) as u8).collect();
    let file = NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &bytes).expect("a disk image");
    (file, bytes)
});

/// What a driver does. Most of it is what an honest one does too, so that inputs get beyond the first check.
#[derive(Arbitrary, Debug)]
enum Step {
    /// Resets a device, agrees with it and shows it its queues.
    Begin { slot: u8 },
    /// Describes a buffer.
    Describe { slot: u8, queue: bool, index: u8, gpa: u16, length: u16, next: u8, flags: u8 },
    /// The same, with nothing in range.
    DescribeAnything { slot: u8, queue: bool, index: u8, bytes: [u8; 16] },
    /// Puts a chain into a queue, and notifies.
    Offer { slot: u8, queue: bool, head: u8 },
    /// Writes to memory.
    Put { gpa: u16, bytes: [u8; 4] },
    /// Writes the header of a request to a disk.
    AskDisk { gpa: u16, kind: u8, sector: u8 },
    /// Writes a register.
    Set { slot: u8, register: u8, value: u32 },
    /// Reads a register.
    Get { slot: u8, offset: u16, bytes: u8 },
    /// Somebody types.
    Type { bytes: [u8; 3] },
    /// A frame comes.
    Frame { bytes: u16 },
    /// Goes on running.
    Run,
}

/// A network that says what it is told to say.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl Network {
    fn frames(&self) -> std::sync::MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.0.lock().expect("one thread")
    }
}

impl Link for Network {
    fn send(&mut self, frame: &[u8]) {
        assert!((14..=LONGEST).contains(&frame.len()));
    }

    fn has_frame(&self) -> bool {
        !self.frames().is_empty()
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.frames().pop_front()
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }
}

struct Driver {
    memory: Memory,
    slots: Slots,
    network: Network,
}

/// Where the rings of a queue are: table, ring of the driver, ring of the device.
fn rings(slot: u8, queue: u32) -> [u64; 3] {
    let at = (u64::from(slot % 4) * u64::from(QUEUES) + u64::from(queue)) * 0x100;
    [at, at + 0x80, at + 0xA0]
}

impl Driver {
    fn new() -> Self {
        let disk = Disk::open(IMAGE.0.path(), false, false).expect("the image is there");
        let network = Network::default();
        let config = Config {
            disks: vec![disk],
            console: true,
            entropy_seed: Some(1),
            net: Some(Box::new(network.clone())),
        };
        Self { memory: Memory::new(&MEMORY).expect("memory"), slots: Slots::new(config), network }
    }

    fn set(&mut self, slot: u8, register: u64, value: u32) {
        self.slots.write(Time(0), (usize::from(slot % 5), register), &value.to_le_bytes());
    }

    fn put(&self, gpa: u64, bytes: &[u8]) {
        // As the guest's own instructions would: not into ROM.
        if gpa + bytes.len() as u64 <= 0x4000 || gpa >= 0x5000 {
            let _ = self.memory.write(Gpa(gpa), bytes);
        }
    }

    fn begin(&mut self, slot: u8) {
        for (register, value) in [(0x070, 0), (0x070, 3), (0x024, 1), (0x020, 1), (0x070, 11)] {
            self.set(slot, register, value);
        }
        for queue in 0..QUEUES {
            self.set(slot, 0x030, queue);
            self.set(slot, 0x038, SIZE.into());
            for (register, gpa) in [0x080, 0x090, 0x0A0].into_iter().zip(rings(slot, queue)) {
                self.set(slot, register, gpa as u32);
                self.set(slot, register + 4, 0);
                if register != 0x080 {
                    self.put(gpa, &[0; 4]);
                }
            }
            self.set(slot, 0x044, 1);
        }
        self.set(slot, 0x070, 15);
    }

    fn offer(&mut self, slot: u8, queue: u32, head: u8) {
        let ring = rings(slot, queue)[1];
        let mut index = [0; 2];
        self.memory.read(Gpa(ring + 2), &mut index).expect("rings are in RAM");
        let index = u16::from_le_bytes(index);
        self.put(ring + 4 + 2 * u64::from(index % SIZE), &u16::from(head).to_le_bytes());
        self.put(ring + 2, &index.wrapping_add(1).to_le_bytes());
        self.set(slot, 0x050, queue);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Begin { slot } => self.begin(slot),
            Step::Describe { slot, queue, index, gpa, length, next, flags } => {
                let (gpa, length) = (u64::from(gpa) % BYTES as u64, u32::from(length) % 0x900);
                let flags = u16::from(flags & 7);
                let next = u16::from(next % SIZE as u8);
                let bytes = [
                    &gpa.to_le_bytes()[..],
                    &length.to_le_bytes(),
                    &flags.to_le_bytes(),
                    &next.to_le_bytes(),
                ];
                let at = rings(slot, queue.into())[0] + 16 * u64::from(index % SIZE as u8);
                self.put(at, &bytes.concat());
            }
            Step::DescribeAnything { slot, queue, index, bytes } => {
                self.put(rings(slot, queue.into())[0] + 16 * u64::from(index % SIZE as u8), &bytes);
            }
            Step::Offer { slot, queue, head } => self.offer(slot, queue.into(), head),
            Step::Put { gpa, bytes } => self.put(u64::from(gpa), &bytes),
            Step::AskDisk { gpa, kind, sector } => {
                let header =
                    [&u32::from(kind % 10).to_le_bytes()[..], &[0; 4], &u64::from(sector).to_le_bytes()];
                self.put(u64::from(gpa) % BYTES as u64, &header.concat());
            }
            Step::Set { slot, register, value } => self.set(slot, u64::from(register) * 4, value),
            Step::Get { slot, offset, bytes } => {
                let mut data = [0; 8];
                let data = &mut data[..usize::from(bytes % 9)];
                self.slots.read((usize::from(slot % 5), u64::from(offset) % 0x1000), data);
            }
            Step::Type { bytes } => drop(self.slots.type_in(&bytes)),
            Step::Frame { bytes } => {
                let length = 14 + usize::from(bytes) % (LONGEST - 13);
                self.network.frames().push_back(vec![bytes as u8; length]);
            }
            Step::Run => {}
        }
    }

    fn look(&self) -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        self.memory.read(Gpa(0), &mut bytes).expect("all of memory");
        bytes
    }

    /// Lets the devices work, and compares what they did with what a recording would say.
    fn work(&mut self) {
        if !self.slots.has_work() {
            return;
        }
        let mut expected = self.look();
        let mut events = Vec::new();
        self.slots.work(&mut Transfers::listed(&self.memory, &mut events));
        for event in &events {
            let (gpa, bytes) = match event {
                Event::MemoryWrite { gpa, bytes } => (*gpa, &bytes[..]),
                Event::FileRead { gpa, offset, length, xxh3, .. } => {
                    let bytes = &IMAGE.1[*offset as usize..][..*length as usize];
                    assert_eq!(page_hash(bytes), *xxh3);
                    (*gpa, bytes)
                }
                other => panic!("devices do not make {other:?}"),
            };
            let end = gpa + bytes.len() as u64;
            assert!(end <= 0x4000 || gpa >= 0x5000, "{event:?} is not in RAM");
            expected[gpa as usize..end as usize].copy_from_slice(bytes);
        }
        assert!(
            self.look() == expected,
            "something was written that the recording does not hold: {events:?}"
        );
        if let Some(output) = self.slots.output() {
            output.clear();
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let mut driver = Driver::new();
    for step in steps {
        driver.step(step);
        driver.work();
    }
});
