//! The exit device: a guest ends its run, with a code, by writing one byte to port 0xF4.
//!
//! The port is QEMU's customary one for `isa-debug-exit` (`hw/misc/debugexit.c`); the code is taken as it is, without
//! QEMU's doubling.

use crate::platform::Request;

/// Customary port of the exit device.
pub const PORT: u16 = 0xF4;

/// The request that writing `value` makes.
pub fn request(value: u8) -> Request {
    Request::Exit(value)
}
