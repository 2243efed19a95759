//! What a guest is booted from, by whatever loader.

use crate::error::RecorderError;
use crate::guest::firmware::{self, Firmware};
use crate::guest::kernel::{self, Kernel};
use crate::guest::multiboot::{self, Multiboot};
use crate::guest::{Guest, flat};
use std::path::Path;

/// An image, and how it is entered.
#[derive(Debug, Clone, Copy)]
pub enum Boot<'a> {
    /// A firmware ROM, from the reset vector.
    Firmware(Firmware<'a>),
    /// A Linux kernel, or another that is entered by PVH.
    Kernel(Kernel<'a>),
    /// A multiboot 1 kernel.
    Multiboot(Multiboot<'a>),
    /// A flat image in this mode.
    Flat(&'a Path, flat::Mode),
}

impl Boot<'_> {
    /// Loads it into a guest with so much RAM.
    pub fn load(self, ram_bytes: u64) -> Result<Guest, RecorderError> {
        match self {
            Self::Firmware(firmware) => firmware::load(firmware, ram_bytes),
            Self::Kernel(kernel) => kernel::load(kernel, ram_bytes),
            Self::Multiboot(kernel) => multiboot::load(kernel, ram_bytes),
            Self::Flat(image, mode) => flat::load(image, mode, ram_bytes),
        }
    }
}
