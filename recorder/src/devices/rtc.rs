//! MC146818A real-time clock (Motorola data sheet ADI856R2) with 128 bytes of CMOS RAM, at ports 0x70 and 0x71.
//!
//! The chip runs from a 32.768 kHz crystal. An update ends when a second begins: then UIP falls, the registers show the
//! new second and the update-ended and alarm interrupts come. The date and time follow the `now` of each call; what
//! the guest sets is kept as an offset.

use super::calendar::{DateTime, weekday};
use super::cmos::{self, Memory};
use super::frequency::Frequency;
use super::rtc_codec::Codec;
use crate::platform::Time;

/// Registers (data sheet, figure 10); the century is where IBM's AT and every chipset since have it.
pub(super) mod register {
    pub const SECONDS: usize = 0x00;
    pub const SECONDS_ALARM: usize = 0x01;
    pub const MINUTES: usize = 0x02;
    pub const MINUTES_ALARM: usize = 0x03;
    pub const HOURS: usize = 0x04;
    pub const HOURS_ALARM: usize = 0x05;
    pub const WEEKDAY: usize = 0x06;
    pub const DAY: usize = 0x07;
    pub const MONTH: usize = 0x08;
    pub const YEAR: usize = 0x09;
    pub const A: usize = 0x0A;
    pub const B: usize = 0x0B;
    pub const C: usize = 0x0C;
    pub const D: usize = 0x0D;
    pub const CENTURY: usize = 0x32;
}

const A_UIP: u8 = 1 << 7;
/// DV2 and DV1: both set hold the divider chain in reset.
const A_DIVIDER_RESET: u8 = 0x60;
const B_SET: u8 = 1 << 7;
const B_PERIODIC: u8 = 1 << 6;
const B_ALARM: u8 = 1 << 5;
const B_UPDATE: u8 = 1 << 4;
const C_IRQ: u8 = 1 << 7;
const C_PERIODIC: u8 = 1 << 6;
const C_ALARM: u8 = 1 << 5;
const C_UPDATE: u8 = 1 << 4;
const D_VALID: u8 = 1 << 7;
/// UIP is set 244 us before an update of 1984 us (data sheet, table 6, 32.768 kHz).
const UIP_NS: u64 = (244 + 1984) * 1000;
const NS_PER_S: u64 = 1_000_000_000;
const CRYSTAL: Frequency = Frequency::hz(32_768);

/// The clock and its memory.
#[derive(Debug)]
pub struct Rtc {
    /// Selected register; bit 7 masks NMI.
    index: u8,
    memory: Memory,
    a: u8,
    b: u8,
    c: u8,
    /// When the divider chain stood at zero, in ns, modulo 2^64.
    origin: u64,
    /// The divider chain, in ns, while it is held in reset.
    held: Option<u64>,
    /// The date and time when the divider chain stood at zero.
    base_s: i64,
    /// What the guest calls the day of the week is ahead of the calendar's by this much.
    weekday_shift: i64,
    /// How far the divider chain had come when the flags were last brought up to date.
    seen: u64,
    next_alarm_s: Option<i64>,
}

impl Rtc {
    /// A running clock at this date and time, with this memory.
    pub fn new(unix_s: i64, memory: Memory) -> Self {
        Self {
            index: 0,
            memory,
            // 32.768 kHz, 1024 Hz periodic rate; 24 hours, BCD: as a BIOS leaves them.
            a: 0x26,
            b: 0x02,
            c: 0,
            origin: 0,
            held: None,
            // Four-digit years are all that the registers hold.
            base_s: unix_s.clamp(0, 253_402_300_799),
            weekday_shift: 0,
            seen: 0,
            next_alarm_s: None,
        }
    }

    /// Reads port 0x70 (`offset` 0; write-only on a PC) or 0x71.
    pub fn read(&mut self, now: Time, offset: u8) -> u8 {
        if offset & 1 == 0 {
            return 0xFF;
        }
        self.settle(now);
        match usize::from(self.index & 0x7F) {
            register::A => self.a | if self.update_in_progress(now) { A_UIP } else { 0 },
            register::B => self.b,
            register::C => {
                let flags = self.c | if self.interrupt() { C_IRQ } else { 0 };
                self.c = 0;
                flags
            }
            register::D => D_VALID,
            i if cmos::is_time(i) && self.b & B_SET == 0 => {
                let seconds = self.seconds(now);
                self.codec().encode(i, DateTime::from_unix(seconds), self.weekday(seconds))
            }
            i => self.memory.get(i),
        }
    }

    /// Writes port 0x70 (`offset` 0) or 0x71.
    pub fn write(&mut self, now: Time, offset: u8, value: u8) {
        if offset & 1 == 0 {
            self.index = value;
            return;
        }
        self.settle(now);
        match usize::from(self.index & 0x7F) {
            register::A => self.write_a(now, value),
            register::B => self.write_b(now, value),
            register::C | register::D => {}
            i if cmos::is_time(i) && self.b & B_SET == 0 => {
                self.store_time(now);
                self.memory.set(i, value);
                self.load_time(now);
            }
            i => self.memory.set(i, value),
        }
        self.next_alarm_s = self.find_alarm(self.second_at(self.seen));
    }

