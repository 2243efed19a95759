//! Operating system kernels entered without firmware, by the boot protocol that the image asks for.
//!
//! | image | protocol | entered in |
//! |---|---|---|
//! | bzImage (Linux, Documentation/arch/x86/boot.rst) | 64-bit where the image has that entry, else 32-bit | RSI: zero page |
//! | ELF vmlinux that is Linux, or has no PVH note | 64-bit Linux | RSI: zero page |
//! | any other with a PVH note (Xen, docs/misc/pvh.pandoc) | PVH | 32-bit, EBX: start info |
//!
//! Low memory: BIOS data area at 0x400, GDT at 0x500, page tables from 0x1000, zero page or start info at 0x7000, stack below
//! 0x9000, command line at 0x20000, ACPI tables at 0xE0000, MP table at 0xF0000; the first 4 GiB are identity-mapped. The initial
//! RAM disk lies at the end of low RAM.

mod bzimage;
pub(crate) mod in_memory;
mod payload;
mod pvh;
mod seed;
mod setup_header;
mod text;
mod vmlinux;
mod zero_page;

pub(super) use setup_header::{SetupHeader, fill_in};

use super::entry::{EntryState, Mode};
use super::{Guest, Start, file, firmware_tables, kind, memory_map, ram_regions, read_image};
use crate::devices::fw_cfg::Contents;
use crate::error::RecorderError;
use crate::hand_off::HandOff;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use trapline_formats::{Gpa, GuestFile, MemoryRegion, Rewrite, StandIns, Suspect};
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// Zero page or start info.
const BOOT_INFO: u64 = 0x7000;
const STACK: u64 = 0x9000;
const CMDLINE: u64 = 0x2_0000;
/// What fits before the EBDA.
const CMDLINE_ROOM: usize = 0x1_0000;
const PAGE: u64 = 4096;
/// An ELF file with debug information is larger than what is loaded of it, and than many a guest's memory.
const LARGEST_FILE: u64 = 2 << 30;
/// Selectors that Linux asks for: `__BOOT_CS` and `__BOOT_DS`.
const SELECTORS: (u16, u16) = (0x10, 0x18);

/// Which boot protocol to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// The one that the image asks for.
    #[default]
    Auto,
    /// PVH.
    Pvh,
    /// Linux's, at the 64-bit entry.
    Linux64,
    /// Linux's, at the 32-bit entry of a bzImage.
    Linux32,
}

/// A kernel and what it is booted with.
#[derive(Debug, Clone, Copy)]
pub struct Kernel<'a> {
    /// The image: bzImage or ELF.
    pub image: &'a Path,
    /// The initial RAM disk.
    pub initrd: Option<&'a Path>,
    /// The command line.
    pub cmdline: &'a str,
    /// The protocol.
    pub protocol: Protocol,
}

/// A kernel image in memory, and how it is entered.
pub(crate) struct Loaded {
    entry: &'static str,
    mode: Mode,
    ip: u64,
    /// Linux's setup header, where the image has one.
    header: Option<linux_loader::loader::bootparam::setup_header>,
    is_pvh: bool,
    pub(super) contents: Vec<(Gpa, Vec<u8>)>,
    /// First address after everything that the image will use for itself.
    pub(super) end: u64,
    pub(crate) rewrites: Vec<Rewrite>,
    pub(super) suspects: Vec<Suspect>,
    pub(crate) stand_ins: StandIns,
    pub(super) used_ports: BTreeSet<u8>,
    pub(crate) hand_off: Option<HandOff>,
}

/// Where the initial RAM disk is: (address, bytes).
pub(super) type Initrd = Option<(u64, u64)>;

