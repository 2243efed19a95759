//! A debug console: every byte written to its port is printed.
//!
//! Two conventions share one behaviour: port 0xE9 (Bochs, "port e9 hack") and port 0x402 (QEMU `isa-debugcon`, where
//! `SeaBIOS` prints). Both read as 0xE9, which is how a guest finds out that the port is there.

/// The value that says "a debug console is here" (Bochs `iodev/unmapped.cc`; QEMU `hw/char/debugcon.c`).
pub const READBACK: u8 = 0xE9;

/// The debug console behind one port.
#[derive(Debug, Default)]
pub struct DebugConsole {
    output: Vec<u8>,
}

impl DebugConsole {
    /// Prints one byte.
    pub fn write(&mut self, value: u8) {
        self.output.push(value);
    }

    /// What was printed and not yet taken.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }
}
