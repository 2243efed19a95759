//! A machine whose only device writes guest memory: behind each write to port 0x80 some bytes of its own, and some of a file.

use super::subject::OFTEN;
use crate::support::host::Host;
use crate::support::recorded::{Recorded, record_with};
use tempfile::NamedTempFile;
use trapline_formats::memory::page_hash;
use trapline_formats::{Gpa, GuestFile, NamedRange};
use trapline_guests::Guest;
use trapline_recorder::RecordOptions;
use trapline_recorder::platform::{Claim, MsrAnswer, Platform, Request, Time};
use trapline_recorder::transfer::Transfers;

/// Where `mailbox.s` looks.
const MAILBOX: u64 = 0xb000;
const PIECE: usize = 16;
const ROUNDS: usize = 64;

/// The machine.
pub struct Mailbox {
    file: Vec<u8>,
    round: usize,
    waits: bool,
}

/// Records a guest of this machine; the file is what its replays need.
pub fn record(host: &Host, guest: &Guest) -> (Recorded, NamedTempFile) {
    let file: Vec<u8> = (0..ROUNDS * PIECE).map(|i| (i / PIECE * 7 + i) as u8).collect();
    let disk = NamedTempFile::new().unwrap();
    std::fs::write(disk.path(), &file).unwrap();
    let mut platform = Mailbox { file, round: 0, waits: false };
    let options = RecordOptions { every: OFTEN, ..RecordOptions::default() };
    (record_with(host, guest, &mut platform, options), disk)
}

impl Platform for Mailbox {
    fn port_read(&mut self, _: Time, _: u16, data: &mut [u8]) -> Claim {
        data.fill(0xff);
        Claim::Nobody
    }
    fn port_write(&mut self, _: Time, port: u16, _: &[u8]) -> Claim {
        self.waits |= port == 0x80;
        Claim::Device
    }
    fn mmio_read(&mut self, _: Time, _: Gpa, data: &mut [u8]) -> Claim {
        data.fill(0xff);
        Claim::Nobody
    }
    fn mmio_write(&mut self, _: Time, _: Gpa, _: &[u8]) -> Claim {
        Claim::Nobody
    }
    fn msr_read(&mut self, _: Time, _: u32) -> MsrAnswer {
        MsrAnswer::GeneralProtection
    }
    fn msr_write(&mut self, _: Time, _: u32, _: u64) -> MsrAnswer {
        MsrAnswer::GeneralProtection
    }
    fn interrupt_pending(&mut self, _: Time) -> bool {
        false
    }
    fn acknowledge_interrupt(&mut self, _: Time) -> u8 {
        0
    }
    fn next_deadline(&self) -> Option<Time> {
        None
    }
    fn console_input(&mut self, _: Time, _: &[u8]) -> usize {
        0
    }
    fn take_console(&mut self, _: &mut dyn FnMut(u8, &[u8])) {}
    fn console_channels(&self) -> Vec<String> {
        Vec::new()
    }
    fn has_transfer(&self) -> bool {
        self.waits
    }
    fn transfer(&mut self, _: Time, memory: &mut Transfers<'_>) {
        self.waits = false;
        let at = self.round % ROUNDS * PIECE;
        self.round += 1;
        memory.write(Gpa(MAILBOX), &[0x40 + self.round as u8; PIECE]).unwrap();
        memory.write_from_file(Gpa(MAILBOX + 16), &self.file[at..at + PIECE], 0, at as u64).unwrap();
    }
    fn files(&self) -> Vec<GuestFile> {
        let (role, name) = ("disk".to_owned(), "mailbox".to_owned());
        vec![GuestFile { role, name, bytes: self.file.len() as u64, xxh3: page_hash(&self.file) }]
    }
    fn take_request(&mut self) -> Option<Request> {
        None
    }
    fn names(&self) -> Vec<NamedRange> {
        Vec::new()
    }
}
