//! 16550A UART (National Semiconductor PC16550D data sheet), around vm-superio's [`Serial`].
//!
//! vm-superio does the data path: transmit, receive queue, loopback, divisor latch, line and modem control. What it
//! leaves out is here: the FIFO control register and the FIFO bits of IIR, the priorities of interrupt identification,
//! an interrupt output that is a level (vm-superio's trigger is an edge, and reading IIR clears all its causes), the
//! depth of the receiver FIFO, overrun, and the delta bits of the modem status.
//!
//! The line is infinitely fast: the transmitter is always empty, and the character timeout is over at once.

use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial};

/// Register offsets (PC16550D, table II).
mod register {
    pub const DATA: u8 = 0;
    pub const INTERRUPT_ENABLE: u8 = 1;
    pub const INTERRUPT_ID: u8 = 2;
    pub const LINE_CONTROL: u8 = 3;
    pub const MODEM_CONTROL: u8 = 4;
    pub const LINE_STATUS: u8 = 5;
    pub const MODEM_STATUS: u8 = 6;
}

/// Interrupt enable bits (PC16550D 8.5).
const IER_RECEIVED: u8 = 1 << 0;
const IER_TRANSMIT_EMPTY: u8 = 1 << 1;
const IER_LINE_STATUS: u8 = 1 << 2;
const IER_MODEM_STATUS: u8 = 1 << 3;
/// Interrupt identification, highest priority first (PC16550D table IV).
const IIR_LINE_STATUS: u8 = 0x06;
const IIR_RECEIVED: u8 = 0x04;
const IIR_TIMEOUT: u8 = 0x0C;
const IIR_TRANSMIT_EMPTY: u8 = 0x02;
const IIR_MODEM_STATUS: u8 = 0x00;
const IIR_NONE: u8 = 0x01;
const IIR_FIFOS_ENABLED: u8 = 0xC0;
/// FIFO control bits (PC16550D 8.4).
const FCR_ENABLE: u8 = 1 << 0;
const FCR_CLEAR_RECEIVER: u8 = 1 << 1;
const LCR_DIVISOR_LATCH: u8 = 1 << 7;
const LSR_DATA_READY: u8 = 1 << 0;
const LSR_OVERRUN: u8 = 1 << 1;
const MCR_OUT2: u8 = 1 << 3;
const MCR_LOOP: u8 = 1 << 4;
const MSR_RING: u8 = 1 << 6;
/// Depth of the receiver FIFO (PC16550D 1.0).
const FIFO_DEPTH: usize = 16;
/// Bytes in the FIFO that raise "received data", by FCR bits 7:6.
const TRIGGER_LEVELS: [usize; 4] = [1, 4, 8, 14];

/// vm-superio's trigger is not used: the interrupt output is a level, computed from the state.
#[derive(Debug)]
struct NoTrigger;

impl Trigger for NoTrigger {
    type E = std::convert::Infallible;

    fn trigger(&self) -> Result<(), Self::E> {
        Ok(())
    }
}

/// A serial port.
#[derive(Debug)]
pub struct SerialPort {
    uart: Serial<NoTrigger, NoEvents, Vec<u8>>,
    interrupt_enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    /// Bytes in the receiver.
    received: usize,
    overrun: bool,
    /// The transmitter became empty and nobody has been told yet.
    transmit_empty: bool,
    /// Delta bits of the modem status register.
    modem_delta: u8,
    /// The interrupt line was low for a moment during the last write.
    fell: bool,
}

impl Default for SerialPort {
    fn default() -> Self {
        Self {
            uart: Serial::new(NoTrigger, Vec::new()),
            interrupt_enable: 0,
            fifo_control: 0,
            line_control: 3,
            // vm-superio comes up with OUT2 set, so that a guest that never heard of it gets its interrupts.
            modem_control: MCR_OUT2,
            received: 0,
            overrun: false,
            transmit_empty: false,
            modem_delta: 0,
            fell: false,
        }
    }
}

impl SerialPort {
    /// Reads the register at `offset` (0 to 7).
    pub fn read(&mut self, offset: u8) -> u8 {
        match offset {
            register::LINE_STATUS => self.read_line_status(),
            register::DATA if !self.divisor_latch() => {
                self.received = self.received.saturating_sub(1);
                self.uart.read(register::DATA)
            }
            register::INTERRUPT_ID => {
                let cause = self.cause();
                if cause == IIR_TRANSMIT_EMPTY {
                    self.transmit_empty = false;
                }
                cause | if self.fifos_enabled() { IIR_FIFOS_ENABLED } else { 0 }
            }
            register::MODEM_STATUS => {
                self.uart.read(register::MODEM_STATUS) & 0xF0 | std::mem::take(&mut self.modem_delta)
            }
            _ => self.uart.read(offset),
        }
    }

    /// Writes the register at `offset` (0 to 7).
    pub fn write(&mut self, offset: u8, value: u8) {
        match offset {
            register::DATA if !self.divisor_latch() => self.transmit(value),
            register::INTERRUPT_ENABLE if !self.divisor_latch() => {
                let enabled = value & !self.interrupt_enable;
                self.interrupt_enable = value & 0x0F;
                // Enabling the interrupt while the transmitter is empty, as it always is here, raises it.
                self.transmit_empty |= enabled & IER_TRANSMIT_EMPTY != 0;
                self.forward(offset, value);
            }
            register::INTERRUPT_ID => self.write_fifo_control(value),
            register::LINE_CONTROL => {
                self.line_control = value;
                self.forward(offset, value);
            }
            register::MODEM_CONTROL => self.write_modem_control(value),
            // The status registers are read-only here, as the data sheet recommends to treat them.
            register::LINE_STATUS | register::MODEM_STATUS => {}
            _ => self.forward(offset, value),
        }
    }

