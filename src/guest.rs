//! The guest that the command line names.

use crate::args::{BootProtocol, FlatMode, GuestArgs};
use anyhow::{Result, bail};
use trapline_recorder::Guest;
use trapline_recorder::guest::kernel::{self, Kernel, Protocol};
use trapline_recorder::guest::multiboot::{self, Module, Multiboot};
use trapline_recorder::guest::{firmware, flat};

/// Loads the guest that the command line names.
pub fn load(args: &GuestArgs) -> Result<Guest> {
    let GuestArgs { memory, cmdline, .. } = args;
    if let Some(rom) = &args.firmware {
        return Ok(firmware::load(rom, *memory)?);
    }
    if let Some(image) = &args.kernel {
        let protocol = match args.protocol {
            BootProtocol::Auto => Protocol::Auto,
            BootProtocol::Pvh => Protocol::Pvh,
            BootProtocol::Linux64 => Protocol::Linux64,
            BootProtocol::Linux32 => Protocol::Linux32,
        };
        return Ok(kernel::load(
            Kernel { image, initrd: args.initrd.as_deref(), cmdline, protocol },
            *memory,
        )?);
    }
    if let Some(image) = &args.multiboot {
        let modules: Vec<Module> = args.module.iter().map(|m| Module::of(m)).collect();
        return Ok(multiboot::load(Multiboot { image, modules: &modules, cmdline }, *memory)?);
    }
    let Some(image) = &args.flat else {
        bail!("name a guest: --firmware ROM, --kernel IMAGE, --multiboot ELF or --flat FILE")
    };
    let mode = match args.mode {
        FlatMode::Bits16 => flat::Mode::Bits16,
        FlatMode::Bits32 => flat::Mode::Bits32,
        FlatMode::Bits64 => flat::Mode::Bits64,
    };
    Ok(flat::load(image, mode, *memory)?)
}
