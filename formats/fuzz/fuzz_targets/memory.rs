//! A memory block: pages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::memory::{PAGE_BYTES, decode, encode};
use trapline_formats_fuzz::{MIB, within};

fuzz_target!(|bytes: &[u8]| {
    within(MIB, || {
        let Ok(pages) = decode(bytes) else { return };
        assert!(
            pages.iter().all(|(_, content)| content.len() == PAGE_BYTES) && pages.is_sorted_by_key(|p| p.0)
        );
        assert_eq!(decode(&encode(pages.iter().copied())).as_ref(), Ok(&pages));
    });
});