    /// The level of the interrupt line. On a PC, OUT2 gates the UART's output onto the bus (IBM PC AT Technical
    /// Reference, serial adapter), and loopback disconnects OUT2.
    pub fn interrupt(&self) -> bool {
        self.modem_control & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2 && self.cause() != IIR_NONE
    }

    /// Whether the line was low in between since this was asked last: an edge that the level alone does not show.
    pub fn take_fall(&mut self) -> bool {
        std::mem::take(&mut self.fell)
    }

    /// Bytes arrive on the line; returns how many the receiver took.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        if self.modem_control & MCR_LOOP != 0 {
            return 0;
        }
        let room = self.depth().saturating_sub(self.received).min(bytes.len());
        let taken = self.uart.enqueue_raw_bytes(bytes.get(..room).unwrap_or_default()).unwrap_or(0);
        self.received += taken;
        taken
    }

    /// What was transmitted and not yet taken.
    pub fn output(&mut self) -> &mut Vec<u8> {
        self.uart.writer_mut()
    }

    fn transmit(&mut self, value: u8) {
        if self.modem_control & MCR_LOOP != 0 {
            if self.received >= self.depth() {
                self.overrun = true;
            } else {
                self.received += 1;
                self.forward(register::DATA, value);
            }
        } else {
            self.forward(register::DATA, value);
        }
        // The byte takes the interrupt away, and its departure, at once, brings it back: that is a new edge.
        let was_high = self.interrupt();
        self.transmit_empty = false;
        self.fell |= was_high && !self.interrupt();
        self.transmit_empty = true;
    }

    fn read_line_status(&mut self) -> u8 {
        let overrun = if std::mem::take(&mut self.overrun) { LSR_OVERRUN } else { 0 };
        let ready = if self.received > 0 { LSR_DATA_READY } else { 0 };
        self.uart.read(register::LINE_STATUS) & !LSR_DATA_READY | ready | overrun
    }

    fn write_fifo_control(&mut self, value: u8) {
        // Turning the FIFOs on or off empties them; the other bits count only while bit 0 is written as one.
        let toggled = (value ^ self.fifo_control) & FCR_ENABLE != 0;
        if toggled || value & (FCR_ENABLE | FCR_CLEAR_RECEIVER) == FCR_ENABLE | FCR_CLEAR_RECEIVER {
            self.empty_receiver();
        }
        self.fifo_control = if value & FCR_ENABLE != 0 { value } else { 0 };
    }

    fn empty_receiver(&mut self) {
        let latch = self.divisor_latch();
        if latch {
            self.forward(register::LINE_CONTROL, self.line_control & !LCR_DIVISOR_LATCH);
        }
        for _ in 0..std::mem::take(&mut self.received) {
            self.uart.read(register::DATA);
        }
        if latch {
            self.forward(register::LINE_CONTROL, self.line_control);
        }
    }

    fn write_modem_control(&mut self, value: u8) {
        let before = self.uart.read(register::MODEM_STATUS);
        self.modem_control = value & 0x1F;
        self.forward(register::MODEM_CONTROL, self.modem_control);
        let after = self.uart.read(register::MODEM_STATUS);
        let changed = before ^ after;
        // Ring counts by its trailing edge only (PC16550D 8.8).
        let ring_ended = before & !after & MSR_RING;
        self.modem_delta |= (changed & !MSR_RING | ring_ended) >> 4;
    }

    /// The interrupt that IIR names.
    fn cause(&self) -> u8 {
        let enabled = self.interrupt_enable;
        if enabled & IER_LINE_STATUS != 0 && self.overrun {
            IIR_LINE_STATUS
        } else if enabled & IER_RECEIVED != 0 && self.received > 0 {
            if self.received >= self.trigger_level() { IIR_RECEIVED } else { IIR_TIMEOUT }
        } else if enabled & IER_TRANSMIT_EMPTY != 0 && self.transmit_empty {
            IIR_TRANSMIT_EMPTY
        } else if enabled & IER_MODEM_STATUS != 0 && self.modem_delta != 0 {
            IIR_MODEM_STATUS
        } else {
            IIR_NONE
        }
    }

    fn fifos_enabled(&self) -> bool {
        self.fifo_control & FCR_ENABLE != 0
    }

    fn depth(&self) -> usize {
        if self.fifos_enabled() { FIFO_DEPTH } else { 1 }
    }

    fn trigger_level(&self) -> usize {
        if self.fifos_enabled() { TRIGGER_LEVELS[usize::from(self.fifo_control >> 6)] } else { 1 }
    }

    fn divisor_latch(&self) -> bool {
        self.line_control & LCR_DIVISOR_LATCH != 0
    }

    /// Hands a write on. It cannot fail: the trigger is infallible and a `Vec` takes every byte.
    fn forward(&mut self, offset: u8, value: u8) {
        let _ = self.uart.write(offset, value);
    }
}

#[cfg(test)]
mod tests;
