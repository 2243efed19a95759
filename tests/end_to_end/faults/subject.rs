//! The guests that faults are put into.

use super::executor::Disk;
use super::fault::Fault;
use super::mailbox;
use super::oracle::Reference;
use crate::support::host::Host;
use crate::support::images::image;
use crate::support::plain::Plain;
use crate::support::recorded::{Recorded, record_every, record_loaded};
use std::num::NonZeroU64;
use std::time::Duration;
use tempfile::NamedTempFile;
use trapline_formats::ClockMode;
use trapline_guests::Guest;
use trapline_recorder::guest::firmware::{self, Firmware};
use trapline_recorder::{Every, RecordOptions};

/// RAM of the firmware's machine: enough to boot.
const RAM: u64 = 8 << 20;
const LAST_WORDS: &str = "No bootable device";
const LIMIT: Duration = Duration::from_mins(10);
/// Small guests make few exits, and should have several intervals.
pub const OFTEN: Every = Every { keyframe: NonZeroU64::new(29), digest: NonZeroU64::new(8).unwrap() };
const SELDOM: Every = Every { keyframe: NonZeroU64::new(600), digest: NonZeroU64::new(250).unwrap() };

/// A guest, recorded.
pub struct Subject {
    pub name: &'static str,
    /// The original trace.
    pub plain: Plain,
    /// How long it may be silent.
    pub silence: Duration,
    /// What it reads of a file.
    pub disk: Option<(NamedTempFile, Vec<u8>)>,
    reference: Option<Reference>,
}

/// How a guest is recorded.
pub struct Source {
    pub name: &'static str,
    /// It takes seconds to be carried out.
    pub is_long: bool,
    record: fn(&Host) -> (Recorded, Option<NamedTempFile>),
}

macro_rules! assembly {
    ($($guest:ident)*) => {
        [$(Source { name: stringify!($guest), is_long: false, record: |host| of(host, &trapline_guests::$guest()) }),*]
    };
}

/// The guests, those first that most faults can be put into. The others have what these have not.
pub fn sources() -> Vec<Source> {
    let mut all = Vec::from(assembly!(apic_timer_64));
    let multiboot = |host: &Host| {
        let guest = trapline_guests::multiboot_elf();
        (crate::multiboot::boot_every(host, &guest, ClockMode::Virtual, OFTEN), None)
    };
    all.push(Source { name: "multiboot", is_long: false, record: multiboot });
    all.push(Source { name: "SeaBIOS", is_long: true, record: seabios });
    all.extend(assembly! {
        demo timer_window_64 timer_window_32 timer_window_16 string_ports_64 string_ports_32 string_ports_16 mmio_64 mmio_32
        mmio_wide_64 mmio_wide_32 mmio_sse_64         msrs_64 msrs_32 msrs_16 msrs_refused_64 msrs_refused_32 msrs_refused_16 tsc_64 tsc_32 tsc_16
        random_64 random_32 random_16 nmi_self_64 nmi_hlt_64 task_priority_64 task_priority_32 cr8_64 cr8_apic_64
        io_apic_edge_64 io_apic_level_64 virtual_wire_64 self_ipi_64 cpuid_64 cpuid_32 cpuid_16 pages_64
    });
    for (name, record) in MAILBOXES {
        all.push(Source { name, is_long: false, record });
    }
    all
}

type Record = fn(&Host) -> (Recorded, Option<NamedTempFile>);

const MAILBOXES: [(&str, Record); 3] = [
    ("mailbox_64", |host| with_mailbox(host, &trapline_guests::mailbox_64())),
    ("mailbox_32", |host| with_mailbox(host, &trapline_guests::mailbox_32())),
    ("mailbox_16", |host| with_mailbox(host, &trapline_guests::mailbox_16())),
];

fn of(host: &Host, guest: &Guest) -> (Recorded, Option<NamedTempFile>) {
    (record_every(host, guest, ClockMode::Virtual, OFTEN), None)
}

fn with_mailbox(host: &Host, guest: &Guest) -> (Recorded, Option<NamedTempFile>) {
    let (recorded, file) = mailbox::record(host, guest);
    (recorded, Some(file))
}

fn seabios(host: &Host) -> (Recorded, Option<NamedTempFile>) {
    let guest = firmware::load(Firmware::of(&image("seabios", "bios.bin")), RAM).unwrap();
    let until = Some(regex::bytes::Regex::new(LAST_WORDS).unwrap());
    let options = RecordOptions {
        clock: ClockMode::Virtual,
        timeout: Some(LIMIT),
        until_console: until,
        every: SELDOM,
        ..RecordOptions::default()
    };
    (record_loaded(host, &guest, options), None)
}

impl Subject {
    pub fn record(host: &Host, source: &Source) -> Self {
        let (recorded, disk) = (source.record)(host);
        let disk = disk.map(|file| {
            let content = std::fs::read(file.path()).unwrap();
            (file, content)
        });
        Self {
            name: source.name,
            plain: Plain::read(&recorded.path),
            silence: Duration::from_secs(if source.is_long { 20 } else { 10 }),
            disk,
            reference: None,
        }
    }

    pub fn disk(&self) -> Disk<'_> {
        self.disk.as_ref().map(|(_, content)| content.as_slice())
    }

    /// Where a fault can be put.
    pub fn places(&self, fault: &Fault) -> Vec<usize> {
        (fault.places)(&self.plain)
    }

    /// The execution of the original trace.
    pub fn reference(&mut self, host: &Host) -> &Reference {
        if self.reference.is_none() {
            self.reference = Some(Reference::of(host, &self.plain, self.disk(), self.silence));
        }
        self.reference.as_ref().unwrap()
    }
}
