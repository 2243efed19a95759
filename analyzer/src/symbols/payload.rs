//! The compressed kernel inside a bzImage, and in the memory it was loaded to.

use std::io::{Cursor, Read};

/// No kernel is larger; what claims to be is not unpacked whole.
const LARGEST: u64 = 256 << 20;
/// "HdrS" (Linux, Documentation/arch/x86/boot.rst), and where it stands in a bzImage and in a zero page.
pub(super) const MAGIC: (usize, &[u8]) = (0x202, b"HdrS");

/// Fields of the setup header, by their offset in a bzImage or a zero page.
pub(super) fn field(header: &[u8], offset: usize) -> Option<usize> {
    header.get(offset..offset + 4).and_then(|b| Some(u32::from_le_bytes(b.try_into().ok()?) as usize))
}

/// Where the payload stands, counted from the protected-mode code, and its length.
pub(super) fn payload(header: &[u8]) -> Option<(usize, usize)> {
    (header.get(MAGIC.0..MAGIC.0 + 4)? == MAGIC.1).then_some(())?;
    field(header, 0x248).zip(field(header, 0x24c)).filter(|(_, length)| *length > 0)
}

/// The kernel in a bzImage. `None` where the file is none or its compression is not known.
pub(super) fn of_bzimage(file: &[u8]) -> Option<Vec<u8>> {
    let (offset, length) = payload(file)?;
    // The sectors before the protected-mode code; 0 stands for 4.
    let sectors = match *file.get(0x1f1)? {
        0 => 4,
        n => usize::from(n),
    };
    let start = (sectors + 1) * 512 + offset;
    unpack(file.get(start..start.checked_add(length)?)?)
}

/// Unpacks; what is damaged is unpacked as far as it goes.
pub(super) fn unpack(payload: &[u8]) -> Option<Vec<u8>> {
    let limited = |reader: &mut dyn Read| {
        let mut image = Vec::new();
        // A stream that breaks off has still given its beginning.
        let _ = reader.take(LARGEST).read_to_end(&mut image);
        image
    };
    let image = match payload {
        [0x1f, 0x8b, ..] => limited(&mut flate2::read::GzDecoder::new(payload)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            limited(&mut lzma_rust2::XzReader::new(Cursor::new(payload), false))
        }
        [0x5d, 0, 0, ..] => {
            limited(&mut lzma_rust2::LzmaReader::new_mem_limit(Cursor::new(payload), 1 << 20, None).ok()?)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => limited(&mut zstd::Decoder::new(payload).ok()?.single_frame()),
        [0x02, 0x21, 0x4c, 0x18, rest @ ..] => lz4_legacy(rest),
        _ => return None,
    };
    (!image.is_empty()).then_some(image)
}

/// LZ4's legacy frame (LZ4 Frame Format Description): blocks of at most 8 MiB, each after its size.
fn lz4_legacy(mut rest: &[u8]) -> Vec<u8> {
    let mut image = Vec::new();
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        let size = u32::from_le_bytes(*size) as usize;
        let Some(Ok(block)) = after.get(..size).map(|b| lz4_flex::block::decompress(b, 8 << 20)) else {
            break;
        };
        image.extend(block);
        if image.len() as u64 >= LARGEST {
            break;
        }
        rest = &after[size..];
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_found_in_a_bzimage_and_nothing_in_other_files() {
        let text = b"\x7fELF a kernel, a kernel".repeat(50);
        let packed = zstd::encode_all(text.as_slice(), 1).unwrap();
        let mut file = vec![0; 1024 + 16];
        file[0x1f1] = 1;
        file[0x202..0x206].copy_from_slice(b"HdrS");
        file[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        file[0x24c..0x250].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        file.extend(&packed);
        assert_eq!(of_bzimage(&file), Some(text));
        file[0x1f1] = 200;
        assert_eq!(of_bzimage(&file), None, "the payload is behind the end");
        assert_eq!(of_bzimage(b"HdrS"), None);
    }

    #[test]
    fn lz4_and_gzip_unpack_and_damage_ends_them() {
        let text = b"a kernel, a kernel, a kernel, a kernel".repeat(100);
        let block = lz4_flex::block::compress(&text);
        let lz4 =
            [&[0x02, 0x21, 0x4c, 0x18][..], &(block.len() as u32).to_le_bytes(), &block, &[1, 2, 3]].concat();
        assert_eq!(unpack(&lz4), Some(text.clone()));
        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(text.as_slice(), flate2::Compression::best())
            .read_to_end(&mut gzip)
            .unwrap();
        assert_eq!(unpack(&gzip), Some(text));
        assert_eq!(unpack(&[0x1f, 0x8b, 8, 0, 1]), None);
        assert_eq!(unpack(b"unknown"), None);
    }
}
