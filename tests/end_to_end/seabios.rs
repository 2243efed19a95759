//! The firmware that others wrote: Debian's SeaBIOS, from the reset vector to the end of its boot order.

use crate::support::compare::{assert_replays_exactly, assert_replays_exactly_with};
use crate::support::host::{Extent, Host, host};
use crate::support::images::image;
use crate::support::plain::Plain;
use crate::support::recorded::{Recorded, record_loaded, record_on};
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;
use trapline_formats::{ClockMode, EndReason, LateRewrite};
use trapline_guests::{Guest, boot_measures, boot_polls};
use trapline_machine::doctor::user_mode_can_call;
use trapline_recorder::devices::virtio::{Config, disk::Disk};
use trapline_recorder::guest::firmware::{self, Firmware};
use trapline_recorder::pc::PcConfig;
use trapline_recorder::{Every, RecordOptions};
use trapline_replayer::ReplayOptions;

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

#[test]
fn a_disk_boots_and_replays_exactly_under_the_host_clock() {
    boots_from_a_disk(ClockMode::Host);
}

#[test]
fn a_disk_boots_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    if Extent::of_environment() != Extent::Quick {
        boots_from_a_disk(ClockMode::Virtual);
    }
}

/// Whose clock reads nobody knew of before they were read from the disk.
fn boots_from_a_disk(clock: ClockMode) {
    let Some(host) = host() else { return };
    let disk = disk(&boot_polls());
    let recorded = boot_own_disk(&host, disk.path(), clock);
    assert_eq!(recorded.end.unclosed, []);
    assert_eq!(rewritten_sectors(&recorded), [0x7c00, 0x7e00]);
    let disks = vec![disk.path().to_owned()];
    assert_replays_exactly_with(&host, &recorded, &ReplayOptions { disks, ..ReplayOptions::default() });
    if clock == ClockMode::Virtual {
        let again = boot_own_disk(&host, disk.path(), clock);
        assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
    }
}

#[test]
fn what_measures_by_the_hardware_clock_already_goes_on_with_it_and_that_is_said() {
    let Some(host) = host() else { return };
    let disk = disk(&boot_measures());
    let recorded = boot_own_disk(&host, disk.path(), ClockMode::Host);
    assert_eq!(recorded.end.unclosed[0].source, "RDTSC");
    assert_eq!(rewritten_sectors(&recorded), [0x7c00]);
}

/// A boot loader that others wrote, up to its menu.
#[test]
fn grub_boots_from_its_disk_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    let Some(host) = host() else { return };
    // It unpacks itself first, which takes minutes where kernel mode is interpreted.
    let is_fast = user_mode_can_call(host.kvm).unwrap();
    let until = if is_fast { "The highlighted entry" } else { "GRUB loading" };
    let disk = image("grub", "grub.img");
    let recorded = boot_disk(&host, &disk, ClockMode::Virtual, until);
    assert_eq!(recorded.end.reason, EndReason::ConsoleMatch(until.into()));
    assert_eq!(recorded.end.unclosed, []);
    let disks = vec![disk.clone()];
    assert_replays_exactly_with(&host, &recorded, &ReplayOptions { disks, ..ReplayOptions::default() });
    let again = boot_disk(&host, &disk, ClockMode::Virtual, until);
    assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
}

#[test]
fn linux_boots_from_its_disk_and_replays_exactly_under_the_host_clock() {
    let Some(host) = host() else { return };
    // Without a user space it does not come that far.
    if Extent::of_environment() == Extent::Quick || !user_mode_can_call(host.kvm).unwrap() {
        return;
    }
    let (disk, until) = (image("boot-disk", "boot.img"), "step 7 fifo");
    let recorded = boot_disk(&host, &disk, ClockMode::Host, until);
    let text = String::from_utf8_lossy(recorded.com1());
    assert_eq!(recorded.end.reason, EndReason::ConsoleMatch(until.into()), "it said:\n{text}");
    assert!(text.contains("SYSLINUX"), "it said:\n{text}");
    assert_eq!(recorded.end.unclosed, []);
    let is_kernel = |late: &&LateRewrite| late.rewrite.found_by.contains("the kernel's code");
    assert!(recorded.end.rewrites.iter().filter(is_kernel).count() > 10, "{:?}", recorded.end.rewrites);
    let disks = vec![disk];
    assert_replays_exactly_with(&host, &recorded, &ReplayOptions { disks, ..ReplayOptions::default() });
}

fn disk(guest: &Guest) -> NamedTempFile {
    let disk = NamedTempFile::new().unwrap();
    std::fs::write(disk.path(), guest.image).unwrap();
    // A whole cylinder, for a BIOS that counts in these.
    disk.as_file().set_len(1 << 20).unwrap();
    disk
}

/// Records an assembly guest's disk to its end.
fn boot_own_disk(host: &Host, disk: &Path, clock: ClockMode) -> Recorded {
    let recorded = boot_disk(host, disk, clock, LAST_WORDS);
    let text = String::from_utf8_lossy(recorded.com1());
    assert_eq!(recorded.end.reason, EndReason::ExitDevice(0), "it said:\n{text}");
    assert!(text.contains("booted"), "it said:\n{text}");
    recorded
}

fn boot_disk(host: &Host, disk: &Path, clock: ClockMode, until: &str) -> Recorded {
    let guest = firmware::load(Firmware::of(&image("seabios", "bios-256k.bin")), RAM).unwrap();
    let virtio = Config { disks: vec![Disk::open(disk, false, false).unwrap()], ..Config::default() };
    let config = PcConfig { virtio, ..PcConfig::with_clock(&guest, clock) };
    let until_console = Some(regex::bytes::Regex::new(until).unwrap());
    let options = RecordOptions { clock, timeout: Some(LIMIT), until_console, ..RecordOptions::default() };
    record_on(host, &guest, config, options)
}

/// The sectors in memory in which a clock read was rewritten; one in each.
fn rewritten_sectors(recorded: &Recorded) -> Vec<u64> {
    recorded.end.rewrites.iter().map(|late| late.rewrite.gpa & !0x1ff).collect()
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
