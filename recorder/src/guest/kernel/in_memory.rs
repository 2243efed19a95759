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
/// The error is why what looks like one is none.
pub(crate) fn find(memory: &Memory, used_ports: &BTreeSet<u8>) -> Option<Result<Loaded, String>> {
    let mut low = vec![0; LOW_MEMORY];
    memory.read(Gpa(0), &mut low).ok()?;
    let starts = (0..LOW_MEMORY - SECTORS).step_by(SEGMENT);
    let flags = |at: usize| low[at + BOOT_FLAG.0..].starts_with(&BOOT_FLAG.1);
    let headers = starts.filter(|at| flags(*at)).filter_map(|at| SetupHeader::of(&low[at..at + SECTORS]));
    headers.into_iter().find_map(|header| loaded(memory, &header, used_ports))
}

fn loaded(
    memory: &Memory,
    header: &SetupHeader,
    used_ports: &BTreeSet<u8>,
) -> Option<Result<Loaded, String>> {
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
    // What a guest says is believed as far as it has memory.
    if !memory.contains(Gpa(at.checked_add(bytes as u64 - 1)?)) {
        return None;
    }
    let mut image = vec![0; bytes];
    memory.read(Gpa(at), &mut image).ok()?;
    Some(bzimage::in_memory(fields, at, image, used_ports.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::samples;
    use trapline_formats::MemoryRegion;

    const RAM: u64 = 4 << 20;
    const SETUP_AT: u64 = 0x1_0000;
    const KERNEL_AT: u64 = 0x10_0000;

    /// Memory as a boot loader leaves it, but for the last bytes of the kernel.
    fn memory(image: &[u8], left_out: usize) -> Memory {
        let memory = Memory::new(&[MemoryRegion { gpa: 0, bytes: RAM, readonly: false }]).unwrap();
        let (setup, kernel) = image.split_at((usize::from(image[0x1f1]) + 1) * 512);
        memory.write(Gpa(SETUP_AT), setup).unwrap();
        memory.write(Gpa(KERNEL_AT), &kernel[..kernel.len() - left_out]).unwrap();
        memory
    }

    #[test]
    fn a_kernel_is_found_when_all_of_it_is_there() {
        // rdtsc; hlt
        let image = samples::bzimage(&samples::elf64(&[0x0f, 0x31, 0xf4]));
        let payload_end = {
            let header = SetupHeader::of(&image).unwrap().fields;
            (header.payload_offset + header.payload_length) as usize
        };
        let behind = image.len() - (usize::from(image[0x1f1]) + 1) * 512 - payload_end;
        assert!(find(&memory(&image, behind + 4), &BTreeSet::new()).is_none());
        let loaded = find(&memory(&image, 0), &BTreeSet::new()).unwrap().unwrap();
        assert_eq!(loaded.stand_ins.clock, Some(0x9e));
        let hand_off = loaded.hand_off.unwrap();
        assert_eq!(hand_off.rewrites.len(), 1);
        let jump = loaded.rewrites.iter().find(|rewrite| rewrite.replacement == [0xe6, hand_off.port]);
        assert!(jump.is_some_and(|rewrite| rewrite.gpa > KERNEL_AT), "{:?}", loaded.rewrites);
    }

    #[test]
    fn what_a_guest_says_of_more_than_its_memory_is_not_believed() {
        let mut image = samples::bzimage(&samples::elf64(&[0xf4]));
        image[0x1f4..0x1f8].fill(0xff); // syssize
        assert!(find(&memory(&image, 0), &BTreeSet::new()).is_none());
        image[0x214..0x218].fill(0xff); // code32_start
        assert!(find(&memory(&image, 0), &BTreeSet::new()).is_none());
    }
}
