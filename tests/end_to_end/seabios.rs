//! The firmware that others wrote: Debian's SeaBIOS, from the reset vector to the end of its boot order.

use crate::support::compare::assert_replays_exactly;
use crate::support::host::{Extent, Host, host};
use crate::support::images::image;
use crate::support::plain::Plain;
use crate::support::recorded::{Recorded, record_loaded};
use std::time::Duration;
use trapline_formats::{ClockMode, EndReason};
use trapline_recorder::guest::firmware::{self, Firmware};
use trapline_recorder::{Every, RecordOptions};

const RAM: u64 = 64 << 20;
const LAST_WORDS: &str = "No bootable device";
const LIMIT: Duration = Duration::from_mins(5);

#[test]
fn bios_bin_boots_and_replays_exactly_under_the_host_clock() {
    boots_and_replays("bios.bin", ClockMode::Host);
}

#[test]
fn bios_bin_boots_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    if Extent::of_environment() != Extent::Quick {
        boots_and_replays("bios.bin", ClockMode::Virtual);
    }
}

#[test]
fn bios_256k_bin_boots_and_replays_exactly_under_the_host_clock() {
    if Extent::of_environment() != Extent::Quick {
        boots_and_replays("bios-256k.bin", ClockMode::Host);
    }
}

#[test]
fn bios_256k_bin_boots_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    if Extent::of_environment() != Extent::Quick {
        boots_and_replays("bios-256k.bin", ClockMode::Virtual);
    }
}

fn boots_and_replays(rom: &str, clock: ClockMode) {
    let Some(host) = host() else { return };
    let recorded = boot(&host, rom, clock);
    assert_replays_exactly(&host, &recorded);
    if clock == ClockMode::Virtual {
        let again = boot(&host, rom, clock);
        assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
    }
}

/// Records a boot to its end; everything a boot should have shown is there.
pub fn boot(host: &Host, rom: &str, clock: ClockMode) -> Recorded {
    boot_every(host, rom, clock, Every::default())
}

/// The same, with its complete state written down so often.
pub fn boot_every(host: &Host, rom: &str, clock: ClockMode, every: Every) -> Recorded {
    let guest = firmware::load(Firmware::of(&image("seabios", rom)), RAM).unwrap();
    assert_eq!(guest.suspects, [], "every clock read of the ROM is found");
    let until = regex::bytes::Regex::new(LAST_WORDS).unwrap();
    let options = RecordOptions {
        clock,
        timeout: Some(LIMIT),
        until_console: Some(until),
        every,
        ..RecordOptions::default()
    };
    let recorded = record_loaded(host, &guest, options);
    assert_eq!(recorded.end.reason, EndReason::ConsoleMatch(LAST_WORDS.into()));
    assert_eq!(recorded.end.unclosed, []);
    let said = |channel: u8, words: &str| {
        let text = recorded
            .console
            .get(&channel)
            .map(|t| String::from_utf8_lossy(t).into_owned())
            .unwrap_or_default();
        assert!(text.contains(words), "`{words}` is not on channel {channel}:\n{text}");
    };
    said(1, "SeaBIOS (version");
    said(1, "Found 1 serial ports");
    said(1, LAST_WORDS);
    said(0, "SeaBIOS (version");
    recorded
}
