//! Guest memory in the file: pages that are not all zeros.

use crate::error::Malformed;
use crate::varint::{Cursor, put};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Pages per memory block: a bound on what a reader holds at once.
pub const PAGES_PER_BLOCK: usize = 256;

/// Encodes pages, ascending by number: `(number difference, 4096 bytes)*`.
pub fn encode<'a>(pages: impl Iterator<Item = (u64, &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = 0;
    for (number, content) in pages {
        put(&mut bytes, number.wrapping_sub(last));
        last = number;
        bytes.extend_from_slice(content);
    }
    bytes
}

/// Decodes pages: (page number, content).
pub fn decode(bytes: &[u8]) -> Result<Vec<(u64, &[u8])>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let mut number = 0u64;
    let mut pages = Vec::new();
    while !cursor.is_empty() {
        number = number.checked_add(cursor.varint()?).ok_or(Malformed("a page number exceeds 64 bits"))?;
        pages.push((number, cursor.take(PAGE_BYTES)?));
    }
    Ok(pages)
}

/// Whether all bytes are zero.
pub fn is_zero(page: &[u8]) -> bool {
    let (words, tail) = page.as_chunks::<16>();
    words.iter().all(|w| u128::from_ne_bytes(*w) == 0) && tail.iter().all(|b| *b == 0)
}

/// The hash by which pages are compared.
pub fn page_hash(content: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_survive() {
        let (a, b) = ([1u8; PAGE_BYTES], [2u8; PAGE_BYTES]);
        let bytes = encode([(3, &a[..]), (1 << 40, &b[..])].into_iter());
        assert_eq!(decode(&bytes).unwrap(), [(3, &a[..]), (1 << 40, &b[..])]);
        assert!(decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
