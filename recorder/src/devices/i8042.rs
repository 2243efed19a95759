//! 8042 keyboard controller at ports 0x60 and 0x64 (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
//! Auxiliary Device Controller"), with a keyboard attached, and port 0x92, which repeats two of its outputs (Intel
//! 82371AB PIIX4 data sheet, 4.2.6.2).
//!
//! The auxiliary port is there and passes its tests, but no mouse is plugged in: what is sent to it times out at once.
//! The state of gate A20 is kept and read back; memory behaves as if A20 were always enabled.

use super::keyboard::Keyboard;

/// Status register.
const STATUS_OUTPUT_FULL: u8 = 1 << 0;
const STATUS_SYSTEM: u8 = 1 << 2;
const STATUS_COMMAND: u8 = 1 << 3;
const STATUS_NOT_LOCKED: u8 = 1 << 4;
const STATUS_AUX: u8 = 1 << 5;
const STATUS_TIMEOUT: u8 = 1 << 6;
/// Command byte.
const KEYBOARD_INTERRUPT: u8 = 1 << 0;
const AUX_INTERRUPT: u8 = 1 << 1;
const SYSTEM_FLAG: u8 = 1 << 2;
const KEYBOARD_DISABLED: u8 = 1 << 4;
const AUX_DISABLED: u8 = 1 << 5;
const TRANSLATE: u8 = 1 << 6;
/// Output port: bit 0 low resets the processor.
const OUTPUT_NOT_RESET: u8 = 1 << 0;
const OUTPUT_A20: u8 = 1 << 1;
/// What the controller reports when a device does not answer.
const NO_ANSWER: u8 = 0xFE;
/// Port 0x92: bit 0 resets the processor, bit 1 is A20.
const PORT_92_RESET: u8 = 1 << 0;

/// A byte in the output buffer.
#[derive(Debug, Clone, Copy)]
struct Output {
    value: u8,
    /// `STATUS_AUX` and `STATUS_TIMEOUT`, where they apply.
    flags: u8,
}

/// The controller.
#[derive(Debug)]
pub struct I8042 {
    keyboard: Keyboard,
    output: Option<Output>,
    memory: [u8; 32],
    output_port: u8,
    last_was_command: bool,
    /// The command whose data byte comes next at port 0x60.
    awaits_data: Option<u8>,
    reset: bool,
}

impl Default for I8042 {
    fn default() -> Self {
        let mut memory = [0; 32];
        // As a BIOS leaves it: translating, keyboard interrupt on, auxiliary port off.
        memory[0] = KEYBOARD_INTERRUPT | SYSTEM_FLAG | AUX_DISABLED | TRANSLATE;
        Self {
            keyboard: Keyboard::default(),
            output: None,
            memory,
            output_port: OUTPUT_NOT_RESET | OUTPUT_A20,
            last_was_command: false,
            awaits_data: None,
            reset: false,
        }
    }
}

impl I8042 {
    /// Reads port 0x60.
    pub fn read_data(&mut self) -> u8 {
        // An empty buffer yields the byte that was there last; here nobody can tell.
        let value = self.output.take().map_or(0, |output| output.value);
        self.pump();
        value
    }

    /// Reads port 0x64.
    pub fn read_status(&self) -> u8 {
        let full = self.output.map_or(0, |output| STATUS_OUTPUT_FULL | output.flags);
        let system = if self.memory[0] & SYSTEM_FLAG != 0 { STATUS_SYSTEM } else { 0 };
        let command = if self.last_was_command { STATUS_COMMAND } else { 0 };
        full | system | command | STATUS_NOT_LOCKED
    }

    /// Writes port 0x60.
    pub fn write_data(&mut self, value: u8) {
        self.last_was_command = false;
        match self.awaits_data.take() {
            Some(command @ 0x60..=0x7F) => self.memory[usize::from(command & 0x1F)] = value,
            Some(0xD1) => self.write_output_port(value),
            Some(0xD2) => self.put(value, 0),
            Some(0xD3) => self.put(value, STATUS_AUX),
            Some(0xD4) => self.put(NO_ANSWER, STATUS_AUX | STATUS_TIMEOUT),
            _ => {
                // Sending to the keyboard enables its interface.
                self.memory[0] &= !KEYBOARD_DISABLED;
                self.keyboard.command(value);
            }
        }
        self.pump();
    }

