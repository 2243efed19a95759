//! A PS/2 keyboard that nobody types on (IBM PS/2 Hardware Interface Technical Reference, "Keyboard"): it answers
//! commands, and that is what firmware and drivers look for.

use std::collections::VecDeque;

const ACK: u8 = 0xFA;
const RESEND: u8 = 0xFE;
const ECHO: u8 = 0xEE;
/// Basic assurance test passed.
const BAT_PASSED: u8 = 0xAA;
/// An MF2 keyboard.
const ID: [u8; 2] = [0xAB, 0x83];

/// A keyboard at the end of its cable.
#[derive(Debug)]
pub struct Keyboard {
    /// Bytes to send. No command leaves more than three, and a new one discards them.
    output: VecDeque<u8>,
    last_sent: u8,
    /// The command whose parameter comes next.
    awaits_parameter: Option<u8>,
    scan_code_set: u8,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self { output: VecDeque::new(), last_sent: BAT_PASSED, awaits_parameter: None, scan_code_set: 2 }
    }
}

impl Keyboard {
    /// The controller sends a byte to the keyboard.
    pub fn command(&mut self, value: u8) {
        self.output.clear();
        // Every command is above the range of parameters, so a command in place of a parameter is a new command.
        match self.awaits_parameter.take() {
            Some(command) if value < 0xED => self.parameter(command, value),
            _ => self.start(value),
        }
    }

    /// The keyboard sends a byte to the controller.
    pub fn send(&mut self) -> Option<u8> {
        let byte = self.output.pop_front()?;
        self.last_sent = byte;
        Some(byte)
    }

    fn start(&mut self, command: u8) {
        match command {
            0xEE => self.answer(&[ECHO]),
            // Indicators, scan code set, typematic rate, and the three that name a key.
            0xED | 0xF0 | 0xF3 | 0xFB..=0xFD => {
                self.awaits_parameter = Some(command);
                self.answer(&[ACK]);
            }
            0xF2 => self.answer(&[ACK, ID[0], ID[1]]),
            0xF5 | 0xF6 => {
                self.scan_code_set = 2;
                self.answer(&[ACK]);
            }
            // Enable, and the modes of all keys: with no key pressed they change nothing that shows.
            0xF4 | 0xF7..=0xFA => self.answer(&[ACK]),
            0xFE => self.answer(&[self.last_sent]),
            0xFF => {
                self.scan_code_set = 2;
                self.answer(&[ACK, BAT_PASSED]);
            }
            _ => self.answer(&[RESEND]),
        }
    }

    fn parameter(&mut self, command: u8, value: u8) {
        match (command, value) {
            (0xF0, 0) => self.answer(&[ACK, self.scan_code_set]),
            (0xF0, 1..=3) => {
                self.scan_code_set = value;
                self.answer(&[ACK]);
            }
            (0xF0, _) => self.answer(&[RESEND]),
            _ => self.answer(&[ACK]),
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.output.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(keyboard: &mut Keyboard, value: u8) -> Vec<u8> {
        keyboard.command(value);
        std::iter::from_fn(|| keyboard.send()).collect()
    }

    #[test]
    fn reset_is_acknowledged_and_passes_the_self_test() {
        assert_eq!(answers(&mut Keyboard::default(), 0xFF), [0xFA, 0xAA]);
    }

    #[test]
    fn identify_names_an_mf2_keyboard() {
        assert_eq!(answers(&mut Keyboard::default(), 0xF2), [0xFA, 0xAB, 0x83]);
    }

    #[test]
    fn the_scan_code_set_is_set_asked_for_and_put_back_by_set_defaults() {
        let mut keyboard = Keyboard::default();
        for value in [0xF0, 0x03, 0xF0] {
            assert_eq!(answers(&mut keyboard, value), [0xFA]);
        }
        assert_eq!(answers(&mut keyboard, 0x00), [0xFA, 0x03]);
        answers(&mut keyboard, 0xF6);
        answers(&mut keyboard, 0xF0);
        assert_eq!(answers(&mut keyboard, 0x00), [0xFA, 0x02]);
    }

    #[test]
    fn a_command_instead_of_a_parameter_is_a_new_command() {
        let mut keyboard = Keyboard::default();
        answers(&mut keyboard, 0xED);
        assert_eq!(answers(&mut keyboard, 0xEE), [0xEE]);
        assert_eq!(answers(&mut keyboard, 0x02), [0xFE], "no parameter is awaited any more");
    }

    #[test]
    fn resend_repeats_the_last_byte() {
        let mut keyboard = Keyboard::default();
        answers(&mut keyboard, 0xF2);
        assert_eq!(answers(&mut keyboard, 0xFE), [0x83]);
    }

    #[test]
    fn a_new_command_discards_what_was_not_sent() {
        let mut keyboard = Keyboard::default();
        for _ in 0..1000 {
            keyboard.command(0xF2);
        }
        assert_eq!(keyboard.output.len(), 3);
    }
}
