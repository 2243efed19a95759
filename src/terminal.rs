//! The terminal: raw while a guest's console owns it.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::IsTerminal;

/// While it lives, standard input is raw: every key goes to the guest.
pub struct RawTerminal(Termios);

impl RawTerminal {
    /// Makes standard input raw, if it is a terminal.
    pub fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        // Output stays cooked: our own messages end their lines with a mere line feed.
        raw.output_modes = before.output_modes;
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // At worst the user types `reset`.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