    /// The level of IRQ 8, as of the last access or [`Rtc::fire`].
    pub fn interrupt(&self) -> bool {
        // The flags in C and their enables in B have the same places.
        self.c & self.b & (C_PERIODIC | C_ALARM | C_UPDATE) != 0
    }

    /// Whether port 0x70 masks the NMI.
    pub fn masks_nmi(&self) -> bool {
        self.index & 0x80 != 0
    }

    /// Lets everything up to `now` happen.
    pub fn fire(&mut self, now: Time) {
        self.settle(now);
    }

    /// When IRQ 8 rises next.
    pub fn deadline(&self) -> Option<Time> {
        if self.interrupt() || self.held.is_some() {
            return None;
        }
        let mut next: Option<u64> = None;
        let mut consider = |t: u64| next = Some(next.map_or(t, |n| n.min(t)));
        if self.b & B_PERIODIC != 0
            && let Some(period) = self.period()
        {
            consider(CRYSTAL.time((CRYSTAL.ticks(Time(self.seen)) / period + 1) * period).0);
        }
        if self.b & B_SET == 0 {
            if self.b & B_UPDATE != 0 {
                consider((self.seen / NS_PER_S + 1).saturating_mul(NS_PER_S));
            }
            if self.b & B_ALARM != 0
                && let Some(alarm_s) = self.next_alarm_s
            {
                consider(((alarm_s - self.base_s).max(0) as u64).saturating_mul(NS_PER_S));
            }
        }
        next.map(|t| Time(self.origin.wrapping_add(t)))
    }

    /// Brings the flags up to date.
    fn settle(&mut self, now: Time) {
        let divider = self.divider(now);
        if divider <= self.seen {
            return;
        }
        if let Some(period) = self.period()
            && CRYSTAL.ticks(Time(divider)) / period > CRYSTAL.ticks(Time(self.seen)) / period
        {
            self.c |= C_PERIODIC;
        }
        let second = self.second_at(divider);
        if self.b & B_SET == 0 && second > self.second_at(self.seen) {
            self.c |= C_UPDATE;
            if self.next_alarm_s.is_some_and(|alarm_s| alarm_s <= second) {
                self.c |= C_ALARM;
                self.next_alarm_s = self.find_alarm(second);
            }
        }
        self.seen = divider;
    }

    fn write_a(&mut self, now: Time, value: u8) {
        self.a = value & !A_UIP;
        let reset = value & A_DIVIDER_RESET == A_DIVIDER_RESET;
        match self.held {
            None if reset => {
                // Held at half a second: the first update comes 500 ms after the divider is released.
                self.base_s = self.seconds(now);
                self.held = Some(NS_PER_S / 2);
                self.seen = NS_PER_S / 2;
            }
            Some(at) if !reset => {
                self.held = None;
                self.origin = now.0.wrapping_sub(at);
            }
            _ => {}
        }
    }

    fn write_b(&mut self, now: Time, value: u8) {
        let (was_set, set) = (self.b & B_SET != 0, value & B_SET != 0);
        if set && !was_set {
            self.store_time(now);
        }
        // The time is loaded in the format that holds from now on: a guest changes the format under SET.
        self.b = if set { value & !B_UPDATE } else { value };
        if was_set && !set {
            self.load_time(now);
        }
    }

    /// Copies the running time into the registers.
    fn store_time(&mut self, now: Time) {
        let seconds = self.seconds(now);
        let (date, weekday, codec) = (DateTime::from_unix(seconds), self.weekday(seconds), self.codec());
        for i in cmos::TIME_REGISTERS {
            self.memory.set(i, codec.encode(i, date, weekday));
        }
    }

    /// Makes the registers the running time.
    fn load_time(&mut self, now: Time) {
        let (date, weekday_register) = self.codec().decode(|i| self.memory.get(i));
        let seconds = date.to_unix();
        self.base_s = seconds - (self.divider(now) / NS_PER_S) as i64;
        self.weekday_shift = i64::from(weekday_register) - 1 - weekday(seconds);
    }

    fn codec(&self) -> Codec {
        Codec::from_register_b(self.b)
    }

    fn weekday(&self, seconds: i64) -> u8 {
        ((weekday(seconds) + self.weekday_shift).rem_euclid(7) + 1) as u8
    }

    /// How far the divider chain has come, in ns.
    fn divider(&self, now: Time) -> u64 {
        self.held.unwrap_or_else(|| now.0.wrapping_sub(self.origin))
    }

    fn seconds(&self, now: Time) -> i64 {
        self.second_at(self.divider(now))
    }

    fn second_at(&self, divider: u64) -> i64 {
        self.base_s + (divider / NS_PER_S) as i64
    }

    fn update_in_progress(&self, now: Time) -> bool {
        self.b & B_SET == 0 && self.held.is_none() && self.divider(now) % NS_PER_S >= NS_PER_S - UIP_NS
    }

    /// The periodic interrupt's period in ticks of the crystal (data sheet, table 5); none at rate 0.
    fn period(&self) -> Option<u64> {
        match self.a & 0x0F {
            0 => None,
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    fn find_alarm(&self, after: i64) -> Option<i64> {
        self.codec().alarm(|i| self.memory.get(i))?.first_after(after)
    }
}

#[cfg(test)]
mod tests;
