//! A changes block: the pages that differ at a keyframe.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::{decode_changes, encode_changes};
use trapline_formats_fuzz::{MIB, within};

fuzz_target!(|bytes: &[u8]| {
    // Every block says first of which keyframe it is: most of these are of one of the first.
    let number = u32::from(bytes.first().copied().unwrap_or(0) & 0x7f);
    within(MIB, || {
        let Ok(changes) = decode_changes(number, bytes) else { return };
        assert!(changes.is_sorted_by_key(|change| change.page));
        assert_eq!(decode_changes(number, &encode_changes(number, &changes)), Ok(changes));
        assert!(decode_changes(number + 1, bytes).is_err());
    });
});
