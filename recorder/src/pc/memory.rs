//! Devices in memory: the two APICs, and virtio.

use super::Pc;
use crate::devices::virtio::Slots;
use crate::devices::{io_apic, local_apic};
use crate::platform::{Claim, Time};
use trapline_formats::Gpa;

/// Which device answers at an address, and where inside it.
enum Place {
    LocalApic(u64),
    IoApic(u64),
    /// Of a slot.
    Virtio((usize, u64)),
    Nobody,
}

impl Pc {
    #[inline]
    fn place(&self, gpa: Gpa) -> Place {
        if let Some(offset) = offset(gpa, self.local_apic.address().unwrap_or(u64::MAX), local_apic::LENGTH) {
            return Place::LocalApic(offset);
        }
        if let Some(offset) = offset(gpa, io_apic::ADDRESS, io_apic::LENGTH) {
            return Place::IoApic(offset);
        }
        Slots::place(gpa.0).map_or(Place::Nobody, Place::Virtio)
    }

    #[inline]
    pub(super) fn read_memory(&mut self, now: Time, gpa: Gpa, data: &mut [u8]) -> Claim {
        data.fill(0xFF);
        match self.place(gpa) {
            Place::LocalApic(offset) => self.local_apic.mmio_read(now, offset, data),
            Place::IoApic(offset) => self.io_apic.read(offset, data),
            Place::Virtio(place) => self.virtio.read(place, data),
            Place::Nobody => return Claim::Nobody,
        }
        Claim::Device
    }

    #[inline]
    pub(super) fn write_memory(&mut self, now: Time, gpa: Gpa, data: &[u8]) -> Claim {
        match self.place(gpa) {
            Place::LocalApic(offset) => {
                self.local_apic.mmio_write(now, offset, data);
                self.local_apic_changed();
            }
            Place::IoApic(offset) => {
                self.io_apic.write(offset, data);
                self.send_levels();
            }
            Place::Virtio(place) => {
                self.virtio.write(now, place, data);
                self.drive_virtio();
                self.due = self.due.min(self.virtio.deadline().unwrap_or(self.due));
            }
            Place::Nobody => return Claim::Nobody,
        }
        Claim::Device
    }

    /// Carries the interrupts of the virtio devices to the interrupt controllers.
    pub(super) fn drive_virtio(&mut self) {
        for (irq, level) in self.virtio.lines() {
            self.drive(irq, level);
        }
    }
}

#[inline]
fn offset(gpa: Gpa, start: u64, length: u64) -> Option<u64> {
    gpa.0.checked_sub(start).filter(|offset| *offset < length)
}
