//! What a PC's firmware leaves in low memory and kernels look at without asking whether there was one: the BIOS data area (IBM
//! PC/AT Technical Reference, "BIOS data area") and the first byte of the extended one.

use super::memory_map::LOW_END;
use trapline_formats::Gpa;

/// The BIOS data area.
pub const AT: u64 = 0x400;
/// The extended one has so many KiB, and says so in its first byte.
const EXTENDED_KIB: u8 = 1;
/// Offsets in the area: port of COM1, segment of the extended area, KiBs of memory below that.
const COM1: usize = 0;
const EXTENDED: usize = 0x0e;
const MEMORY: usize = 0x13;

/// Both areas. Xen, for one, puts the code that starts its processors below the smallest of what these say.
pub fn areas() -> [(Gpa, Vec<u8>); 2] {
    let mut area = vec![0; 0x20];
    for (at, value) in [(COM1, 0x3f8), (EXTENDED, (LOW_END >> 4) as u16), (MEMORY, (LOW_END >> 10) as u16)] {
        area[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    [(Gpa(AT), area), (Gpa(LOW_END), vec![EXTENDED_KIB])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_areas_agree_with_the_memory_map() {
        let [(Gpa(at), area), (Gpa(extended), _)] = areas();
        let word = |address: u64| {
            let offset = (address - at) as usize;
            u64::from(u16::from_le_bytes([area[offset], area[offset + 1]]))
        };
        assert_eq!(word(0x400), 0x3f8);
        assert_eq!(word(0x40e) << 4, extended);
        assert_eq!(word(0x413) << 10, LOW_END);
    }
}
