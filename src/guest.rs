//! The guest that the command line names.

use crate::args::{BootProtocol, FlatMode, GuestArgs};
use anyhow::{Result, bail};
use trapline_recorder::Guest;
use trapline_recorder::guest::firmware::Firmware;
use trapline_recorder::guest::kernel::{Kernel, Protocol};
use trapline_recorder::guest::multiboot::{Module, Multiboot};
use trapline_recorder::guest::{Boot, flat};

/// Loads the guest that the command line names.
pub fn load(args: &GuestArgs) -> Result<Guest> {
    let cmdline = &args.cmdline;
    let modules: Vec<_> = args.module.iter().map(|m| Module::of(m)).collect();
    let protocol = match args.protocol {
        BootProtocol::Auto => Protocol::Auto,
        BootProtocol::Pvh => Protocol::Pvh,
        BootProtocol::Linux64 => Protocol::Linux64,
        BootProtocol::Linux32 => Protocol::Linux32,
    };
    let kernel = |image| Kernel { image, initrd: args.initrd.as_deref(), cmdline, protocol };
    let boot = if let Some(rom) = &args.firmware {
        let option_roms = &args.option_rom;
        Boot::Firmware(Firmware { rom, option_roms, kernel: args.kernel.as_deref().map(kernel) })
    } else if let Some(image) = &args.kernel {
        Boot::Kernel(kernel(image))
    } else if let Some(image) = &args.multiboot {
        Boot::Multiboot(Multiboot { image, modules: &modules, cmdline })
    } else if let Some(image) = &args.flat {
        let mode = match args.mode {
            FlatMode::Bits16 => flat::Mode::Bits16,
            FlatMode::Bits32 => flat::Mode::Bits32,
            FlatMode::Bits64 => flat::Mode::Bits64,
        };
        Boot::Flat(image, mode)
    } else {
        bail!("name a guest: --firmware ROM, --kernel IMAGE, --multiboot ELF or --flat FILE")
    };
    Ok(boot.load(args.memory)?)
}
