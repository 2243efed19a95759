//! Build IDs: what a linker calls a build by (`ld --build-id`), in the file and in the memory that it was loaded to.

use object::Object;
use std::fmt;

/// A note's header: length of its owner, length of what follows, type NT_GNU_BUILD_ID; then the owner.
const OWNER: &[u8] = b"\x03\0\0\0GNU\0";
/// Bytes of an ID: MD5 to SHA-1, and what people choose.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=32;

/// The name of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuildId(Vec<u8>);

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As much as people compare.
        self.0.iter().take(6).try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str("…")
    }
}

/// The ID of an ELF file.
pub(super) fn of_file(file: &[u8]) -> Option<BuildId> {
    let elf = object::File::parse(file).ok()?;
    elf.build_id().ok()?.filter(|id| LENGTHS.contains(&id.len())).map(|id| BuildId(id.to_vec()))
}

/// All IDs in an image: a kernel has its own, and those of the programs in it (the vDSO).
pub(super) fn all_in(image: &[u8]) -> Vec<BuildId> {
    let word = |at: usize| Some(u32::from_le_bytes(*image.get(at..)?.first_chunk()?) as usize);
    let note = |at: usize| {
        let length = word(at + 4).filter(|n| LENGTHS.contains(n) && word(at) == Some(4))?;
        let is_one = image.get(at + 8..at + 16) == Some(OWNER);
        is_one.then(|| image.get(at + 16..at + 16 + length).map(|id| BuildId(id.to_vec()))).flatten()
    };
    (0..image.len()).step_by(4).filter_map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_memory() {
        let mut image = vec![0; 64];
        image.extend([4, 0, 0, 0, 20, 0, 0, 0]);
        image.extend(OWNER);
        image.extend([0xab; 20]);
        image.extend([4, 0, 0, 0, 200, 0, 0, 0]);
        image.extend(OWNER);
        assert_eq!(all_in(&image), [BuildId(vec![0xab; 20])]);
        assert_eq!(BuildId(vec![0xab; 20]).to_string(), "abababababab…");
        assert_eq!(all_in(&[4, 0, 0]), []);
    }
}
