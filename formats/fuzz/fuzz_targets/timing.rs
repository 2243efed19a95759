//! A timing block: numbers of ticks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::TimingEncoder;
use trapline_formats::timing::decode;
use trapline_formats_fuzz::{MIB, within};

fuzz_target!(|bytes: &[u8]| {
    within(MIB, || {
        let Ok(timings) = decode(bytes) else { return };
        let mut encoder = TimingEncoder::default();
        timings.iter().for_each(|timing| encoder.push(*timing));
        assert_eq!(decode(&encoder.take()), Ok(timings));
    });
});
