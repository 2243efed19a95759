//! The registers as MSRs 0x800 to 0x83F: x2APIC mode (Intel SDM vol. 3, 11.12.1). What memory-mapped registers ignore raises
//! #GP here: reserved bits, registers that do not exist, reads of write-only ones, writes to read-only ones.

use super::command;
use super::registers::{
    APR, DFR, DIVIDE, EOI, ESR, ICR_HIGH, ICR_LOW, INITIAL_COUNT, LVT, LVT_LAST, LVT_WRITABLE, NAMES, RRD,
    SELF_IPI, SVR, TPR,
};
use super::{BASE_ENABLE, BASE_X2APIC, LocalApic};
use crate::devices::interrupt_message::DeliveryMode;
use crate::platform::MsrAnswer::{self, GeneralProtection, Value};
use crate::platform::Time;

/// First MSR.
const FIRST: u32 = 0x800;
/// First MSR after them.
const END: u32 = 0x840;

impl LocalApic {
    /// The register behind an MSR of the x2APIC range, whether or not it exists.
    pub fn x2apic_register(index: u32) -> Option<u8> {
        (FIRST..END).contains(&index).then_some((index - FIRST) as u8)
    }

    /// Index and name of each of these MSRs, for reports: (first, first after, name).
    pub fn x2apic_names() -> impl Iterator<Item = (u32, u32, &'static str)> {
        NAMES
            .iter()
            .filter(|(start, ..)| ![APR, RRD, DFR, ICR_HIGH].contains(start))
            .map(|&(start, end, name)| (FIRST + u32::from(start), FIRST + u32::from(end), name))
    }

    /// Answers RDMSR.
    pub fn msr_read(&self, now: Time, register: u8) -> MsrAnswer {
        match register {
            _ if !self.is_x2apic() => GeneralProtection,
            APR | EOI | RRD | DFR | ICR_HIGH | SELF_IPI => GeneralProtection,
            ICR_LOW => Value(self.command),
            _ => self.read(now, register).map_or(GeneralProtection, |value| Value(value.into())),
        }
    }

    /// Takes WRMSR.
    pub fn msr_write(&mut self, now: Time, register: u8, value: u64) -> MsrAnswer {
        let allowed = match register {
            TPR => 0xFF,
            EOI | ESR => 0,
            SVR => 0x1FF,
            ICR_LOW => 0xFFFF_FFFF_0000_0000 | u64::from(command::WRITABLE),
            LVT..=LVT_LAST => LVT_WRITABLE[usize::from(register - LVT)].into(),
            INITIAL_COUNT => 0xFFFF_FFFF,
            DIVIDE => 0xB,
            SELF_IPI => 0xFF,
            // Read-only, or not there.
            _ => return GeneralProtection,
        };
        if !self.is_x2apic() || value & !allowed != 0 {
            return GeneralProtection;
        }
        match register {
            ICR_LOW => {
                self.command = value;
                self.send();
            }
            SELF_IPI => self.take(DeliveryMode::Fixed, value as u8, false),
            _ => {
                if self.write(now, register, value as u32).is_err() {
                    return GeneralProtection;
                }
            }
        }
        Value(value)
    }

    fn is_x2apic(&self) -> bool {
        let mode = BASE_ENABLE | BASE_X2APIC;
        self.base & mode == mode
    }
}
