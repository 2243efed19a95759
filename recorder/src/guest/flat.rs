//! Flat images: loaded and entered at 0x8000, with the stack below, in the state that [`super::entry`] tells exactly: code
//! selector 8, data selector 16, in 64-bit mode the first GiB mapped. All other memory is zero.

use super::entry::EntryState;
use super::{Guest, Start, file, ram_regions, read_image};
use crate::devices::fw_cfg::Contents;
use crate::disassembly::{Entry, View};
use crate::error::RecorderError;
use crate::rewrite;
use std::collections::BTreeSet;
use std::path::Path;
use trapline_formats::Gpa;

pub use super::entry::Mode;

/// Where images are loaded and entered.
pub const ENTRY: u64 = 0x8000;

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Bits16 => "flat 16-bit",
        Mode::Bits32 => "flat 32-bit",
        Mode::Bits64 => "flat 64-bit",
    }
}

/// Loads a flat image from a file.
pub fn load(path: &Path, mode: Mode, ram_bytes: u64) -> Result<Guest, RecorderError> {
    let memory = ram_regions(ram_bytes)?;
    let room = memory[0].bytes - ENTRY;
    let image = read_image("flat image", path, room)?;
    let mut guest = from_bytes(image, mode, ram_bytes)?;
    guest.files = vec![file("flat image", path, &guest.contents[0].1)];
    Ok(guest)
}

/// Loads a flat image from memory.
pub fn from_bytes(image: Vec<u8>, mode: Mode, ram_bytes: u64) -> Result<Guest, RecorderError> {
    let memory = ram_regions(ram_bytes)?;
    let files = vec![file("flat image", Path::new("built-in"), &image)];
    let view = View { linear: ENTRY, offset: 0, bytes: image.len() as u64 };
    let entry = Entry { segment_base: 0, ip: ENTRY, mode: mode.cpu_mode() };
    let rewritten = rewrite::sources(image, &[view], &[entry], &[], &BTreeSet::new());
    let start = EntryState {
        mode,
        ip: ENTRY,
        stack: ENTRY,
        selectors: (8, 16),
        mapped_gib: 1,
        registers: Vec::new(),
    };
    let mut contents = vec![(Gpa(ENTRY), rewritten.image)];
    contents.extend(start.tables());
    Ok(Guest {
        entry: name(mode).to_owned(),
        memory,
        ram_bytes,
        contents,
        files,
        rewrites: rewritten.rewrites,
        suspects: rewritten.suspects,
        stand_ins: rewritten.stand_ins,
        used_ports: rewritten.used_ports,
        mirrors: Vec::new(),
        fw_cfg: Contents::default(),
        hand_off: None,
        start: Start::Entered(start),
    })
}
