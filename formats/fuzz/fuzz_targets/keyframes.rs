//! A keyframe block.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::Keyframe;

fuzz_target!(|bytes: &[u8]| {
    let _ = trapline_formats_fuzz::decoded::<Keyframe>(bytes);
});
