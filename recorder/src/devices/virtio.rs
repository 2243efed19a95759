//! Virtio devices over MMIO (Virtual I/O Device 1.2). Their queues are handled by `virtio-queue`.
//!
//! There is a fixed number of slots, each with an address and an interrupt line that the ACPI tables name; an empty slot shows a
//! placeholder, which no driver takes. Devices work when the guest stands between two instructions, and what they write into
//! guest memory is logged: [`Transfers`].

pub mod block;
mod config;
pub mod console;
pub mod disk;
pub mod entropy;
pub mod net;
mod request;
mod transport;

use crate::platform::Time;
use crate::timer::StopHandle;
use crate::transfer::Transfers;
use net::Net;
use request::{Broken, Request};
use transport::Transport;
use trapline_formats::GuestFile;

pub use config::{Config, Wanted};
pub use transport::{LENGTH, NAMES};

/// Where the first slot is; the others follow.
pub const ADDRESS: u64 = 0xD000_0000;
/// The interrupt lines of the slots: those of ISA that nothing else has on this PC.
pub const IRQS: [u8; 4] = [5, 10, 11, 7];

/// The device is as virtio 1 has it, not its predecessor (6).
const FEATURE_VERSION_1: u64 = 1 << 32;

/// One kind of device.
trait Device: Send {
    /// Its number (5).
    fn id(&self) -> u32;
    /// What it is called in reports.
    fn name(&self) -> String;
    /// What it offers beside version 1.
    fn features(&self) -> u64 {
        0
    }
    /// The sizes of its queues.
    fn queue_sizes(&self) -> &[u16];
    /// Its configuration space.
    fn configuration(&self) -> &[u8] {
        &[]
    }
    /// The driver says that there is something in a queue.
    fn notified(&mut self, now: Time, queue: usize) {
        let _ = (now, queue);
    }
    /// Whether it can do something with a request of this queue now.
    fn wants(&self, queue: usize) -> bool {
        let _ = queue;
        true
    }
    /// Carries a request out. Returns how many bytes it wrote.
    fn serve(&mut self, queue: usize, request: &Request, memory: &mut Transfers<'_>) -> Result<u32, Broken>;
    /// Forgets what it agreed on with its driver.
    fn reset(&mut self) {}
    /// The disk, where it is one.
    fn disk(&self) -> Option<&disk::Disk> {
        None
    }
    /// The network card, where it is one.
    fn net(&self) -> Option<&Net> {
        None
    }
    /// The same, to be told something.
    fn net_mut(&mut self) -> Option<&mut Net> {
        None
    }
    /// Takes typed bytes, where it is a console: as many as it has room for.
    fn type_in(&mut self, bytes: &[u8]) -> Option<usize> {
        let _ = bytes;
        None
    }
    /// What was printed and not taken yet, where it is a console.
    fn output(&mut self) -> Option<&mut Vec<u8>> {
        None
    }
}

/// All slots.
pub struct Slots {
    slots: Vec<Transport>,
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Slots {
    /// Slots with what there is, and placeholders.
    pub fn new(config: Config) -> Self {
        let mut devices: Vec<Box<dyn Device>> = Vec::new();
        for (disk, number) in config.disks.into_iter().zip(0..) {
            devices.push(Box::new(block::Block::new(disk, number)));
        }
        if config.console {
            devices.push(Box::new(console::Console::default()));
        }
        if let Some(seed) = config.entropy_seed {
            devices.push(Box::new(entropy::Entropy::new(seed)));
        }
        if let Some(link) = config.net {
            devices.push(Box::new(Net::new(link)));
        }
        let mut devices = devices.into_iter();
        Self { slots: IRQS.iter().map(|_| Transport::new(devices.next())).collect() }
    }

    /// Finds the slot at an address, and where inside it.
    pub fn place(gpa: u64) -> Option<(usize, u64)> {
        let offset = gpa.checked_sub(ADDRESS).filter(|o| *o < LENGTH * IRQS.len() as u64)?;
        Some(((offset / LENGTH) as usize, offset % LENGTH))
    }

    /// Reads a register.
    pub fn read(&self, (slot, offset): (usize, u64), data: &mut [u8]) {
        if let Some(transport) = self.slots.get(slot) {
            transport.read(offset, data);
        }
    }

    /// Writes a register.
    pub fn write(&mut self, now: Time, (slot, offset): (usize, u64), data: &[u8]) {
        if let Some(transport) = self.slots.get_mut(slot) {
            transport.write(now, offset, data);
        }
    }

    /// The interrupt lines and their levels.
    pub fn lines(&self) -> [(u8, bool); IRQS.len()] {
        std::array::from_fn(|slot| (IRQS[slot], self.slots.get(slot).is_some_and(Transport::interrupt)))
    }

    /// Whether a device has something to do.
    pub fn has_work(&self) -> bool {
        self.slots.iter().any(Transport::has_work)
    }

    /// Lets the devices work.
    pub fn work(&mut self, memory: &mut Transfers<'_>) {
        self.slots.iter_mut().for_each(|slot| slot.work(memory));
    }

    /// The disks, in the order of their numbers.
    pub fn disks(&self) -> impl Iterator<Item = &disk::Disk> {
        self.slots.iter().filter_map(|slot| slot.device()?.disk())
    }

    /// Where firmware finds the disks: paths of Open Firmware, with the address of the slot.
    pub fn boot_paths(&self) -> impl Iterator<Item = String> {
        let slots = self.slots.iter().zip((ADDRESS..).step_by(LENGTH as usize));
        let disks = slots.filter(|(slot, _)| slot.device().is_some_and(|device| device.disk().is_some()));
        disks.map(|(_, address)| format!("/virtio-mmio@{address:016x}/disk@0,0"))
    }

    /// The network card, if there is one.
    pub fn net(&self) -> Option<&Net> {
        self.slots.iter().find_map(|slot| slot.device()?.net())
    }

    fn net_mut(&mut self) -> Option<&mut Net> {
        self.slots.iter_mut().find_map(|slot| slot.device_mut()?.net_mut())
    }

    /// When the next frame comes, where the clock of the devices decides that.
    pub fn deadline(&self) -> Option<Time> {
        self.net()?.link().deadline()
    }

    /// What is due by the clock of the devices comes.
    pub fn fire(&mut self, now: Time) {
        if let Some(net) = self.net_mut() {
            net.fire(now);
        }
    }

    /// From now on what comes in host time wakes the guest.
    pub fn start(&mut self, guest: &StopHandle) {
        if let Some(net) = self.net_mut() {
            net.start(guest);
        }
    }

    /// Nothing wakes the guest any more.
    pub fn stop(&mut self) {
        if let Some(net) = self.net_mut() {
            net.stop();
        }
    }

    /// The files that the devices have, those of the disks first.
    pub fn files(&self) -> Vec<GuestFile> {
        let feed = self.net().and_then(|net| net.link().file());
        self.disks().map(disk::Disk::describe).chain(feed).collect()
    }

    /// Takes typed bytes, where there is a console: as many as it has room for.
    pub fn type_in(&mut self, bytes: &[u8]) -> Option<usize> {
        self.slots.iter_mut().find_map(|slot| slot.device_mut()?.type_in(bytes))
    }

    /// What was printed and not taken yet, where there is a console.
    pub fn output(&mut self) -> Option<&mut Vec<u8>> {
        self.slots.iter_mut().find_map(|slot| slot.device_mut()?.output())
    }

    /// What is in each slot.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.slots.iter().map(|slot| slot.device().map_or_else(|| "virtio (empty)".into(), Device::name))
    }
}

#[cfg(test)]
mod driver;
#[cfg(test)]
mod tests;
