//! A PC: real devices behind the [`Platform`] trait.
//!
//! What there is: a 16550A (COM1), two 8259A, an 8254, an MC146818 with CMOS memory, an 8042 with a keyboard, two 8237A,
//! the host bridge of a 440FX, an ACPI PM timer, QEMU's `fw_cfg`, two debug consoles and an exit device. Firmware finds
//! a PC without disks; a guest without firmware finds its interrupt controllers masked and its timers stopped.
//!
//! ```
//! use trapline_recorder::pc::{Pc, PcConfig};
//! use trapline_recorder::platform::{Platform, Time};
//!
//! let mut pc = Pc::new(PcConfig::with_ram(64 << 20));
//! for byte in b"hello" {
//!     pc.port_write(Time(0), 0x3F8, &[*byte]);
//! }
//! let mut printed = Vec::new();
//! pc.take_console(&mut |_channel, bytes| printed.extend_from_slice(bytes));
//! assert_eq!(printed, b"hello");
//! ```

use crate::devices::cmos::Memory;
use crate::devices::debugcon::{self, DebugConsole};
use crate::devices::dma::{Dma, DmaPages};
use crate::devices::exit;
use crate::devices::fw_cfg::FwCfg;
use crate::devices::i8042::I8042;
use crate::devices::msrs::Msrs;
use crate::devices::pci::Pci;
use crate::devices::pic::Pic;
use crate::devices::pit::Pit;
use crate::devices::pm_timer::{self, PmTimer};
use crate::devices::port_map::{MMIO, Owner, PORTS};
use crate::devices::rtc::Rtc;
use crate::devices::serial::SerialPort;
use crate::platform::{Claim, MsrAnswer, Platform, Request, Time};
use trapline_formats::{Gpa, NamedRange, Space};

/// Interrupt lines of a PC/AT.
mod irq {
    pub const TIMER: u8 = 0;
    pub const KEYBOARD: u8 = 1;
    pub const COM1: u8 = 4;
    pub const CLOCK: u8 = 8;
    pub const AUX: u8 = 12;
}

/// Where RAM stops and the PCI hole begins on a machine with more RAM than that.
const PCI_HOLE: u64 = 0xC000_0000;

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
    /// Files for `fw_cfg` beside the PC's own, which a file of the same name replaces.
    pub fw_cfg_files: Vec<(String, Vec<u8>)>,
}

impl PcConfig {
    /// A PC with this much RAM, of which at most 3 GiB are below the PCI hole; its clock starts at 2000-01-01 and its
    /// TSC runs at 1 GHz.
    pub fn with_ram(ram_bytes: u64) -> Self {
        Self {
            ram_bytes,
            below_4g: ram_bytes.min(PCI_HOLE),
            epoch_unix_s: 946_684_800,
            tsc_hz: 1_000_000_000,
            fw_cfg_files: Vec::new(),
        }
    }
}

/// The PC.
#[derive(Debug)]
pub struct Pc {
    /// The device at each port: one load finds it.
    owners: Box<[Owner]>,
    com1: SerialPort,
    pic: Pic,
    pit: Pit,
    rtc: Rtc,
    i8042: I8042,
    dma: [Dma; 2],
    dma_pages: DmaPages,
    pci: Pci,
    pm_timer: PmTimer,
    fw_cfg: FwCfg,
    debug_402: DebugConsole,
    debug_e9: DebugConsole,
    msrs: Msrs,
    /// The levels that the interrupt controller knows of, by IRQ.
    lines: u16,
    /// When the first timer is due; the last representable time if none runs.
    due: Time,
    request: Option<Request>,
}

impl Pc {
    /// Builds a PC, switched on at time zero.
    pub fn new(config: PcConfig) -> Self {
        let below_4g = config.below_4g.min(config.ram_bytes);
        let above_4g = config.ram_bytes - below_4g;
        Self {
            owners: owners(),
            com1: SerialPort::default(),
            pic: Pic::default(),
            pit: Pit::default(),
            rtc: Rtc::new(config.epoch_unix_s, Memory::new(below_4g, above_4g, 1)),
            i8042: I8042::default(),
            dma: [Dma::default(), Dma::default()],
            dma_pages: DmaPages::default(),
            pci: Pci::default(),
            pm_timer: PmTimer::default(),
            fw_cfg: FwCfg::new(below_4g, above_4g, config.fw_cfg_files),
            debug_402: DebugConsole::default(),
            debug_e9: DebugConsole::default(),
            msrs: Msrs::new(config.tsc_hz),
            lines: 0,
            due: Time(u64::MAX),
            request: None,
        }
    }

    /// Whether the guest masks NMIs at port 0x70.
    pub fn masks_nmi(&self) -> bool {
        self.rtc.masks_nmi()
    }

    /// Lets the timers that are due by `now` fire.
    #[inline]
    fn advance(&mut self, now: Time) {
        if now >= self.due {
            self.fire(now);
        }
    }

    #[cold]
    fn fire(&mut self, now: Time) {
        self.pit.fire(now);
        self.rtc.fire(now);
        self.timers_changed();
    }

    /// Carries the timers' outputs to the interrupt controller and finds out what is due next.
    fn timers_changed(&mut self) {
        if self.pit.take_edge() {
            self.pic.pulse_irq(irq::TIMER);
        }
        self.drive(irq::CLOCK, self.rtc.interrupt());
        let deadlines = [self.pit.deadline(), self.rtc.deadline()];
        self.due = deadlines.into_iter().flatten().min().unwrap_or(Time(u64::MAX));
    }

