//! A digests block: registers at exits of certain sites, and checkpoints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::digests::{DigestDecoder, DigestEncoder, registers};
use trapline_formats_fuzz::{DigestInput, MIB, within};

/// The checkpoints of a chunk take 64 MiB at most, and stand here three times.
const MOST: usize = 256 * MIB;

fuzz_target!(|bytes: &[u8]| {
    let Some(DigestInput { sites, chunk }) = DigestInput::of(bytes) else { return };
    within(MOST, || {
        let mut decoder = DigestDecoder::default();
        let Ok(decoded) = decoder.decode(7, chunk, sites.iter().copied()) else { return };
        let mut encoder = DigestEncoder::default();
        for (site, values) in sites.iter().zip(&decoded.registers) {
            encoder.exit(*site, &registers(values));
        }
        decoded.checkpoints.iter().for_each(|checkpoint| encoder.checkpoint(checkpoint.clone()));
        // By the same decoder: what it remembers of a chunk must not reach the next.
        let again = decoder.decode(7, &encoder.take(), sites.iter().copied()).expect("what was encoded");
        assert_eq!((again.registers, again.checkpoints), (decoded.registers, decoded.checkpoints));
    });
});
