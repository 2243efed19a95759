//! What a file is that was given as something else: for the message that says so.

const BZIMAGE: (usize, &[u8]) = (0x202, b"HdrS");

/// What the file looks like and how to boot that, to be appended to the reason why it was refused as `given`.
pub(crate) fn hint(image: &[u8], given: &str) -> String {
    match guess(image) {
        Some((what, how)) if how.is_empty() || how == given => format!(" (it looks like {what})"),
        Some((what, how)) => format!(" (it looks like {what}; {how} boots such a file)"),
        None => String::new(),
    }
}

fn guess(image: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match image {
        _ if image.get(BZIMAGE.0..BZIMAGE.0 + 4) == Some(BZIMAGE.1) => ("a bzImage", "--kernel"),
        [0x7f, b'E', b'L', b'F', 2, 1, ..] => ("a 64-bit ELF file", "--kernel"),
        [0x7f, b'E', b'L', b'F', 1, 1, ..] => ("a 32-bit ELF file", "--multiboot"),
        [0x1f, 0x8b, ..] => ("gzip: unpack it first", ""),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("xz: unpack it first", ""),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd: unpack it first", ""),
        _ if is_rom(image) => ("a firmware ROM", "--firmware"),
        _ => return None,
    })
}

/// A ROM is a multiple of 64 KiB, and at its reset vector, 16 bytes before its end, is a jump (SDM vol. 3, 10.1.4).
fn is_rom(image: &[u8]) -> bool {
    image.len().is_multiple_of(64 << 10)
        && image.len().checked_sub(16).is_some_and(|at| [0xea, 0xe9, 0xeb].contains(&image[at]))
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn a_file_is_told_by_what_it_begins_or_ends_with() {
        let mut bzimage = vec![0; 0x300];
        bzimage[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(hint(&bzimage, "--multiboot"), " (it looks like a bzImage; --kernel boots such a file)");
        let mut rom = vec![0; 64 << 10];
        rom[0xfff0] = 0xea;
        assert_eq!(hint(&rom, "--kernel"), " (it looks like a firmware ROM; --firmware boots such a file)");
        assert_eq!(hint(&[0x1f, 0x8b, 8], "--multiboot"), " (it looks like gzip: unpack it first)");
        assert_eq!(hint(b"\x7fELF\x02\x01", "--kernel"), " (it looks like a 64-bit ELF file)");
        assert_eq!(hint(b"anything", "--kernel"), "");
        assert_eq!(hint(b"", "--kernel"), "");
    }
}