    /// Sets an interrupt line, if it is not at this level already.
    #[inline]
    fn drive(&mut self, irq: u8, high: bool) {
        let bit = 1 << irq;
        if (self.lines & bit != 0) != high {
            self.lines ^= bit;
            self.pic.set_irq(irq, high);
        }
    }

    #[inline]
    fn owner(&self, port: u16) -> Owner {
        self.owners.get(usize::from(port)).copied().unwrap_or(Owner::Nobody)
    }

    /// Reads one byte; `None` from ports where nobody is.
    #[inline]
    fn read_byte(&mut self, now: Time, port: u16) -> Option<u8> {
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
            Owner::PmTimer => self.pm_timer.read(now, (port - pm_timer::BASE) as u8),
        })
    }

    #[inline]
    fn write_byte(&mut self, now: Time, port: u16, value: u8) -> Claim {
        match self.owner(port) {
            Owner::Nobody => return Claim::Nobody,
            Owner::Com1 => {
                self.com1.write(port as u8 & 7, value);
                if self.com1.take_fall() {
                    self.drive(irq::COM1, false);
                }
                self.drive(irq::COM1, self.com1.interrupt());
            }
            Owner::Pic => self.pic.write(port, value),
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
                self.pm_timer.write(now, (port - pm_timer::BASE) as u8, value);
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

    /// Of several requests the first counts: the run ends with it.
    fn ask(&mut self, request: Request) {
        self.request.get_or_insert(request);
    }

    /// Reads a word or a doubleword: where a device takes it as such, at once; otherwise byte by byte, lowest port first,
    /// as an ISA bus splits it.
    fn read_wide(&mut self, now: Time, port: u16, data: &mut [u8]) -> Claim {
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

    fn write_wide(&mut self, now: Time, port: u16, data: &[u8]) -> Claim {
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

impl Platform for Pc {
    #[inline]
    fn port_read(&mut self, now: Time, port: u16, data: &mut [u8]) -> Claim {
        self.advance(now);
        let [byte] = data else { return self.read_wide(now, port, data) };
        let answer = self.read_byte(now, port);
        *byte = answer.unwrap_or(0xFF);
        if answer.is_some() { Claim::Device } else { Claim::Nobody }
    }

    #[inline]
    fn port_write(&mut self, now: Time, port: u16, data: &[u8]) -> Claim {
        self.advance(now);
        match data {
            [byte] => self.write_byte(now, port, *byte),
            _ => self.write_wide(now, port, data),
        }
    }

    fn mmio_read(&mut self, _now: Time, _gpa: Gpa, data: &mut [u8]) -> Claim {
        data.fill(0xFF);
        Claim::Nobody
    }

    fn mmio_write(&mut self, _now: Time, _gpa: Gpa, _data: &[u8]) -> Claim {
        Claim::Nobody
    }

    fn msr_read(&mut self, now: Time, index: u32) -> MsrAnswer {
        self.msrs.read(now, index)
    }

    fn msr_write(&mut self, now: Time, index: u32, value: u64) -> MsrAnswer {
        self.msrs.write(now, index, value)
    }

    #[inline]
    fn interrupt_pending(&mut self, now: Time) -> bool {
        self.advance(now);
        self.pic.interrupt()
    }

    fn acknowledge_interrupt(&mut self, now: Time) -> u8 {
        self.advance(now);
        self.pic.acknowledge()
    }

    /// Timers whose interrupt is masked, or latched already, have no deadline: they can change nothing.
    fn next_deadline(&self) -> Option<Time> {
        let timer = self.pit.deadline().filter(|_| self.pic.notices(irq::TIMER));
        let clock = self.rtc.deadline().filter(|_| self.pic.notices(irq::CLOCK));
        timer.into_iter().chain(clock).min()
    }

    fn console_input(&mut self, now: Time, bytes: &[u8]) -> usize {
        self.advance(now);
        let taken = self.com1.receive(bytes);
        self.drive(irq::COM1, self.com1.interrupt());
        taken
    }

    fn take_console(&mut self, sink: &mut dyn FnMut(u8, &[u8])) {
        let channels = [self.com1.output(), self.debug_402.output(), self.debug_e9.output()];
        for (channel, output) in (0..).zip(channels) {
            if !output.is_empty() {
                sink(channel, output);
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
        let ports = PORTS.iter().map(|range| {
            let (start, end) = (u64::from(range.start), u64::from(range.end));
            name(Space::Port, start, end, range.device, range.register)
        });
        let mmio = MMIO.iter().map(|(start, end, device)| name(Space::Mmio, *start, *end, device, ""));
        let msrs = Msrs::names().map(|(index, register)| {
            let index = u64::from(index);
            name(Space::Msr, index, index + 1, "MSR", register)
        });
        ports.chain(mmio).chain(msrs).collect()
    }
}

fn name(space: Space, start: u64, end: u64, device: &str, register: &str) -> NamedRange {
    NamedRange { space, start, end, device: device.into(), register: register.into() }
}

/// The owner of every port, from the map.
fn owners() -> Box<[Owner]> {
    let mut owners = vec![Owner::Nobody; 0x1_0000];
    for range in PORTS {
        for owner in owners.iter_mut().take(usize::from(range.end)).skip(usize::from(range.start)) {
            *owner = range.owner;
        }
    }
    owners.into_boxed_slice()
}

#[cfg(test)]
mod tests;
