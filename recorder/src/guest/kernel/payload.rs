//! What a bzImage unpacks: a compressed ELF file (Linux, Documentation/arch/x86/boot.rst, `payload_offset`).

use std::io::{Cursor, Read};

/// No kernel is larger; what claims to be is damaged.
const LARGEST: u64 = 1 << 30;

/// Unpacks a payload. `None`: compressed in a way that is not known here.
pub fn unpack(payload: &[u8]) -> Option<Result<Vec<u8>, String>> {
    // The last four bytes are the size of what is unpacked, appended by the kernel's build; streams that end by themselves
    // do not read them.
    let reader: Box<dyn Read + '_> = match payload {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::GzDecoder::new(payload)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(lzma_rust2::XzReader::new(Cursor::new(payload), false))
        }
        [0x5d, 0, 0, ..] => match lzma_rust2::LzmaReader::new_mem_limit(Cursor::new(payload), u32::MAX, None)
        {
            Ok(reader) => Box::new(reader),
            Err(error) => return Some(Err(error.to_string())),
        },
        [0x28, 0xb5, 0x2f, 0xfd, ..] => match zstd::Decoder::new(payload) {
            Ok(reader) => Box::new(reader.single_frame()),
            Err(error) => return Some(Err(error.to_string())),
        },
        [0x02, 0x21, 0x4c, 0x18, ..] => return Some(lz4_legacy(&payload[4..])),
        _ => return None,
    };
    let mut image = Vec::new();
    Some(match reader.take(LARGEST).read_to_end(&mut image) {
        Ok(_) => Ok(image),
        Err(error) => Err(error.to_string()),
    })
}

/// LZ4's legacy frame (LZ4 Frame Format Description, "Legacy frame"): blocks of at most 8 MiB, each after its size.
fn lz4_legacy(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    const BLOCK: usize = 8 << 20;
    let mut image = Vec::new();
    // What is left in the end is the size of what is unpacked.
    while let Some((size, after)) = rest.split_first_chunk::<4>().filter(|(_, after)| !after.is_empty()) {
        let size = u32::from_le_bytes(*size) as usize;
        let block = after.get(..size).ok_or("an LZ4 block is longer than the payload")?;
        image.extend(lz4_flex::block::decompress(block, BLOCK).map_err(|e| e.to_string())?);
        rest = &after[size..];
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_told_apart_from_what_is_damaged() {
        assert!(unpack(b"unknown").is_none());
        assert!(unpack(&[0x1f, 0x8b, 8, 0, 1, 2, 3]).is_some_and(|r| r.is_err()));
        assert!(unpack(&[0x02, 0x21, 0x4c, 0x18, 0xff, 0xff, 0, 0, 1]).is_some_and(|r| r.is_err()));
    }

    #[test]
    fn every_known_compression_gives_back_what_went_in() {
        let text = b"a kernel, a kernel, a kernel, a kernel".repeat(100);
        let lz4 = {
            let block = lz4_flex::block::compress(&text);
            let mut frame = vec![0x02, 0x21, 0x4c, 0x18];
            frame.extend((block.len() as u32).to_le_bytes());
            frame.extend(block);
            frame.extend((text.len() as u32).to_le_bytes());
            frame
        };
        let gzip = {
            let mut reader = flate2::read::GzEncoder::new(text.as_slice(), flate2::Compression::best());
            let mut frame = Vec::new();
            reader.read_to_end(&mut frame).unwrap();
            frame.extend((text.len() as u32).to_le_bytes());
            frame
        };
        let zstd = {
            let mut frame = zstd::encode_all(text.as_slice(), 1).unwrap();
            frame.extend((text.len() as u32).to_le_bytes());
            frame
        };
        for frame in [lz4, gzip, zstd] {
            assert_eq!(unpack(&frame).unwrap().unwrap(), text);
        }
    }
}
