//! A header block: what a trace says about itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::{Header, printable};

fuzz_target!(|bytes: &[u8]| {
    let Some(header) = trapline_formats_fuzz::decoded::<Header>(bytes) else { return };
    let texts = header.files.iter().flat_map(|file| [&file.role, &file.name]);
    for text in texts.chain([&header.recorder, &header.entry, &header.host.engine]) {
        assert!(!printable(text.as_bytes(), false).chars().any(char::is_control));
    }
});
