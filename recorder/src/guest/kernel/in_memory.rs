//! A bzImage that a boot loader has brought into memory, before it is entered.

use super::setup_header::SetupHeader;
use super::{Loaded, bzimage};
use std::collections::BTreeSet;
use trapline_formats::Gpa;
use trapline_machine::Memory;

/// Boot loaders keep the setup header, alone or with the real-mode part, in a segment below this.
const LOW_MEMORY: usize = 640 << 10;
const SEGMENT: usize = 16;
/// The header ends in the second sector at the latest.
const SECTORS: usize = 1024;
/// Of a boot sector, in front of the header (boot.rst, `boot_flag`).
const BOOT_FLAG: (usize, [u8; 2]) = (0x1fe, [0x55, 0xaa]);

/// The kernel, with its clock reads and the jump into what it unpacks found, if all of it is there; what ran before it uses these ports.
pub(crate) fn find(memory: &Memory, used_ports: &BTreeSet<u8>) -> Option<Loaded> {
    let mut low = vec![0; LOW_MEMORY];
    memory.read(Gpa(0), &mut low).ok()?;
    let starts = (0..LOW_MEMORY - SECTORS).step_by(SEGMENT);
    let flags = |at: usize| low[at + BOOT_FLAG.0..].starts_with(&BOOT_FLAG.1);
    let headers = starts.filter(|at| flags(*at)).filter_map(|at| SetupHeader::of(&low[at..at + SECTORS]));
    headers.into_iter().find_map(|header| loaded(memory, &header, used_ports))
}

fn loaded(memory: &Memory, header: &SetupHeader, used_ports: &BTreeSet<u8>) -> Option<Loaded> {
    let fields = header.fields;
    let at = u64::from(fields.code32_start);
    let end = (fields.payload_offset as usize).checked_add(fields.payload_length as usize)?;
    // The payload's last word is the size of what it unpacks, so it is not zero; it is read first, for all that comes before takes time.
    let size = end.checked_sub(4).filter(|_| fields.payload_length > 4)?;
    let mut word = [0; 4];
    memory.read(Gpa(at.checked_add(size as u64)?), &mut word).ok()?;
    if u32::from_le_bytes(word) < fields.payload_length {
        return None;
    }
    let bytes = (fields.syssize as usize).checked_mul(SEGMENT)?.max(end);
    let mut image = vec![0; bytes];
    memory.read(Gpa(at), &mut image).ok()?;
    bzimage::in_memory(fields, at, image, used_ports.clone()).ok()
}
