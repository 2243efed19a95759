//! The interrupt command register (Intel SDM vol. 3, 11.6.1). There is one processor: what is not for it is for nobody.

use super::{BASE_X2APIC, ERROR_SEND_ILLEGAL, LocalApic};
use crate::devices::interrupt_message::{DeliveryMode, Destination};

const LOGICAL: u32 = 1 << 11;
const ASSERT: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
/// Bits that keep what is written: all but delivery status and reserved bits.
pub(super) const WRITABLE: u32 = 0x000C_CFFF;

impl LocalApic {
    /// Sends what the register says.
    pub(super) fn send(&mut self) {
        let command = self.command as u32;
        let (vector, mode) = (command as u8, DeliveryMode::of(command));
        if mode == DeliveryMode::Fixed && vector < 16 {
            return self.error(ERROR_SEND_ILLEGAL);
        }
        // INIT level de-assert sets arbitration ids, on processors that have them.
        let is_deassert = mode == DeliveryMode::Init && command & (ASSERT | LEVEL) == LEVEL;
        if !is_deassert && self.is_addressed(command) {
            self.take(mode, vector, false);
        }
    }

    fn is_addressed(&self, command: u32) -> bool {
        match command >> 18 & 3 {
            0 => self.matches(self.destination(command)),
            // To itself; to all including itself; to all but itself.
            shorthand => shorthand != 3,
        }
    }

    fn destination(&self, command: u32) -> Destination {
        let high = (self.command >> 32) as u32;
        let field = if self.base & BASE_X2APIC != 0 { high } else { high >> 24 };
        if command & LOGICAL != 0 { Destination::Logical(field) } else { Destination::Physical(field) }
    }
}
