//! A PC: real devices behind the [`Platform`] trait.

use crate::devices::debugcon::{self, DebugConsole};
use crate::devices::exit;
use crate::devices::serial::SerialPort;
use crate::platform::{Claim, MsrAnswer, Platform, Request, Time};
use trapline_formats::{Gpa, NamedRange};

/// What a PC is built from.
#[derive(Debug, Clone)]
pub struct PcConfig {
    /// Bytes of RAM, all of it.
    pub ram_bytes: u64,
    /// Bytes of RAM below the PCI hole; the rest starts at 4 GiB.
    pub below_4g: u64,
    /// Date and time of the real-time clock at the guest's start, in seconds since 1970 (UTC).
    pub epoch_unix_s: i64,
    /// Rate of the time stamp counter.
    pub tsc_hz: u64,
}

/// Which device answers at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum PortOwner {
    Nobody,
    Com1,
    DebugPort402,
    DebugPortE9,
    Exit,
}

/// The PC.
#[derive(Debug)]
pub struct Pc {
    ports: Box<[PortOwner; 0x1_0000]>,
    com1: SerialPort,
    debug_402: DebugConsole,
    debug_e9: DebugConsole,
    request: Option<Request>,
}

impl Pc {
    /// Builds a PC, switched on at time zero.
    pub fn new(_config: PcConfig) -> Self {
        let mut ports = Box::new([PortOwner::Nobody; 0x1_0000]);
        ports[0x3F8..0x400].fill(PortOwner::Com1);
        ports[0x402] = PortOwner::DebugPort402;
        ports[0xE9] = PortOwner::DebugPortE9;
        ports[usize::from(exit::PORT)] = PortOwner::Exit;
        Self {
            ports,
            com1: SerialPort::default(),
            debug_402: DebugConsole::default(),
            debug_e9: DebugConsole::default(),
            request: None,
        }
    }

    fn read_byte(&mut self, port: u16) -> Option<u8> {
        match self.ports[usize::from(port)] {
            PortOwner::Nobody => None,
            PortOwner::Com1 => Some(self.com1.read(port as u8 & 7)),
            PortOwner::DebugPort402 | PortOwner::DebugPortE9 => Some(debugcon::READBACK),
            PortOwner::Exit => Some(0),
        }
    }

    fn write_byte(&mut self, port: u16, value: u8) -> Claim {
        match self.ports[usize::from(port)] {
            PortOwner::Nobody => return Claim::Nobody,
            PortOwner::Com1 => self.com1.write(port as u8 & 7, value),
            PortOwner::DebugPort402 => self.debug_402.write(value),
            PortOwner::DebugPortE9 => self.debug_e9.write(value),
            PortOwner::Exit => self.request = Some(exit::request(value)),
        }
        Claim::Device
    }
}

impl Platform for Pc {
    fn port_read(&mut self, _now: Time, port: u16, data: &mut [u8]) -> Claim {
        let mut claim = Claim::Nobody;
        for (i, byte) in data.iter_mut().enumerate() {
            let answer = self.read_byte(port.wrapping_add(i as u16));
            *byte = answer.unwrap_or(0xFF);
            if answer.is_some() {
                claim = Claim::Device;
            }
        }
        claim
    }

    fn port_write(&mut self, _now: Time, port: u16, data: &[u8]) -> Claim {
        let mut claim = Claim::Nobody;
        for (i, byte) in data.iter().enumerate() {
            if self.write_byte(port.wrapping_add(i as u16), *byte) == Claim::Device {
                claim = Claim::Device;
            }
        }
        claim
    }

    fn mmio_read(&mut self, _now: Time, _gpa: Gpa, data: &mut [u8]) -> Claim {
        data.fill(0xFF);
        Claim::Nobody
    }

    fn mmio_write(&mut self, _now: Time, _gpa: Gpa, _data: &[u8]) -> Claim {
        Claim::Nobody
    }

    fn msr_read(&mut self, _now: Time, _index: u32) -> MsrAnswer {
        MsrAnswer::GeneralProtection
    }

    fn msr_write(&mut self, _now: Time, _index: u32, _value: u64) -> MsrAnswer {
        MsrAnswer::GeneralProtection
    }

    fn interrupt_pending(&mut self, _now: Time) -> bool {
        false
    }

    fn acknowledge_interrupt(&mut self, _now: Time) -> u8 {
        0
    }

    fn next_deadline(&self) -> Option<Time> {
        None
    }

    fn console_input(&mut self, _now: Time, bytes: &[u8]) -> usize {
        self.com1.receive(bytes)
    }

    fn take_console(&mut self, sink: &mut dyn FnMut(u8, &[u8])) {
        let channels = [self.com1.output(), self.debug_402.output(), self.debug_e9.output()];
        for (channel, output) in channels.into_iter().enumerate() {
            if !output.is_empty() {
                sink(channel as u8, output);
                output.clear();
            }
        }
    }

    fn console_channels(&self) -> Vec<String> {
        ["COM1", "debug port 0x402", "debug port 0xE9"].map(String::from).to_vec()
    }

    fn take_request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn names(&self) -> Vec<NamedRange> {
        Vec::new()
    }
}
