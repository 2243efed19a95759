//! The I/O APIC: an 82093AA (Intel data sheet, order 290566) with 24 pins.
//!
//! Devices here say "asserted" or not; the polarity of a pin is stored, for what it inverts on a board is not there. A
//! level-triggered message stays on its way until somebody takes it: see [`IoApic::requests`].

use super::interrupt_message::{DeliveryMode, Destination, InterruptMessage};

/// Where the registers are.
pub const ADDRESS: u64 = 0xFEC0_0000;
/// Bytes of address space that they take.
pub const LENGTH: u64 = 0x1000;
/// Pins.
pub const PINS: u8 = 24;

/// Version 0x11; bits 23:16 hold the number of the last entry (3.2.2).
const VERSION: u32 = (PINS as u32 - 1) << 16 | 0x11;
/// Registers by index (3.0).
const ID_REGISTER: u8 = 0;
const VERSION_REGISTER: u8 = 1;
const ARBITRATION_REGISTER: u8 = 2;
const TABLE: u8 = 0x10;
/// Offsets in memory of the index and of the register that it selects.
const INDEX: u64 = 0x00;
const WINDOW: u64 = 0x10;

/// First byte, first byte after it, and name of each register, as offsets from [`ADDRESS`], for reports.
pub const NAMES: &[(u64, u64, &str)] =
    &[(INDEX, INDEX + 4, "register select"), (WINDOW, WINDOW + 4, "window")];

/// Bits of a redirection entry (3.2.4).
const LOGICAL: u64 = 1 << 11;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// All that is not reserved, and neither delivery status nor remote IRR.
const WRITABLE: u64 = 0xFF00_0000_0001_AFFF;

/// The I/O APIC.
#[derive(Debug)]
pub struct IoApic {
    index: u8,
    id: u32,
    table: [u64; PINS as usize],
    /// The level of each pin.
    high: u32,
}

impl Default for IoApic {
    fn default() -> Self {
        Self { index: 0, id: 0, table: [MASKED; PINS as usize], high: 0 }
    }
}

impl IoApic {
    /// A read at `offset` from [`ADDRESS`].
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let value = match offset {
            INDEX => self.index.into(),
            WINDOW => self.register(),
            _ => 0,
        };
        let bytes = u64::from(value).to_le_bytes();
        for (to, from) in data.iter_mut().zip(bytes) {
            *to = from;
        }
    }

    /// A write at `offset`. The window takes doublewords (3.1.2).
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        match (offset, data) {
            (INDEX, [index, ..]) => self.index = *index,
            (WINDOW, &[a, b, c, d]) => self.set_register(u32::from_le_bytes([a, b, c, d])),
            _ => {}
        }
    }

    /// Sets the level of a pin; a rising edge may be a message.
    pub fn set_pin(&mut self, pin: u8, high: bool) -> Option<InterruptMessage> {
        let bit = 1 << pin;
        let rises = high && self.high & bit == 0;
        self.high = if high { self.high | bit } else { self.high & !bit };
        if rises { self.edge(pin) } else { None }
    }

    /// A pulse on a pin: a rising edge whose level is gone when anyone looks.
    pub fn pulse(&self, pin: u8) -> Option<InterruptMessage> {
        if self.high & 1 << pin == 0 { self.edge(pin) } else { None }
    }

    /// Pins whose level-triggered entry has a message on its way.
    pub fn requests(&self) -> impl Iterator<Item = (u8, InterruptMessage)> {
        let requests = |pin: &u8| {
            let entry = self.table[usize::from(*pin)];
            self.high & 1 << pin != 0 && entry & (MASKED | REMOTE_IRR) == 0 && is_level(entry)
        };
        (0..if self.high == 0 { 0 } else { PINS }).filter(requests).map(|pin| (pin, self.message(pin)))
    }

    /// A local APIC took the message of a level-triggered pin: the next one waits for its EOI.
    pub fn taken(&mut self, pin: u8) {
        if let Some(entry) = self.table.get_mut(usize::from(pin)) {
            *entry |= REMOTE_IRR;
        }
    }

    /// A local APIC broadcasts the EOI of a level-triggered vector.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for entry in &mut self.table {
            if *entry as u8 == vector && is_level(*entry) {
                *entry &= !REMOTE_IRR;
            }
        }
    }

    /// What a rising edge on this pin would send; `None` if it would send nothing.
    pub fn edge(&self, pin: u8) -> Option<InterruptMessage> {
        let entry = self.table.get(usize::from(pin))?;
        // An edge on a masked pin is neither delivered nor held (3.2.4, bit 16).
        let sends = entry & MASKED == 0 && !is_level(*entry);
        sends.then(|| self.message(pin))
    }

    /// What this pin sends if its level rises, edge-triggered or level-triggered.
    pub fn would_send(&self, pin: u8) -> Option<InterruptMessage> {
        let entry = self.table.get(usize::from(pin))?;
        let is_free = self.high & 1 << pin == 0 && entry & (MASKED | REMOTE_IRR) == 0;
        is_free.then(|| self.message(pin))
    }

    /// Whether the 8259A, on pin 0, reaches the CPU through this APIC (MultiProcessor Specification 1.4, 3.6.2.2).
    pub fn passes_extint(&self) -> bool {
        self.table[0] & MASKED == 0 && DeliveryMode::of(self.table[0] as u32) == DeliveryMode::ExtInt
    }

    fn message(&self, pin: u8) -> InterruptMessage {
        let entry = self.table.get(usize::from(pin)).copied().unwrap_or(MASKED);
        let field = (entry >> 56) as u32;
        let logical = entry & LOGICAL != 0;
        InterruptMessage {
            vector: entry as u8,
            mode: DeliveryMode::of(entry as u32),
            level: is_level(entry),
            // Physical ids have four bits on this part; all ones are a broadcast either way.
            destination: if logical { Destination::Logical(field) } else { Destination::Physical(field) },
        }
    }

    fn register(&self) -> u32 {
        match self.index {
            ID_REGISTER | ARBITRATION_REGISTER => self.id,
            VERSION_REGISTER => VERSION,
            index => {
                let Some((pin, shift)) = entry_of(index) else { return 0 };
                (self.table[pin] >> shift) as u32
            }
        }
    }

    fn set_register(&mut self, value: u32) {
        if self.index == ID_REGISTER {
            self.id = value & 0x0F00_0000;
        } else if let Some((pin, shift)) = entry_of(self.index) {
            let written = 0xFFFF_FFFF << shift & WRITABLE;
            let entry = &mut self.table[pin];
            *entry = *entry & !written | u64::from(value) << shift & written;
            if !is_level(*entry) {
                // Remote IRR has no meaning for edges; software clears it by switching over and back.
                *entry &= !REMOTE_IRR;
            }
        }
    }
}

/// Only vectors are level-triggered: other modes are edges whatever the bit says (3.2.4, bits 10:8).
fn is_level(entry: u64) -> bool {
    entry & LEVEL != 0 && DeliveryMode::of(entry as u32) == DeliveryMode::Fixed
}

/// The entry that an index selects half of, and where that half is.
fn entry_of(index: u8) -> Option<(usize, u32)> {
    let half = usize::from(index.checked_sub(TABLE)?);
    (half / 2 < usize::from(PINS)).then_some((half / 2, (half as u32 & 1) * 32))
}

#[cfg(test)]
mod tests;
