//! What is written behind a flag, and what it means.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// Exits from one keyframe to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyframesArg(pub Option<NonZeroU64>);

impl FromStr for KeyframesArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = || text.parse().map_err(|_| "a number of exits, from 1 on, or `none`".to_owned());
        if text == "none" { Ok(Self(None)) } else { number().map(|n| Self(Some(n))) }
    }
}

impl fmt::Display for KeyframesArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(exits) => exits.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// Exits from one checkpoint to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestArg(pub NonZeroU64);

impl FromStr for DigestArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = || text.parse().map_err(|_| "a number of exits, from 1 on, or `every-exit`".to_owned());
        if text == "every-exit" { Ok(Self(NonZeroU64::MIN)) } else { number().map(Self) }
    }
}

impl fmt::Display for DigestArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A half-open range of exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitRange {
    pub start: u64,
    pub end: u64,
}

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((i, 'k' | 'K')) => (&text[..i], 10),
        Some((i, 'm' | 'M')) => (&text[..i], 20),
        Some((i, 'g' | 'G')) => (&text[..i], 30),
        _ => (text, 0),
    };
    let number: u64 =
        digits.parse().map_err(|_| "a size is a number, with K, M or G behind it if you like".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more than 64 bits can count".to_owned())
}

pub(super) fn address(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| "an address is a number, hexadecimal with 0x before it".to_owned())
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|_| "a number of percent".to_owned())?;
    if (0.0..=1e6).contains(&number) { Ok(number) } else { Err("no less than 0".into()) }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((text, 1.0));
    let value: f64 =
        number.parse().map_err(|_| "a time is a number and a unit: 500ms, 30s, 2m".to_owned())?;
    Duration::try_from_secs_f64(value * unit).map_err(|e| e.to_string())
}

pub(super) fn range(text: &str) -> Result<ExitRange, String> {
    let number = |t: &str, default| {
        if t.is_empty() { Ok(default) } else { t.parse().map_err(|_| format!("`{t}` is no exit")) }
    };
    match text.split_once("..") {
        Some((a, b)) => {
            let range = ExitRange { start: number(a, 0)?, end: number(b, u64::MAX)? };
            if range.start <= range.end { Ok(range) } else { Err("it ends before it begins".into()) }
        }
        None => number(text, 0).map(|start| ExitRange { start, end: start.saturating_add(1) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_ranges_are_read_as_people_write_them() {
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("4096"), Ok(4096));
        assert!(bytes("many").is_err() && bytes("99999999999G").is_err());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("-1s").is_err());
        assert_eq!(range("3..7"), Ok(ExitRange { start: 3, end: 7 }));
        assert_eq!(range("..7"), Ok(ExitRange { start: 0, end: 7 }));
        assert_eq!(range("5"), Ok(ExitRange { start: 5, end: 6 }));
        assert!(range("7..3").is_err());
    }
}
