//! The I/O ports of a PC: finds the device at a port and splits wide accesses.

use super::{Pc, irq};
use crate::devices::debugcon;
use crate::devices::exit;
use crate::devices::pm_timer::{self, PmTimer};
use crate::devices::port_map::{Owner, PORTS};
use crate::platform::{Claim, Request, Time};

/// The owner of every port, from the map.
pub(super) fn owners() -> Box<[Owner]> {
    let mut owners = vec![Owner::Nobody; 0x1_0000];
    for range in PORTS {
        for owner in owners.iter_mut().take(usize::from(range.end)).skip(usize::from(range.start)) {
            *owner = range.owner;
        }
    }
    owners.into_boxed_slice()
}

impl Pc {
    #[inline]
    fn owner(&self, port: u16) -> Owner {
        self.owners.get(usize::from(port)).copied().unwrap_or(Owner::Nobody)
    }

    /// Reads one byte; `None` from ports where nobody is.
    #[inline]
    pub(super) fn read_byte(&mut self, now: Time, port: u16) -> Option<u8> {
        Some(match self.owner(port) {
            Owner::Nobody => return None,
            Owner::Com1 => {
                let value = self.com1.read(port as u8 & 7);
                self.drive(irq::COM1, self.com1.interrupt());
                value
            }
            Owner::Pic => self.pic.read(port),
            Owner::Pit => self.pit.read(now, port as u8 & 3),
            Owner::SystemControlB => self.pit.read_port_61(now),
            Owner::KeyboardData => {
                let value = self.i8042.read_data();
                // Reading empties the buffer, so that the byte which follows is a new edge.
                self.drive(irq::KEYBOARD, false);
                self.drive(irq::AUX, false);
                self.keyboard_changed();
                value
            }
            Owner::KeyboardCommand => self.i8042.read_status(),
            Owner::SystemControlA => self.i8042.read_port_92(),
            Owner::Rtc => {
                let value = self.rtc.read(now, port as u8 & 1);
                self.timers_changed();
                value
            }
            Owner::Dma1 => self.dma[0].read(port as u8 & 15),
            Owner::Dma2 => self.dma[1].read((port >> 1) as u8 & 15),
            Owner::DmaPages => self.dma_pages.read(port as u8 & 15),
            Owner::DebugPort402 | Owner::DebugPortE9 => debugcon::READBACK,
            Owner::Exit | Owner::FwCfgSelector => 0,
            Owner::FwCfgData => self.fw_cfg.read_data(),
            Owner::PciAddress if port == 0xCF9 => self.pci.reset_control(),
            Owner::PciAddress | Owner::Delay => 0xFF,
            Owner::PciData => self.pci.read(port as u8 & 3),
            Owner::PmTimer => self.pm_timer.read(now, pm_timer::offset(port)),
        })
    }

    #[inline]
    pub(super) fn write_byte(&mut self, now: Time, port: u16, value: u8) -> Claim {
        match self.owner(port) {
            Owner::Nobody => return Claim::Nobody,
            Owner::Com1 => {
                self.com1.write(port as u8 & 7, value);
                if self.com1.take_fall() {
                    self.drive(irq::COM1, false);
                }
                self.drive(irq::COM1, self.com1.interrupt());
            }
            Owner::Pic => {
                self.pic.write(port, value);
                self.forget_masked();
            }
            Owner::Pit => {
                self.pit.write(now, port as u8 & 3, value);
                self.timers_changed();
            }
            Owner::SystemControlB => self.pit.write_port_61(now, value),
            Owner::KeyboardData => {
                self.i8042.write_data(value);
                self.keyboard_changed();
            }
            Owner::KeyboardCommand => {
                self.i8042.write_command(value);
                self.keyboard_changed();
            }
            Owner::SystemControlA => {
                self.i8042.write_port_92(value);
                self.keyboard_changed();
            }
            Owner::Rtc => {
                self.rtc.write(now, port as u8 & 1, value);
                self.timers_changed();
            }
            Owner::Dma1 => self.dma[0].write(port as u8 & 15, value),
            Owner::Dma2 => self.dma[1].write((port >> 1) as u8 & 15, value),
            Owner::DmaPages => self.dma_pages.write(port as u8 & 15, value),
            // A selector is a word; a byte there means nothing. Data is read-only.
            Owner::Delay | Owner::FwCfgSelector | Owner::FwCfgData => {}
            Owner::DebugPort402 => self.debug_402.write(value),
            Owner::DebugPortE9 => self.debug_e9.write(value),
            Owner::Exit => self.ask(exit::request(value)),
            Owner::PciAddress => {
                if port == 0xCF9 {
                    self.pci.set_reset_control(value);
                    if self.pci.take_reset() {
                        self.ask(Request::Reset);
                    }
                }
            }
            Owner::PciData => self.pci.write(port as u8 & 3, value),
            Owner::PmTimer => {
                self.pm_timer.write(now, pm_timer::offset(port), value);
                if self.pm_timer.take_power_off() {
                    self.ask(Request::PowerOff);
                }
            }
        }
        Claim::Device
    }

    fn keyboard_changed(&mut self) {
        self.drive(irq::KEYBOARD, self.i8042.keyboard_interrupt());
        self.drive(irq::AUX, self.i8042.aux_interrupt());
        if self.i8042.take_reset() {
            self.ask(Request::Reset);
        }
    }

    /// Reads a word or a doubleword: where a device takes it as such, at once; otherwise byte by byte, lowest port first,
    /// as an ISA bus splits it.
    pub(super) fn read_wide(&mut self, now: Time, port: u16, data: &mut [u8]) -> Claim {
        match (self.owner(port), &mut *data) {
            (Owner::PciAddress, data) => {
                match <&mut [u8; 4]>::try_from(data) {
                    Ok(data) if port == 0xCF8 => *data = self.pci.address().to_le_bytes(),
                    Ok(data) => data.fill(0xFF),
                    Err(_) => {}
                }
                return Claim::Device;
            }
            (Owner::PmTimer, [a, b, c, d]) if port == pm_timer::BASE + 8 => {
                [*a, *b, *c, *d] = PmTimer::counter(now).to_le_bytes();
                return Claim::Device;
            }
            _ => {}
        }
        let mut claim = Claim::Nobody;
        for (port, byte) in (0..).map(|i| port.wrapping_add(i)).zip(data) {
            let answer = self.read_byte(now, port);
            if answer.is_some() {
                claim = Claim::Device;
            }
            *byte = answer.unwrap_or(0xFF);
        }
        claim
    }

    pub(super) fn write_wide(&mut self, now: Time, port: u16, data: &[u8]) -> Claim {
        match (self.owner(port), data) {
            (Owner::PciAddress, _) => {
                if let (0xCF8, Ok(value)) = (port, data.try_into()) {
                    self.pci.set_address(u32::from_le_bytes(value));
                }
                return Claim::Device;
            }
            (Owner::FwCfgSelector, [low, high]) => {
                self.fw_cfg.select(u16::from_le_bytes([*low, *high]));
                return Claim::Device;
            }
            // The exit code is a byte, however wide the write.
            (Owner::Exit, [code, ..]) => {
                self.ask(exit::request(*code));
                return Claim::Device;
            }
            _ => {}
        }
        let mut claim = Claim::Nobody;
        for (port, byte) in (0..).map(|i| port.wrapping_add(i)).zip(data) {
            if self.write_byte(now, port, *byte) == Claim::Device {
                claim = Claim::Device;
            }
        }
        claim
    }
}