/// Loads a kernel.
pub fn load(kernel: Kernel<'_>, ram_bytes: u64) -> Result<Guest, RecorderError> {
    let memory = ram_regions(ram_bytes)?;
    let low = memory[0].bytes;
    let image = read_image("kernel", kernel.image, LARGEST_FILE)?;
    let unusable =
        |reason: String| RecorderError::Unusable { role: "kernel", path: kernel.image.to_owned(), reason };
    let mut files = vec![file("kernel", kernel.image, &image)];
    let loaded = if SetupHeader::of(&image).is_some() {
        bzimage::load(&image, kernel.protocol, low, BTreeSet::new())
    } else if vmlinux::is_one(&image) {
        vmlinux::load(&image, kernel.protocol, low)
    } else {
        Err(format!("it is neither a bzImage nor an ELF file for x86-64{}", kind::hint(&image, "--kernel")))
    }
    .map_err(unusable)?;
    let mut contents = loaded.contents.clone();
    let initrd = load_initrd(&kernel, &loaded, low, &mut contents, &mut files)?;
    let longest = loaded.header.map_or(CMDLINE_ROOM, |h| h.cmdline_size as usize);
    check_cmdline(kernel.cmdline, longest.min(CMDLINE_ROOM - 1))?;
    contents.push((Gpa(CMDLINE), [kernel.cmdline.as_bytes(), b"\0"].concat()));
    contents.extend(firmware_tables());
    contents.extend(boot_info(&loaded, kernel.cmdline.len() as u64, initrd, &memory));
    let register = if loaded.is_pvh { RBX } else { RSI };
    let start = EntryState {
        mode: loaded.mode,
        ip: loaded.ip,
        stack: STACK,
        selectors: SELECTORS,
        mapped_gib: 4,
        registers: vec![(register, BOOT_INFO)],
    };
    contents.extend(start.tables());
    Ok(Guest {
        entry: loaded.entry.to_owned(),
        memory,
        ram_bytes,
        contents,
        files,
        rewrites: loaded.rewrites,
        suspects: loaded.suspects,
        stand_ins: loaded.stand_ins,
        used_ports: loaded.used_ports,
        mirrors: Vec::new(),
        fw_cfg: Contents::default(),
        hand_off: loaded.hand_off,
        start: Start::Entered(start),
    })
}

/// A bzImage with its sources rewritten, where a boot loader on a BIOS enters it; what runs before it uses these ports. `None`: it has
/// no other entry than that in real mode, and is left as it is.
pub(super) fn for_a_bios(image: &[u8], low: u64, used_ports: BTreeSet<u8>) -> Result<Option<Loaded>, String> {
    match SetupHeader::of(image) {
        Some(header) if header.fields.code32_start != 0 => {
            bzimage::load(image, Protocol::Auto, low, used_ports).map(Some)
        }
        _ => Ok(None),
    }
}

/// Memory for linux-loader to load into: what it wrote is taken from there.
fn scratch(bytes: u64) -> Result<GuestMemoryMmap, String> {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), bytes as usize)])
        .map_err(|e| format!("no memory to load it into: {e}"))
}

/// Indices in [`trapline_formats::Registers::general`].
const RBX: usize = 1;
const RSI: usize = 4;

fn load_initrd(
    kernel: &Kernel<'_>,
    loaded: &Loaded,
    low: u64,
    contents: &mut Vec<(Gpa, Vec<u8>)>,
    files: &mut Vec<GuestFile>,
) -> Result<Initrd, RecorderError> {
    let Some(path) = kernel.initrd else { return Ok(None) };
    let bytes = read_image("initrd", path, low)?;
    let highest = loaded.header.map_or(u64::from(u32::MAX), |h| u64::from(h.initrd_addr_max) + 1);
    let length = bytes.len() as u64;
    let at = place_initrd(path, length, loaded.end..low.min(highest), low)?;
    files.push(file("initrd", path, &bytes));
    contents.push((Gpa(at), bytes));
    Ok(Some((at, length)))
}

/// Where a RAM disk of so many bytes goes: as high as there is room for it behind the kernel.
pub(super) fn place_initrd(
    path: &Path,
    bytes: u64,
    room: Range<u64>,
    low: u64,
) -> Result<u64, RecorderError> {
    let at = room.end.saturating_sub(bytes) & !(PAGE - 1);
    if at < room.start {
        let reason = format!(
            "it has {bytes} bytes, and the kernel leaves {} of {} MiB: give the guest more --memory",
            low.saturating_sub(room.start),
            low >> 20
        );
        return Err(RecorderError::Unusable { role: "initrd", path: path.to_owned(), reason });
    }
    Ok(at)
}

/// A command line is text without zeros, and a kernel takes so many bytes of it.
pub(super) fn check_cmdline(text: &str, longest: usize) -> Result<(), RecorderError> {
    if text.len() > longest {
        return Err(RecorderError::CommandLine(format!(
            "it has {} bytes, and this kernel takes {longest}",
            text.len()
        )));
    }
    if text.contains('\0') {
        return Err(RecorderError::CommandLine("it holds a zero byte".into()));
    }
    Ok(())
}

fn boot_info(
    loaded: &Loaded,
    cmdline_bytes: u64,
    initrd: Initrd,
    memory: &[MemoryRegion],
) -> Vec<(Gpa, Vec<u8>)> {
    let map = memory_map::of(memory);
    if loaded.is_pvh {
        pvh::start_info(BOOT_INFO, CMDLINE, initrd, &map)
    } else {
        let header = loaded.header.unwrap_or_default();
        vec![seed::node(), (Gpa(BOOT_INFO), zero_page::build(header, CMDLINE, cmdline_bytes, initrd, &map))]
    }
}
