//! Devices in memory: the two APICs.

use super::Pc;
use crate::devices::{io_apic, local_apic};
use crate::platform::{Claim, Time};
use trapline_formats::Gpa;

/// Which device answers at an address, and where inside it.
enum Place {
    LocalApic(u64),
    IoApic(u64),
    Nobody,
}

impl Pc {
    #[inline]
    fn place(&self, gpa: Gpa) -> Place {
        if let Some(offset) = offset(gpa, self.local_apic.address().unwrap_or(u64::MAX), local_apic::LENGTH) {
            return Place::LocalApic(offset);
        }
        offset(gpa, io_apic::ADDRESS, io_apic::LENGTH).map_or(Place::Nobody, Place::IoApic)
    }

    #[inline]
    pub(super) fn read_memory(&mut self, now: Time, gpa: Gpa, data: &mut [u8]) -> Claim {
        data.fill(0xFF);
        match self.place(gpa) {
            Place::LocalApic(offset) => self.local_apic.mmio_read(now, offset, data),
            Place::IoApic(offset) => self.io_apic.read(offset, data),
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
            Place::Nobody => return Claim::Nobody,
        }
        Claim::Device
    }
}

#[inline]
fn offset(gpa: Gpa, start: u64, length: u64) -> Option<u64> {
    gpa.0.checked_sub(start).filter(|offset| *offset < length)
}
