//! Multiboot 1 kernels (Multiboot Specification 0.6.96), entered in protected mode without paging.
//!
//! | image | loaded |
//! |---|---|
//! | with address fields in its header (flag 16) | as those say, whatever kind of file it is |
//! | 32-bit ELF file | by its program headers, at their physical addresses |
//!
//! EAX holds the loader's magic number, EBX the address of the information structure, 0x7000. Low memory: BIOS data area at 0x400,
//! GDT at 0x500, stack below 0x7000 (a kernel should bring its own of both), command line, list and texts of the modules at
//! 0x20000, ACPI tables at 0xE0000, MP table at 0xF0000. The modules lie behind the kernel, each at a page.

mod header;
mod image;
mod info;

use super::entry::{EntryState, GDT, Mode};
use super::kernel::check_cmdline;
use super::{
    Guest, Start, acpi, bios_data, file, firmware_tables, kind, memory_map, ram_regions, read_image,
};
use crate::devices::fw_cfg;
use crate::disassembly::{Entry, View};
use crate::error::RecorderError;
use crate::rewrite;
use header::Header;
use image::{Layout, Segment};
use info::Placed;
use std::path::{Path, PathBuf};
use trapline_formats::{CpuMode, Gpa, GuestFile};

/// What a kernel finds in EAX (3.2).
const MAGIC: u64 = 0x2bad_b002;
const INFO: u64 = 0x7000;
const TEXTS: u64 = 0x2_0000;
/// What the command line and all that modules are told may fill, of what there is below the EBDA.
const TEXTS_ROOM: usize = 0x1_0000;
const CMDLINE_ROOM: usize = TEXTS_ROOM / 2;
/// Where a PC's screen begins.
const LOW_MEMORY: u64 = 0xa_0000;
const ONE_MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// Indices in [`trapline_formats::Registers::general`].
const RAX: usize = 0;
const RBX: usize = 1;

/// A kernel and what it is booted with.
#[derive(Debug, Clone, Copy)]
pub struct Multiboot<'a> {
    /// The image.
    pub image: &'a Path,
    /// Its modules.
    pub modules: &'a [Module],
    /// The command line.
    pub cmdline: &'a str,
}

/// A file that the kernel finds in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The file.
    pub path: PathBuf,
    /// The text that goes with it: its command line.
    pub text: String,
}

impl Module {
    /// Reads `FILE=TEXT`; without a text the name of the file is told.
    pub fn of(argument: &str) -> Self {
        let (path, text) = argument.split_once('=').unwrap_or((argument, argument));
        Self { path: path.into(), text: text.into() }
    }
}

/// Loads a kernel and its modules.
pub fn load(kernel: Multiboot<'_>, ram_bytes: u64) -> Result<Guest, RecorderError> {
    let memory = ram_regions(ram_bytes)?;
    let low = memory[0].bytes;
    let bytes = read_image("multiboot kernel", kernel.image, low)?;
    let mut files = vec![file("multiboot kernel", kernel.image, &bytes)];
    let layout = layout(&bytes, low).map_err(|reason| RecorderError::Unusable {
        role: "multiboot kernel",
        path: kernel.image.to_owned(),
        reason,
    })?;
    check_texts(&kernel)?;
    let end = layout.segments.iter().map(Segment::end).max().unwrap_or(0).max(ONE_MIB);
    let (mut contents, placed) = place_modules(kernel.modules, end, low, &mut files)?;
    let rewritten = rewrite_sources(bytes, &layout);
    contents.extend(layout.segments.iter().map(|s| {
        let start = s.offset as usize;
        (Gpa(s.gpa), rewritten.image[start..start + s.file_bytes as usize].to_vec())
    }));
    contents.extend(info::build(INFO, TEXTS, kernel.cmdline, &placed, &memory_map::of(&memory)));
    contents.extend(firmware_tables());
    let start = entry_state(layout.ip);
    contents.extend(start.tables());
    Ok(Guest {
        entry: layout.entry.into(),
        memory,
        ram_bytes,
        contents,
        files,
        rewrites: rewritten.rewrites,
        suspects: rewritten.suspects,
        stand_ins: rewritten.stand_ins,
        used_ports: rewritten.used_ports,
        mirrors: Vec::new(),
        fw_cfg: fw_cfg::Contents::default(),
        hand_off: None,
        start: Start::Entered(start),
    })
}

/// The state of 3.2: flat 32-bit segments, paging and interrupts off.
fn entry_state(ip: u64) -> EntryState {
    EntryState {
        mode: Mode::Bits32,
        ip,
        stack: INFO,
        selectors: (8, 16),
        mapped_gib: 0,
        registers: vec![(RAX, MAGIC), (RBX, INFO)],
    }
}

