//! An end block: how a recording ended, and how interrupts came to the guest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::End;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = trapline_formats_fuzz::decoded::<End>(bytes) else { return };
    assert!(!end.reason.to_string().chars().any(char::is_control));
});
