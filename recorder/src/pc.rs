//! A PC: real devices behind the [`Platform`] trait.
//!
//! What there is: a 16550A (COM1), two 8259A, a local APIC and an I/O APIC, an 8254, an MC146818 with CMOS memory, an 8042 with a keyboard, two 8237A,
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

mod config;
mod interrupts;
mod memory;
mod ports;

use crate::devices::cmos::Memory;
use crate::devices::debugcon::DebugConsole;
use crate::devices::dma::{Dma, DmaPages};
use crate::devices::fw_cfg::FwCfg;
use crate::devices::i8042::I8042;
use crate::devices::io_apic::{self, IoApic};
use crate::devices::local_apic::{self, LocalApic};
use crate::devices::msrs::Msrs;
use crate::devices::pci::Pci;
use crate::devices::pic::Pic;
use crate::devices::pit::Pit;
use crate::devices::pm_timer::PmTimer;
use crate::devices::port_map::{MMIO, Owner, PORTS};
use crate::devices::rtc::Rtc;
use crate::devices::serial::SerialPort;
use crate::devices::virtio::{self, Slots, net};
use crate::platform::{ApicState, Claim, MsrAnswer, Platform, Request, Time};
use crate::timer::StopHandle;
use crate::transfer::Transfers;
use std::path::PathBuf;
use trapline_formats::{Gpa, GuestFile, NamedRange, Space};

pub use config::PcConfig;

/// Interrupt lines of a PC/AT.
mod irq {
    pub const TIMER: u8 = 0;
    pub const KEYBOARD: u8 = 1;
    pub const COM1: u8 = 4;
    pub const CLOCK: u8 = 8;
    pub const AUX: u8 = 12;
}

/// The PC.
#[derive(Debug)]
pub struct Pc {
    /// The device at each port: one load finds it.
    owners: Box<[Owner]>,
    com1: SerialPort,
    pic: Pic,
    local_apic: LocalApic,
    io_apic: IoApic,
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
    virtio: Slots,
    /// The levels that the interrupt controllers know of, by IRQ.
    lines: u16,
    /// When the first timer is due; the last representable time if none runs.
    due: Time,
    /// When the timer was due that raised the interrupt which the CPU is offered.
    raised: Option<Time>,
    request: Option<Request>,
}

impl Pc {
    /// Builds a PC, switched on at time zero.
    pub fn new(mut config: PcConfig) -> Self {
        let virtio = Slots::new(config.virtio);
        config.fw_cfg.boots.extend(virtio.boot_paths());
        let below_4g = config.below_4g.min(config.ram_bytes);
        let above_4g = config.ram_bytes - below_4g;
        Self {
            owners: ports::owners(),
            com1: SerialPort::default(),
            pic: Pic::default(),
            local_apic: LocalApic::default(),
            io_apic: IoApic::default(),
            pit: Pit::default(),
            rtc: Rtc::new(config.epoch_unix_s, Memory::new(below_4g, above_4g, 1)),
            i8042: I8042::default(),
            dma: [Dma::default(), Dma::default()],
            dma_pages: DmaPages::default(),
            pci: Pci::default(),
            pm_timer: PmTimer::default(),
            fw_cfg: FwCfg::new(below_4g, above_4g, config.fw_cfg),
            debug_402: DebugConsole::default(),
            debug_e9: DebugConsole::default(),
            msrs: Msrs::new(config.tsc_hz),
            virtio,
            lines: 0,
            due: Time(u64::MAX),
            raised: None,
            request: None,
        }
    }

    /// Whether the guest masks NMIs at port 0x70.
    pub fn masks_nmi(&self) -> bool {
        self.rtc.masks_nmi()
    }

    /// Why disk images are not what they were when the guest began to use them.
    pub fn changed_disks(&self) -> Vec<(PathBuf, String)> {
        self.virtio.disks().filter_map(|disk| Some((disk.path().to_owned(), disk.change()?))).collect()
    }

    /// What went over the network card, if there is one.
    pub fn network(&self) -> Option<net::Counts> {
        self.virtio.net().map(net::Net::counts)
    }

