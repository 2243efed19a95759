//! Pages of memory that differ in what processors push differently.

use trapline_formats::memory::page_hash;

/// RFLAGS.RF. A processor sets it in the flags that a fault pushes (SDM vol. 3, 18.3.1.1); not every emulated one does.
const RF: u32 = 1 << 16;
/// Bits of the lower half of RFLAGS that are always 1, and always 0 (SDM vol. 1, 3.4.3).
const ALWAYS: (u32, u32) = (1 << 1, 0xffc0_8028);
/// Saved flags of a page that may differ at once; more would be a search through too many pages that it could be.
const AT_ONCE: usize = 2;
/// Words that look like saved flags, in a page where two may differ.
const CANDIDATES: usize = 64;

/// Whether a page with this content has the recorded hash, once RF is changed in one or two words that are saved flags.
pub(crate) fn is_same_but_for_resume_flag(page: &[u8], recorded: u64) -> bool {
    let places: Vec<usize> = (0..page.len() / 4).filter(|i| looks_like_flags(word(page, *i))).collect();
    let depth = if places.len() <= CANDIDATES { AT_ONCE } else { 1 };
    matches(&mut page.to_vec(), &places, depth, recorded)
}

fn matches(page: &mut [u8], places: &[usize], depth: usize, recorded: u64) -> bool {
    (0..places.len()).any(|i| {
        toggle(page, places[i]);
        let found =
            page_hash(page) == recorded || depth > 1 && matches(page, &places[i + 1..], depth - 1, recorded);
        toggle(page, places[i]);
        found
    })
}

fn looks_like_flags(word: u32) -> bool {
    word & ALWAYS.0 != 0 && word & ALWAYS.1 == 0
}

fn word(page: &[u8], i: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| page[4 * i + byte]))
}

fn toggle(page: &mut [u8], i: usize) {
    let changed = word(page, i) ^ RF;
    page[4 * i..4 * i + 4].copy_from_slice(&changed.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(words: &[(usize, u32)]) -> Vec<u8> {
        let mut page = vec![0; 4096];
        for (i, value) in words {
            page[4 * i..4 * i + 4].copy_from_slice(&value.to_le_bytes());
        }
        page
    }

    #[test]
    fn resume_flags_in_saved_flags_explain_a_page() {
        let recorded = page_hash(&page(&[(3, 0x1_0047), (9, 0x1_0202), (20, 0x8189)]));
        assert!(is_same_but_for_resume_flag(&page(&[(3, 0x47), (9, 0x202), (20, 0x8189)]), recorded));
        assert!(is_same_but_for_resume_flag(&page(&[(3, 0x1_0047), (9, 0x202), (20, 0x8189)]), recorded));
    }

    #[test]
    fn nothing_else_does() {
        let recorded = page_hash(&page(&[(3, 0x1_0047)]));
        assert!(!is_same_but_for_resume_flag(&page(&[(3, 0x46)]), recorded));
        assert!(!is_same_but_for_resume_flag(&page(&[(3, 0x47), (4, 1)]), recorded));
        // No flags: bit 1 is clear.
        let recorded = page_hash(&page(&[(3, 0x1_0045)]));
        assert!(!is_same_but_for_resume_flag(&page(&[(3, 0x45)]), recorded));
    }
}
