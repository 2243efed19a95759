//! Every single bit of a small trace, flipped.

use crate::bounds::{alone, folder, is_whole};
use crate::support::host::host;
use crate::support::recorded::record;
use trapline_formats::ClockMode;

#[test]
fn every_single_flipped_bit_is_noticed() {
    let Some(host) = host() else { return };
    let _turn = alone();
    let recorded = record(&host, &trapline_guests::port64(), ClockMode::Virtual);
    let whole = std::fs::read(&recorded.path).unwrap();
    assert!(is_whole(&recorded.path));
    let folder = folder();
    let path = folder.path().join("flipped.trap");
    for byte in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            assert!(!is_whole(&path), "bit {bit} of byte {byte:#x}");
        }
    }
}