    /// Of several requests the first counts: the run ends with it.
    fn ask(&mut self, request: Request) {
        self.request.get_or_insert(request);
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

    fn mmio_read(&mut self, now: Time, gpa: Gpa, data: &mut [u8]) -> Claim {
        self.advance(now);
        self.read_memory(now, gpa, data)
    }

    fn mmio_write(&mut self, now: Time, gpa: Gpa, data: &[u8]) -> Claim {
        self.advance(now);
        self.write_memory(now, gpa, data)
    }

    fn msr_read(&mut self, now: Time, index: u32) -> MsrAnswer {
        self.advance(now);
        match LocalApic::x2apic_register(index) {
            Some(register) => self.local_apic.msr_read(now, register),
            None => self.msrs.read(now, index),
        }
    }

    fn msr_write(&mut self, now: Time, index: u32, value: u64) -> MsrAnswer {
        self.advance(now);
        let Some(register) = LocalApic::x2apic_register(index) else {
            return self.msrs.write(now, index, value);
        };
        let answer = self.local_apic.msr_write(now, register, value);
        self.local_apic_changed();
        answer
    }

    #[inline]
    fn interrupt_pending(&mut self, now: Time) -> bool {
        self.advance(now);
        self.offers_interrupt()
    }

    fn acknowledge_interrupt(&mut self, now: Time) -> u8 {
        self.advance(now);
        self.take_interrupt()
    }

    fn next_deadline(&self) -> Option<Time> {
        self.next_change()
    }

    fn interrupt_due(&self) -> Option<Time> {
        self.raised
    }

    #[inline]
    fn nmi_pending(&self) -> bool {
        self.local_apic.nmi()
    }

    fn acknowledge_nmi(&mut self) {
        self.local_apic.acknowledge_nmi();
    }

    fn next_nmi(&self) -> Option<Time> {
        self.next_timer(|irq| self.raises_nmi(irq))
    }

    fn apic_state(&mut self, now: Time, state: ApicState) {
        self.advance(now);
        self.local_apic.set_base(state.base);
        self.local_apic.set_cr8(state.cr8);
        self.local_apic_changed();
    }

    #[inline]
    fn cr8(&self) -> Option<u8> {
        Some(self.local_apic.cr8())
    }

    fn console_input(&mut self, now: Time, bytes: &[u8]) -> usize {
        self.advance(now);
        if let Some(taken) = self.virtio.type_in(bytes) {
            return taken;
        }
        let taken = self.com1.receive(bytes);
        self.drive(irq::COM1, self.com1.interrupt());
        taken
    }

    fn take_console(&mut self, sink: &mut dyn FnMut(u8, &[u8])) {
        let channels = [self.com1.output(), self.debug_402.output(), self.debug_e9.output()];
        for (channel, output) in (0..).zip(channels.into_iter().chain(self.virtio.output())) {
            if !output.is_empty() {
                sink(channel, output);
                output.clear();
            }
        }
    }

    fn console_channels(&self) -> Vec<String> {
        ["COM1", "debug port 0x402", "debug port 0xE9", "virtio-console"].map(String::from).to_vec()
    }

    #[inline]
    fn has_transfer(&self) -> bool {
        self.virtio.has_work()
    }

    fn transfer(&mut self, now: Time, memory: &mut Transfers<'_>) {
        self.advance(now);
        self.virtio.work(memory);
        self.drive_virtio();
    }

    fn is_live(&self) -> bool {
        self.virtio.net().is_some_and(|net| net.link().is_live())
    }

    fn start(&mut self, guest: &StopHandle) {
        self.virtio.start(guest);
    }

    fn stop(&mut self) {
        self.virtio.stop();
    }

    fn files(&self) -> Vec<GuestFile> {
        self.virtio.files()
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
        let apic = local_apic::NAMES.iter().map(|&(start, end, register)| {
            let address = |number: u8| local_apic::DEFAULT_ADDRESS + u64::from(number) * 16;
            name(Space::Mmio, address(start), address(end), "local APIC", register)
        });
        let io_apic = io_apic::NAMES.iter().map(|&(start, end, register)| {
            name(Space::Mmio, io_apic::ADDRESS + start, io_apic::ADDRESS + end, "I/O APIC", register)
        });
        let virtio = self.virtio.names().zip((virtio::ADDRESS..).step_by(virtio::LENGTH as usize));
        let virtio = virtio.flat_map(|(device, at)| {
            virtio::NAMES
                .map(|(start, end, register)| name(Space::Mmio, at + start, at + end, &device, register))
        });
        let x2apic = LocalApic::x2apic_names()
            .map(|(start, end, register)| name(Space::Msr, start.into(), end.into(), "local APIC", register));
        let msrs = Msrs::names().map(|(index, register)| {
            let index = u64::from(index);
            name(Space::Msr, index, index + 1, "MSR", register)
        });
        ports.chain(mmio).chain(apic).chain(io_apic).chain(virtio).chain(msrs).chain(x2apic).collect()
    }
}

fn name(space: Space, start: u64, end: u64, device: &str, register: &str) -> NamedRange {
    NamedRange { space, start, end, device: device.into(), register: register.into() }
}

#[cfg(test)]
mod tests;
