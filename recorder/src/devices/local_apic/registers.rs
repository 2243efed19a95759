//! The registers by number: their offset in memory divided by 16, and their MSR less 0x800 (Intel SDM vol. 3, table 11-1 and
//! table 11-6).

use super::command;
use super::{
    BASE_X2APIC, ERROR_ILLEGAL_REGISTER, LENGTH, LVT_MASKED, LVT_PERIODIC, LocalApic, SVR_ENABLE, local,
};
use crate::platform::Time;

pub(super) const ID: u8 = 0x02;
pub(super) const VERSION: u8 = 0x03;
pub(super) const TPR: u8 = 0x08;
pub(super) const APR: u8 = 0x09;
pub(super) const PPR: u8 = 0x0A;
pub(super) const EOI: u8 = 0x0B;
pub(super) const RRD: u8 = 0x0C;
pub(super) const LDR: u8 = 0x0D;
pub(super) const DFR: u8 = 0x0E;
pub(super) const SVR: u8 = 0x0F;
pub(super) const ISR: u8 = 0x10;
pub(super) const TMR: u8 = 0x18;
pub(super) const IRR: u8 = 0x20;
pub(super) const ESR: u8 = 0x28;
pub(super) const ICR_LOW: u8 = 0x30;
pub(super) const ICR_HIGH: u8 = 0x31;
pub(super) const LVT: u8 = 0x32;
pub(super) const LVT_LAST: u8 = 0x37;
pub(super) const INITIAL_COUNT: u8 = 0x38;
pub(super) const CURRENT_COUNT: u8 = 0x39;
pub(super) const DIVIDE: u8 = 0x3E;
pub(super) const SELF_IPI: u8 = 0x3F;

/// Six local vectors (bits 23:16 hold the last), version 0x14: an integrated APIC.
const VERSION_VALUE: u32 = 0x0005_0014;
/// What can be written to each local vector: timer, thermal sensor, performance counters, LINT0, LINT1, error (figure 11-8).
pub(super) const LVT_WRITABLE: [u32; local::COUNT] =
    [0x3_00FF, 0x1_07FF, 0x1_07FF, 0x1_A7FF, 0x1_A7FF, 0x1_00FF];
const SVR_WRITABLE: u32 = 0x3FF;
/// Bytes from one register to the next.
const SPACING: u64 = 16;

/// An access that no register takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// First register, first register after it, and name, for reports.
pub const NAMES: &[(u8, u8, &str)] = &[
    (ID, ID + 1, "ID"),
    (VERSION, VERSION + 1, "version"),
    (TPR, TPR + 1, "task priority"),
    (APR, APR + 1, "arbitration priority"),
    (PPR, PPR + 1, "processor priority"),
    (EOI, EOI + 1, "EOI"),
    (RRD, RRD + 1, "remote read"),
    (LDR, LDR + 1, "logical destination"),
    (DFR, DFR + 1, "destination format"),
    (SVR, SVR + 1, "spurious vector"),
    (ISR, TMR, "in service"),
    (TMR, IRR, "trigger mode"),
    (IRR, ESR, "interrupt request"),
    (ESR, ESR + 1, "error status"),
    (ICR_LOW, ICR_LOW + 1, "interrupt command"),
    (ICR_HIGH, ICR_HIGH + 1, "interrupt command, destination"),
    (LVT, LVT + 1, "LVT timer"),
    (LVT + 1, LVT + 2, "LVT thermal sensor"),
    (LVT + 2, LVT + 3, "LVT performance counters"),
    (LVT + 3, LVT + 4, "LVT LINT0"),
    (LVT + 4, LVT + 5, "LVT LINT1"),
    (LVT_LAST, LVT_LAST + 1, "LVT error"),
    (INITIAL_COUNT, INITIAL_COUNT + 1, "timer initial count"),
    (CURRENT_COUNT, CURRENT_COUNT + 1, "timer current count"),
    (DIVIDE, DIVIDE + 1, "timer divide"),
    (SELF_IPI, SELF_IPI + 1, "self IPI"),
];

