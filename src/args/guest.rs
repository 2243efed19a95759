//! The guest that a command line names.

use super::values::bytes;
use clap::{ArgGroup, Args, ValueEnum};
use std::path::PathBuf;

/// The guest, and what it is booted with.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("guest").required(true).multiple(true).args(["firmware", "kernel", "multiboot", "flat"])))]
#[command(group(ArgGroup::new("booted").args(["kernel", "multiboot"])))]
pub struct GuestArgs {
    /// Boot this firmware ROM from the reset vector.
    #[arg(long, value_name = "ROM", conflicts_with_all = ["multiboot", "flat"])]
    pub firmware: Option<PathBuf>,
    /// An option ROM for the firmware, as QEMU's `linuxboot.bin`, which boots the --kernel by its real-mode entry. Once for each.
    #[arg(long, value_name = "FILE", requires = "firmware")]
    pub option_rom: Vec<PathBuf>,
    /// Boot this kernel: a bzImage or an ELF file vmlinux.
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["multiboot", "flat"])]
    pub kernel: Option<PathBuf>,
    /// The kernel's initial RAM disk.
    #[arg(long, value_name = "FILE", requires = "kernel", conflicts_with_all = ["multiboot", "flat"])]
    pub initrd: Option<PathBuf>,
    /// Boot this multiboot 1 kernel: a 32-bit ELF file, or any file whose header says where it goes.
    #[arg(long, value_name = "ELF", conflicts_with = "flat")]
    pub multiboot: Option<PathBuf>,
    /// A module for the multiboot kernel, and the text that goes with it (without one, its name). Give it once for each.
    #[arg(long, value_name = "FILE[=TEXT]", requires = "multiboot", conflicts_with_all = ["firmware", "kernel", "flat"])]
    pub module: Vec<String>,
    /// The kernel's command line, word for word.
    #[arg(long, default_value = "", value_name = "TEXT", requires = "booted", allow_hyphen_values = true)]
    pub cmdline: String,
    /// How the kernel is entered.
    #[arg(long, default_value = "auto", requires = "kernel", conflicts_with = "firmware")]
    pub protocol: BootProtocol,
    /// Load this flat image at 0x8000 and enter it there.
    #[arg(long, value_name = "FILE")]
    pub flat: Option<PathBuf>,
    /// The mode a flat image is entered in.
    #[arg(long, default_value = "64", value_name = "BITS")]
    pub mode: FlatMode,
    /// Guest memory: a number of bytes, or with a suffix K, M, G.
    #[arg(long, default_value = "64M", value_parser = bytes, value_name = "SIZE")]
    pub memory: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FlatMode {
    #[value(name = "16")]
    Bits16,
    #[value(name = "32")]
    Bits32,
    #[value(name = "64")]
    Bits64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BootProtocol {
    /// Linux by its 64-bit protocol, any other ELF file by PVH where it has that entry.
    Auto,
    /// PVH, in 32-bit mode.
    Pvh,
    /// Linux's 64-bit protocol.
    Linux64,
    /// Linux's 32-bit protocol.
    Linux32,
}
