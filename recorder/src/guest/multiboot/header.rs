//! The header by which a multiboot kernel is known (Multiboot Specification 0.6.96, 3.1).

/// The first word of it.
pub(super) const MAGIC: u32 = 0x1bad_b002;
/// Multiboot 2's, which is another protocol.
const MAGIC_2: u32 = 0xe852_50d6;
/// All of the header lies within so many bytes of the file.
const WITHIN: usize = 8192;
/// Modules begin at pages: they always do here.
const PAGE_ALIGNED_MODULES: u32 = 1;
/// The kernel wants to know its memory: it always does here.
const MEMORY_INFO: u32 = 1 << 1;
/// The kernel wants a table of video modes.
const VIDEO: u32 = 1 << 2;
/// The header says itself what to load where.
const ADDRESSES: u32 = 1 << 16;
/// A kernel can do without what the flags above these ask for.
const REQUIRED: u32 = 0xffff;

/// What a header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Where it is in the file.
    pub offset: usize,
    /// Where the image goes, if the header itself says so.
    pub addresses: Option<Addresses>,
}

/// The address fields, in the order of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Where the header itself is to be.
    pub header: u32,
    /// The first byte to load.
    pub load: u32,
    /// First address after what is loaded; 0: all that follows in the file.
    pub load_end: u32,
    /// First address after what is to be zero; 0: nothing is.
    pub bss_end: u32,
    /// The first instruction.
    pub entry: u32,
}

impl Header {
    /// Finds it. The error is a reason in words.
    pub fn find(image: &[u8]) -> Result<Self, String> {
        let searched = &image[..image.len().min(WITHIN)];
        let mut wrong_checksum = None;
        for offset in (0..searched.len()).step_by(4) {
            let word = |n: usize| word(searched, offset + n * 4);
            let (Some(MAGIC), Some(flags), Some(checksum)) = (word(0), word(1), word(2)) else { continue };
            if MAGIC.wrapping_add(flags).wrapping_add(checksum) == 0 {
                return Self::with(searched, offset, flags);
            }
            wrong_checksum.get_or_insert(offset);
        }
        Err(match wrong_checksum {
            Some(offset) => format!(
                "its multiboot header at offset {offset:#x} has a wrong checksum: its first three words must add up to 0"
            ),
            None if has_multiboot_2(image) => {
                "it has a header of multiboot 2 only, and this is multiboot 1: build it with the other header, too".into()
            }
            None => format!("it has no multiboot header (magic {MAGIC:#x}) in its first {WITHIN} bytes"),
        })
    }

    fn with(searched: &[u8], offset: usize, flags: u32) -> Result<Self, String> {
        if flags & VIDEO != 0 {
            return Err(
                "its header requires a video mode (flag 2), and the guest has no display: clear that flag"
                    .into(),
            );
        }
        let unknown = flags & REQUIRED & !(PAGE_ALIGNED_MODULES | MEMORY_INFO);
        if unknown != 0 {
            return Err(format!(
                "its header requires what multiboot 1 does not have: flags {unknown:#x} of {flags:#x}"
            ));
        }
        let addresses = if flags & ADDRESSES == 0 {
            None
        } else {
            let field = |n: usize| word(searched, offset + 12 + n * 4);
            let fields = [0, 1, 2, 3, 4].map(field);
            let [Some(header), Some(load), Some(load_end), Some(bss_end), Some(entry)] = fields else {
                return Err(format!(
                    "its header at offset {offset:#x} does not end within the first {WITHIN} bytes, as it must"
                ));
            };
            Some(Addresses { header, load, load_end, bss_end, entry })
        };
        Ok(Self { offset, addresses })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}

/// Multiboot 2's header is 8-aligned within 32 KiB (Multiboot2 Specification 2.0, 3.1.1).
fn has_multiboot_2(image: &[u8]) -> bool {
    (0..image.len().min(32 << 10)).step_by(8).any(|at| word(image, at) == Some(MAGIC_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these words at an offset.
    fn file(offset: usize, words: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0x90; offset];
        bytes.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        bytes
    }

    fn header(flags: u32) -> [u32; 3] {
        [MAGIC, flags, MAGIC.wrapping_add(flags).wrapping_neg()]
    }

    #[test]
    fn a_header_is_found_where_it_is_whole_aligned_and_early_enough() {
        assert_eq!(Header::find(&file(0, &header(3))), Ok(Header { offset: 0, addresses: None }));
        assert_eq!(Header::find(&file(8180, &header(0))).map(|h| h.offset), Ok(8180));
        for (offset, why) in [(8184, "one that does not end in time"), (6, "one that is not aligned")] {
            assert!(
                Header::find(&file(offset, &header(3))).unwrap_err().contains("no multiboot header"),
                "{why}"
            );
        }
        assert!(Header::find(&[]).unwrap_err().contains("no multiboot header"));
    }

    #[test]
    fn a_magic_number_that_is_only_data_does_not_hide_the_header() {
        let mut image = file(16, &[MAGIC, 1, 2, 3]);
        image.extend(header(0).iter().flat_map(|w| w.to_le_bytes()));
        assert_eq!(Header::find(&image).map(|h| h.offset), Ok(32));
        assert!(Header::find(&image[..32]).unwrap_err().contains("offset 0x10 has a wrong checksum"));
    }

    #[test]
    fn what_a_header_requires_and_is_not_there_is_refused() {
        assert!(Header::find(&file(0, &header(4))).unwrap_err().contains("video mode"));
        assert!(Header::find(&file(0, &header(0x8003))).unwrap_err().contains("flags 0x8000 of 0x8003"));
        // Flags above 15 may be ignored.
        assert_eq!(Header::find(&file(0, &header(0x4002_0003))).map(|h| h.addresses), Ok(None));
        let two = file(8, &[MAGIC_2, 0, 24, 0]);
        assert!(Header::find(&two).unwrap_err().contains("multiboot 2"));
    }

    #[test]
    fn the_address_fields_are_read_and_must_be_there() {
        let mut words = header(1 << 16).to_vec();
        assert!(Header::find(&file(0, &words)).unwrap_err().contains("does not end within"));
        words.extend([1, 2, 3, 4, 5]);
        let addresses = Addresses { header: 1, load: 2, load_end: 3, bss_end: 4, entry: 5 };
        assert_eq!(Header::find(&file(4, &words)).map(|h| h.addresses), Ok(Some(addresses)));
    }
}