impl LocalApic {
    /// A read of memory at `offset` in the page of registers. They are 32 bits wide at multiples of 16; what SDM vol. 3, 11.4.1
    /// leaves undefined reads as the bytes that are there.
    pub fn mmio_read(&mut self, now: Time, offset: u64, data: &mut [u8]) {
        let register = number(offset);
        let bytes = u128::from(self.read(now, register).unwrap_or_else(|Refused| {
            self.error(ERROR_ILLEGAL_REGISTER);
            0
        }));
        let bytes = (bytes >> (offset % SPACING * 8)).to_le_bytes();
        for (to, from) in data.iter_mut().zip(bytes) {
            *to = from;
        }
    }

    /// A write to memory at `offset` in the page. Only aligned doublewords are writes.
    pub fn mmio_write(&mut self, now: Time, offset: u64, data: &[u8]) {
        let Ok(value) = data.try_into().map(u32::from_le_bytes) else { return };
        if offset.is_multiple_of(SPACING) && self.write(now, number(offset), value).is_err() {
            self.error(ERROR_ILLEGAL_REGISTER);
        }
    }

    /// Reads a register.
    pub(super) fn read(&self, now: Time, register: u8) -> Result<u32, Refused> {
        Ok(match register {
            ID if self.base & BASE_X2APIC != 0 => 0,
            ID => self.id,
            VERSION => VERSION_VALUE,
            TPR => self.tpr.into(),
            PPR => self.processor_priority().into(),
            // Neither exists any more; EOI is write-only.
            APR | RRD | EOI => 0,
            LDR => self.logical_id(),
            DFR => self.dfr,
            SVR => self.svr,
            ISR..TMR => self.isr.word(register - ISR),
            TMR..IRR => self.tmr.word(register - TMR),
            IRR..ESR => self.irr.word(register - IRR),
            ESR => self.errors,
            ICR_LOW => self.command as u32,
            ICR_HIGH => (self.command >> 32) as u32,
            LVT..=LVT_LAST => self.lvt[usize::from(register - LVT)],
            INITIAL_COUNT => self.timer.initial_count(),
            CURRENT_COUNT => self.timer.current_count(now),
            DIVIDE => self.timer.divide(),
            _ => return Err(Refused),
        })
    }

    /// Writes a register. Writing one that is read-only has no effect.
    pub(super) fn write(&mut self, now: Time, register: u8, value: u32) -> Result<(), Refused> {
        self.fire(now);
        match register {
            ID => self.id = value & 0xFF00_0000,
            TPR => self.set_task_priority(value as u8),
            EOI => self.end_of_interrupt(),
            LDR => self.ldr = value & 0xFF00_0000,
            DFR => self.dfr = value | 0x0FFF_FFFF,
            SVR => self.set_spurious_vector(value),
            // A write makes the errors since the last one visible (11.5.3).
            ESR => self.errors = std::mem::take(&mut self.new_errors),
            ICR_LOW => {
                self.command = self.command >> 32 << 32 | u64::from(value & command::WRITABLE);
                self.send();
            }
            ICR_HIGH => self.command = u64::from(value & 0xFF00_0000) << 32 | self.command & 0xFFFF_FFFF,
            LVT..=LVT_LAST => self.set_local_vector(now, usize::from(register - LVT), value),
            INITIAL_COUNT => self.timer.set_initial_count(now, value),
            DIVIDE => self.timer.set_divide(now, value),
            VERSION | APR | PPR | RRD | ISR..ESR | CURRENT_COUNT => {}
            _ => return Err(Refused),
        }
        Ok(())
    }

    /// While the APIC is disabled by software, all local vectors are masked and stay so (11.4.7.2).
    fn set_spurious_vector(&mut self, value: u32) {
        self.svr = value & SVR_WRITABLE;
        if self.svr & SVR_ENABLE == 0 {
            self.lvt.iter_mut().for_each(|entry| *entry |= LVT_MASKED);
        }
    }

    fn set_local_vector(&mut self, now: Time, entry: usize, value: u32) {
        let forced = if self.svr & SVR_ENABLE == 0 { LVT_MASKED } else { 0 };
        self.lvt[entry] = value & LVT_WRITABLE[entry] | forced;
        if entry == local::TIMER {
            self.timer.set_periodic(now, value & LVT_PERIODIC != 0);
        }
    }
}

fn number(offset: u64) -> u8 {
    (offset % LENGTH / SPACING) as u8
}
