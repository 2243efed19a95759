//! A guest, loaded: memory, its contents, and the state the vCPU starts in.

pub mod acpi;
mod bios_data;
mod boot;
mod boot_rom;
mod close;
pub mod entry;
pub mod firmware;
pub mod flat;
pub mod kernel;
mod kind;
mod memory_map;
mod mp_table;
pub mod multiboot;

#[cfg(test)]
mod mutated;
#[cfg(test)]
mod samples;

pub use boot::Boot;

use crate::devices::fw_cfg::Contents;
use crate::error::RecorderError;
use crate::hand_off::HandOff;
use entry::EntryState;
use std::collections::BTreeSet;
use std::path::Path;
use trapline_formats::{CpuState, Gpa, GuestFile, MemoryRegion, Rewrite, StandIns, Suspect};
use trapline_machine::available_memory;

/// RAM below this address; the rest goes above 4 GiB. The 1 GiB hole is where PCI and APICs live.
pub const PCI_HOLE: u64 = 0xc000_0000;
const FOUR_GIB: u64 = 1 << 32;
const PAGE: u64 = 4096;

/// A guest, ready to be given to a machine.
#[derive(Debug, Clone)]
pub struct Guest {
    /// How it is entered, in words.
    pub entry: String,
    /// Its memory.
    pub memory: Vec<MemoryRegion>,
    /// RAM in bytes, ROM not counted.
    pub ram_bytes: u64,
    /// What is in memory at the start.
    pub contents: Vec<(Gpa, Vec<u8>)>,
    /// Files it was loaded from.
    pub files: Vec<GuestFile>,
    /// Instructions rewritten in `contents`.
    pub rewrites: Vec<Rewrite>,
    /// Bytes in `contents` that look like instructions to be rewritten and were not proved to be.
    pub suspects: Vec<Suspect>,
    /// The ports that stand for rewritten instructions.
    pub stand_ins: StandIns,
    /// Ports that its code writes, among those that could stand for an instruction.
    pub used_ports: BTreeSet<u8>,
    /// What is in memory twice.
    pub mirrors: Vec<Mirror>,
    /// What its firmware finds in `fw_cfg`, beside what a PC has there.
    pub fw_cfg: Contents,
    /// Where code that unpacked itself is entered, and its clock reads are rewritten.
    pub hand_off: Option<HandOff>,
    /// The vCPU's start.
    pub start: Start,
}

/// Memory that is loaded in two places, as firmware is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirror {
    /// Where each of them begins.
    pub gpas: [u64; 2],
    /// Its size.
    pub bytes: u64,
}

/// How the vCPU starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// As after a reset: real mode at F000:FFF0 (SDM vol. 3, 10.1).
    Reset,
    /// At an image, in a state made for it.
    Entered(EntryState),
}

impl Start {
    /// The start state, from the vCPU's reset state.
    pub fn apply(&self, reset: CpuState) -> CpuState {
        match self {
            Self::Reset => reset,
            Self::Entered(state) => state.apply(reset),
        }
    }
}

/// RAM of a PC: below the PCI hole, and the rest above 4 GiB.
pub(crate) fn ram_regions(bytes: u64) -> Result<Vec<MemoryRegion>, RecorderError> {
    let impossible = |reason: String| RecorderError::MemorySize { bytes, reason };
    if bytes < 1 << 20 {
        return Err(impossible("a guest needs at least 1M".into()));
    }
    if !bytes.is_multiple_of(PAGE) {
        return Err(impossible("it must be a multiple of 4096 bytes".into()));
    }
    let available = available_memory();
    if bytes > available {
        return Err(impossible(format!(
            "this host has only {} MiB available: give the guest less",
            available >> 20
        )));
    }
    let ram = |gpa, bytes| MemoryRegion { gpa, bytes, readonly: false };
    Ok(match bytes.checked_sub(PCI_HOLE) {
        None | Some(0) => vec![ram(0, bytes)],
        Some(high) => vec![ram(0, PCI_HOLE), ram(FOUR_GIB, high)],
    })
}

/// What firmware would have left: BIOS data area, ACPI and MP tables.
pub(crate) fn firmware_tables() -> Vec<(Gpa, Vec<u8>)> {
    let mut tables = bios_data::areas().to_vec();
    tables.extend([acpi::tables(), mp_table::tables()]);
    tables
}

/// Reads a whole image, not larger than `limit`.
pub(crate) fn read_image(role: &'static str, path: &Path, limit: u64) -> Result<Vec<u8>, RecorderError> {
    let failed = |source| RecorderError::Image { role, path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let unusable = |reason: String| RecorderError::Unusable { role, path: path.to_owned(), reason };
    if metadata.is_dir() {
        return Err(unusable("it is a directory".into()));
    }
    if metadata.len() > limit {
        return Err(unusable(format!("it has {} bytes, and at most {limit} fit", metadata.len())));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    if bytes.is_empty() {
        return Err(unusable("it is empty".into()));
    }
    Ok(bytes)
}

/// What the header says of an image.
pub(crate) fn file(role: &str, path: &Path, bytes: &[u8]) -> GuestFile {
    GuestFile {
        role: role.to_owned(),
        name: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        bytes: bytes.len() as u64,
        xxh3: trapline_formats::memory::page_hash(bytes),
    }
}
