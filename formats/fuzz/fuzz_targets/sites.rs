//! A sites block: where exits come from, with the instructions there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::Site;

fuzz_target!(|bytes: &[u8]| {
    for site in trapline_formats_fuzz::decoded::<Vec<Site>>(bytes).into_iter().flatten() {
        assert!(!site.instruction.text().is_empty());
    }
});