    /// Writes port 0x64.
    pub fn write_command(&mut self, command: u8) {
        self.last_was_command = true;
        self.awaits_data = None;
        match command {
            0x20..=0x3F => self.put(self.memory[usize::from(command & 0x1F)], 0),
            0x60..=0x7F | 0xD1..=0xD4 => self.awaits_data = Some(command),
            0xA7 => self.memory[0] |= AUX_DISABLED,
            0xA8 => self.memory[0] &= !AUX_DISABLED,
            // Interface tests: no error found. Test inputs: both clocks idle.
            0xA9 | 0xAB | 0xE0 => self.put(0x00, 0),
            0xAA => {
                self.memory[0] |= SYSTEM_FLAG;
                self.put(0x55, 0);
            }
            0xAD => self.memory[0] |= KEYBOARD_DISABLED,
            0xAE => self.memory[0] &= !KEYBOARD_DISABLED,
            // Input port: keyboard not inhibited.
            0xC0 => self.put(0x80, 0),
            0xD0 => {
                let full = self.output.map_or(0, |o| if o.flags & STATUS_AUX != 0 { 1 << 5 } else { 1 << 4 });
                self.put(self.output_port | full, 0);
            }
            // Pulse output bits: bit 0 is the reset line; A20 is not pulsed by anything that exists.
            0xF0..=0xFF => self.reset |= command & OUTPUT_NOT_RESET == 0,
            _ => {}
        }
        self.pump();
    }

    /// Reads port 0x92.
    pub fn read_port_92(&self) -> u8 {
        self.output_port & OUTPUT_A20
    }

    /// Writes port 0x92: bit 0 rising resets the processor.
    pub fn write_port_92(&mut self, value: u8) {
        self.output_port = self.output_port & !OUTPUT_A20 | value & OUTPUT_A20;
        self.reset |= value & PORT_92_RESET != 0;
    }

    /// The level of IRQ 1.
    pub fn keyboard_interrupt(&self) -> bool {
        self.memory[0] & KEYBOARD_INTERRUPT != 0 && self.output.is_some_and(|o| o.flags & STATUS_AUX == 0)
    }

    /// The level of IRQ 12.
    pub fn aux_interrupt(&self) -> bool {
        self.memory[0] & AUX_INTERRUPT != 0 && self.output.is_some_and(|o| o.flags & STATUS_AUX != 0)
    }

    /// Takes the request to reset the processor, if there was one.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset)
    }

    fn write_output_port(&mut self, value: u8) {
        self.output_port = value & (OUTPUT_A20 | OUTPUT_NOT_RESET);
        self.reset |= value & OUTPUT_NOT_RESET == 0;
    }

    fn put(&mut self, value: u8, flags: u8) {
        self.output = Some(Output { value, flags });
    }

    /// Moves the keyboard's next byte into the output buffer, when there is room and its interface is enabled.
    fn pump(&mut self) {
        if self.output.is_none()
            && self.memory[0] & KEYBOARD_DISABLED == 0
            && let Some(value) = self.keyboard.send()
        {
            let value = if self.memory[0] & TRANSLATE != 0 { translate(value) } else { value };
            self.put(value, 0);
        }
    }
}

/// Scan code set 2 to set 1, for the bytes that a keyboard without keys sends: its ID and the number of its set.
/// (IBM PS/2 Hardware Interface Technical Reference, "Keyboard Translation".) Everything above 0x84 passes unchanged.
fn translate(value: u8) -> u8 {
    match value {
        0x01 => 0x43,
        0x02 | 0x83 => 0x41,
        0x03 => 0x3F,
        other => other,
    }
}

#[cfg(test)]
mod tests;
