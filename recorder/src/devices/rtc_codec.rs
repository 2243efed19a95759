//! How an MC146818 writes numbers: BCD or binary, 12 or 24 hours (data sheet ADI856R2, table 3).

use super::alarm::Alarm;
use super::calendar::DateTime;
use super::rtc::register;

/// Register B: binary data mode, and 24-hour mode.
const B_BINARY: u8 = 1 << 2;
const B_24_HOURS: u8 = 1 << 1;
/// In 12-hour mode the high bit of the hours means PM.
const PM: u8 = 1 << 7;

/// The format that register B selects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codec {
    binary: bool,
    hours_24: bool,
}

impl Codec {
    /// The format for this value of register B.
    pub fn from_register_b(b: u8) -> Self {
        Self { binary: b & B_BINARY != 0, hours_24: b & B_24_HOURS != 0 }
    }

    /// What time register `index` shows; `weekday` is 1 to 7.
    pub fn encode(self, index: usize, date: DateTime, weekday: u8) -> u8 {
        match index {
            register::SECONDS => self.number(date.second),
            register::MINUTES => self.number(date.minute),
            register::HOURS => self.encode_hours(date.hour),
            register::WEEKDAY => self.number(i64::from(weekday)),
            register::DAY => self.number(date.day),
            register::MONTH => self.number(date.month),
            register::YEAR => self.number(date.year.rem_euclid(100)),
            _ => self.number(date.year.div_euclid(100).rem_euclid(100)),
        }
    }

    /// The date and the day of the week that the registers hold.
    pub fn decode(self, get: impl Fn(usize) -> u8) -> (DateTime, u8) {
        let number = |index| i64::from(self.value(get(index)));
        let date = DateTime {
            year: number(register::CENTURY) * 100 + number(register::YEAR),
            month: number(register::MONTH),
            day: number(register::DAY),
            hour: self.decode_hours(get(register::HOURS)),
            minute: number(register::MINUTES),
            second: number(register::SECONDS),
        };
        (date, self.value(get(register::WEEKDAY)))
    }

    /// The alarm, whose registers mean "don't care" from 0xC0 to 0xFF; `None` if it can never match.
    pub fn alarm(self, get: impl Fn(usize) -> u8) -> Option<Alarm> {
        let field = |index: usize, limit: i64| {
            let raw = get(index);
            if raw >= 0xC0 {
                return Some(None);
            }
            let value = if limit == 24 { self.decode_hours(raw) } else { i64::from(self.value(raw)) };
            // A value that no register ever shows never matches.
            let shown = if limit == 24 { self.encode_hours(value) } else { self.number(value) };
            (value < limit && shown == raw).then_some(Some(value))
        };
        Some(Alarm {
            hour: field(register::HOURS_ALARM, 24)?,
            minute: field(register::MINUTES_ALARM, 60)?,
            second: field(register::SECONDS_ALARM, 60)?,
        })
    }

    fn number(self, value: i64) -> u8 {
        let value = value.rem_euclid(256) as u8;
        if self.binary { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn value(self, raw: u8) -> u8 {
        if self.binary { raw } else { (raw >> 4) * 10 + (raw & 15) }
    }

    fn encode_hours(self, hour: i64) -> u8 {
        if self.hours_24 {
            return self.number(hour);
        }
        let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        self.number(twelve) | if hour >= 12 { PM } else { 0 }
    }

    fn decode_hours(self, raw: u8) -> i64 {
        if self.hours_24 {
            return i64::from(self.value(raw));
        }
        let hour = i64::from(self.value(raw & !PM)) % 12;
        hour + if raw & PM != 0 { 12 } else { 0 }
    }
}
