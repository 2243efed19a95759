//! Disks that SeaBIOS boots: boot sectors of our own, boot loaders and a kernel that others wrote. Nobody knows of the clock reads in
//! them before they are read.

use crate::support::compare::assert_replays_exactly_with;
use crate::support::host::{Extent, Host, host};
use crate::support::images::image;
use crate::support::plain::Plain;
use crate::support::recorded::{Recorded, record_on};
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;
use trapline_formats::{ClockMode, EndReason, LateRewrite};
use trapline_guests::{Guest, boot_measures, boot_polls};
use trapline_machine::doctor::user_mode_can_call;
use trapline_recorder::devices::virtio::{Config, disk::Disk};
use trapline_recorder::guest::firmware::{self, Firmware};
use trapline_recorder::pc::PcConfig;
use trapline_recorder::{RecordOptions, Tsc};
use trapline_replayer::ReplayOptions;

const RAM: u64 = 64 << 20;
const LIMIT: Duration = Duration::from_mins(5);
/// What SeaBIOS says instead of waiting for ever.
const GIVEN_UP: &str = "No bootable device";

#[test]
fn a_disk_boots_and_replays_exactly_under_the_host_clock() {
    boots_and_replays(ClockMode::Host);
}

#[test]
fn a_disk_boots_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    if Extent::of_environment() != Extent::Quick {
        boots_and_replays(ClockMode::Virtual);
    }
}

fn boots_and_replays(clock: ClockMode) {
    let Some(host) = host() else { return };
    let disk = disk(&boot_polls());
    let recorded = boot_own(&host, disk.path(), clock, Tsc::Held);
    assert_eq!(recorded.end.unclosed, []);
    assert_eq!(rewritten_sectors(&recorded), [0x7c00, 0x7e00]);
    assert_replays_exactly_with(&host, &recorded, &with(disk.path()));
    if clock == ClockMode::Virtual {
        let again = boot_own(&host, disk.path(), clock, Tsc::Held);
        assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
    }
}

#[test]
fn what_measures_by_the_hardware_clock_already_goes_on_with_it_and_that_is_said() {
    let Some(host) = host() else { return };
    let disk = disk(&boot_measures());
    let recorded = boot_own(&host, disk.path(), ClockMode::Host, Tsc::Free);
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
    let recorded = boot(&host, &disk, ClockMode::Virtual, Tsc::Held, until);
    assert_eq!(recorded.end.reason, EndReason::ConsoleMatch(until.into()));
    assert_eq!(recorded.end.unclosed, []);
    assert_replays_exactly_with(&host, &recorded, &with(&disk));
    let again = boot(&host, &disk, ClockMode::Virtual, Tsc::Held, until);
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
    let recorded = boot(&host, &disk, ClockMode::Host, Tsc::Held, until);
    let text = String::from_utf8_lossy(recorded.com1());
    assert_eq!(recorded.end.reason, EndReason::ConsoleMatch(until.into()), "it said:\n{text}");
    assert!(text.contains("SYSLINUX"), "it said:\n{text}");
    assert_eq!(recorded.end.unclosed, []);
    let is_kernel = |late: &&LateRewrite| late.rewrite.found_by.contains("the kernel's code");
    assert!(recorded.end.rewrites.iter().filter(is_kernel).count() > 10, "{:?}", recorded.end.rewrites);
    assert_replays_exactly_with(&host, &recorded, &with(&disk));
}

fn disk(guest: &Guest) -> NamedTempFile {
    let disk = NamedTempFile::new().unwrap();
    std::fs::write(disk.path(), guest.image).unwrap();
    // A whole cylinder, for a BIOS that counts in these.
    disk.as_file().set_len(1 << 20).unwrap();
    disk
}

/// Records an assembly guest's disk to its end.
fn boot_own(host: &Host, disk: &Path, clock: ClockMode, tsc: Tsc) -> Recorded {
    let recorded = boot(host, disk, clock, tsc, GIVEN_UP);
    let text = String::from_utf8_lossy(recorded.com1());
    assert_eq!(recorded.end.reason, EndReason::ExitDevice(0), "it said:\n{text}");
    assert!(text.contains("booted"), "it said:\n{text}");
    recorded
}

fn boot(host: &Host, disk: &Path, clock: ClockMode, tsc: Tsc, until: &str) -> Recorded {
    let guest = firmware::load(Firmware::of(&image("seabios", "bios-256k.bin")), RAM).unwrap();
    let virtio = Config { disks: vec![Disk::open(disk, false, false).unwrap()], ..Config::default() };
    let config = PcConfig { virtio, ..PcConfig::with_clock(&guest, clock) };
    let until_console = Some(regex::bytes::Regex::new(until).unwrap());
    let options =
        RecordOptions { clock, timeout: Some(LIMIT), until_console, tsc, ..RecordOptions::default() };
    record_on(host, &guest, config, options)
}

/// What a replay needs.
fn with(disk: &Path) -> ReplayOptions {
    ReplayOptions { disks: vec![disk.to_owned()], ..ReplayOptions::default() }
}

/// The sectors in memory in which a clock read was rewritten; one in each.
fn rewritten_sectors(recorded: &Recorded) -> Vec<u64> {
    recorded.end.rewrites.iter().map(|late| late.rewrite.gpa & !0x1ff).collect()
}
