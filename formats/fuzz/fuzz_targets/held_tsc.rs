//! A held TSC block: the values that a guest's TSC showed, in a chunk of so many exits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::HeldTsc;
use trapline_formats_fuzz::{ExitsInput, MIB, within};

fuzz_target!(|bytes: &[u8]| {
    let Some(ExitsInput { first_exit: exits, chunk }) = ExitsInput::of(bytes) else { return };
    within(16 * MIB, || {
        let Ok(held) = HeldTsc::decode(exits, chunk) else { return };
        assert!(held.values.is_sorted_by(|a, b| a.place() < b.place()));
        assert!(held.values.iter().all(|value| value.exits <= exits));
        assert_eq!(HeldTsc::decode(exits, &held.encode()), Ok(held));
    });
});