/// What there is to load, none of it where the loader's own structures lie.
fn layout(bytes: &[u8], low: u64) -> Result<Layout, String> {
    let header = Header::find(bytes).map_err(|e| format!("{e}{}", kind::hint(bytes, "--multiboot")))?;
    let layout = Layout::of(bytes, &header, low)?;
    let taken = [
        ("the BIOS data area and the descriptor table", bios_data::AT, GDT + 0x100),
        ("the boot information", INFO, INFO + PAGE),
        ("the command line", TEXTS, TEXTS + TEXTS_ROOM as u64),
        ("the extended BIOS data area", memory_map::LOW_END, LOW_MEMORY),
        ("the ACPI and MP tables", acpi::RSDP, acpi::END),
    ];
    for segment in &layout.segments {
        if let Some((what, start, end)) =
            taken.iter().find(|(_, start, end)| segment.gpa < *end && *start < segment.end())
        {
            return Err(format!(
                "it wants to lie at {:#x}..{:#x}, and {start:#x}..{end:#x} holds {what}: link it for 1 MiB or above",
                segment.gpa,
                segment.end()
            ));
        }
    }
    Ok(layout)
}

/// The texts have a bound, and no zeros.
fn check_texts(kernel: &Multiboot<'_>) -> Result<(), RecorderError> {
    check_cmdline(kernel.cmdline, CMDLINE_ROOM - 1)?;
    // Each text has its final zero, each module 16 bytes in the list.
    let bytes: usize = kernel.modules.iter().map(|m| m.text.len() + 1 + 16).sum();
    if bytes > TEXTS_ROOM - CMDLINE_ROOM - 4 {
        return Err(RecorderError::CommandLine(format!(
            "what the modules are told has {bytes} bytes with their list, and {} fit",
            TEXTS_ROOM - CMDLINE_ROOM - 4
        )));
    }
    match kernel.modules.iter().find(|m| m.text.contains('\0')) {
        Some(module) => Err(RecorderError::CommandLine(format!(
            "the text of the module {} holds a zero byte",
            module.path.display()
        ))),
        None => Ok(()),
    }
}

type Contents = Vec<(Gpa, Vec<u8>)>;

/// Puts the modules one after the other from `at` on, each at a page.
fn place_modules(
    modules: &[Module],
    mut at: u64,
    low: u64,
    files: &mut Vec<GuestFile>,
) -> Result<(Contents, Vec<Placed>), RecorderError> {
    let (mut contents, mut placed) = (Contents::new(), Vec::new());
    for module in modules {
        let bytes = read_image("module", &module.path, low)?;
        let start = at.next_multiple_of(PAGE);
        at = start + bytes.len() as u64;
        if at > low {
            let reason = format!(
                "it has {} bytes, and kernel and modules before it leave {} of {} MiB: give the guest more --memory",
                bytes.len(),
                low.saturating_sub(start),
                low >> 20
            );
            return Err(RecorderError::Unusable { role: "module", path: module.path.clone(), reason });
        }
        files.push(file("module", &module.path, &bytes));
        placed.push(Placed { start, end: at, text: module.text.clone() });
        contents.push((Gpa(start), bytes));
    }
    Ok((contents, placed))
}

/// Sources found in executable sections, and by following the code from where it is entered.
fn rewrite_sources(bytes: Vec<u8>, layout: &Layout) -> rewrite::Rewritten {
    let view = |linear: u64, s: &Segment| View { linear, offset: s.offset, bytes: s.file_bytes };
    let code = || layout.segments.iter().filter(|s| s.is_code);
    // The last view is where it is loaded.
    let views: Vec<View> = code().map(|s| view(s.linear, s)).chain(code().map(|s| view(s.gpa, s))).collect();
    let entry = Entry { segment_base: 0, ip: layout.ip, mode: CpuMode::Protected32 };
    let mut code = rewrite::Code::reached(&bytes, &views, &[entry], &[]);
    for (offset, length) in &layout.sources {
        code.sources.entry(*offset).or_insert((*length, "decoding the kernel's code from end to end"));
    }
    rewrite::sources_at(bytes, &views, code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::samples::{elf32, fields};

    /// Where `samples::elf32` has the physical address of its only segment.
    const PHYSICAL: usize = 0x34 + 12;

    #[test]
    fn a_kernel_that_wants_to_lie_where_the_loader_has_its_own_is_refused() {
        let refused = |gpa: u64, words: &str| {
            let mut image = elf32(&[0xf4]);
            fields(&mut image, &[(PHYSICAL, 4, gpa)]);
            let error = layout(&image, 4 << 20).unwrap_err();
            assert!(error.contains(words) && error.contains("1 MiB or above"), "{error}");
        };
        refused(0, "descriptor table");
        refused(0x6000, "boot information");
        refused(0x2_ffff, "command line");
        refused(0x9_f000, "extended BIOS data area");
        refused(0xe_0000, "ACPI and MP tables");
        let mut image = elf32(&[0xf4]);
        fields(&mut image, &[(PHYSICAL, 4, 0x3_0000)]);
        assert!(layout(&image, 4 << 20).is_ok(), "there is room between");
    }

    #[test]
    fn a_module_is_a_file_and_a_text_that_may_hold_anything() {
        let module = |path: &str, text: &str| Module { path: path.into(), text: text.into() };
        assert_eq!(Module::of("dir/file"), module("dir/file", "dir/file"));
        assert_eq!(Module::of("file=root=/dev/sda quiet"), module("file", "root=/dev/sda quiet"));
        assert_eq!(Module::of("file="), module("file", ""));
    }
}
