//! Multiboot kernels, by both ways of saying where they are loaded: under every clock recorded, replayed and compared byte by byte.

use crate::support::compare::assert_replays_exactly;
use crate::support::host::{Extent, Host, host};
use crate::support::plain::Plain;
use crate::support::recorded::{Recorded, reason, record_loaded};
use std::time::Duration;
use tempfile::TempDir;
use trapline_formats::ClockMode;
use trapline_guests::{Guest, multiboot_elf, multiboot_header};
use trapline_recorder::guest::multiboot::{self, Module, Multiboot};
use trapline_recorder::{Every, RecordOptions};

const RAM: u64 = 4 << 20;
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn a_kernel_with_address_fields_replays_exactly_under_the_host_clock() {
    boots_and_replays(&multiboot_header(), "multiboot, by its header", ClockMode::Host);
}

#[test]
fn a_kernel_with_address_fields_replays_exactly_and_records_identically_under_the_virtual_clock() {
    boots_and_replays(&multiboot_header(), "multiboot, by its header", ClockMode::Virtual);
}

#[test]
fn an_elf_kernel_replays_exactly_under_the_host_clock() {
    boots_and_replays(&multiboot_elf(), "multiboot, ELF", ClockMode::Host);
}

#[test]
fn an_elf_kernel_replays_exactly_and_records_identically_under_the_virtual_clock() {
    boots_and_replays(&multiboot_elf(), "multiboot, ELF", ClockMode::Virtual);
}

fn boots_and_replays(guest: &Guest, entry: &str, clock: ClockMode) {
    if clock == ClockMode::Virtual && Extent::of_environment() == Extent::Quick {
        return;
    }
    let Some(host) = host() else { return };
    let recorded = boot(&host, guest, clock);
    assert_eq!(Plain::read(&recorded.path).header.entry, entry);
    assert_replays_exactly(&host, &recorded);
    if clock == ClockMode::Virtual {
        let again = boot(&host, guest, clock);
        assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
    }
}

/// Records a kernel with two modules to its end; it has said all that it should.
fn boot(host: &Host, guest: &Guest, clock: ClockMode) -> Recorded {
    boot_every(host, guest, clock, Every::default())
}

/// The same, with its complete state written down so often.
pub fn boot_every(host: &Host, guest: &Guest, clock: ClockMode, every: Every) -> Recorded {
    let folder = TempDir::with_prefix("trapline-").unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let image = file("kernel", guest.image);
    let modules = [
        Module { path: file("first", b"alpha"), text: "the first".into() },
        Module { path: file("second", b"beta"), text: String::new() },
    ];
    let loaded =
        multiboot::load(Multiboot { image: &image, modules: &modules, cmdline: "one two" }, RAM).unwrap();
    assert_eq!(loaded.rewrites.len(), 2, "both clock reads are found");
    let options = RecordOptions { clock, timeout: Some(LIMIT), every, ..RecordOptions::default() };
    let recorded = record_loaded(host, &loaded, options);
    assert_eq!(recorded.com1().escape_ascii().to_string(), guest.prints.unwrap().escape_ascii().to_string());
    assert_eq!(recorded.end.reason, reason(guest.ends));
    assert_eq!(recorded.end.unclosed, []);
    recorded
}
