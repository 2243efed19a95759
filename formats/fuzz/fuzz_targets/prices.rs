//! A price list, which is JSON in a file of its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::{ExitKind, Host, PriceList};
use trapline_formats_fuzz::{MIB, within};

fuzz_target!(|bytes: &[u8]| {
    within(4 * MIB, || {
        let Ok(list) = serde_json::from_slice::<PriceList>(bytes) else { return };
        if list.check().is_ok() {
            let prices = ExitKind::ALL.into_iter().filter_map(|kind| list.of(kind));
            prices.for_each(|price| assert!(price.low <= price.median && price.median <= price.high));
        }
        for difference in list.differences(&Host::default()) {
            assert!(!difference.chars().any(char::is_control));
        }
        let text = serde_json::to_vec(&list).expect("JSON");
        let again: PriceList = serde_json::from_slice(&text).expect("what was written");
        // Numbers with many digits may come back as their neighbours.
        assert_eq!((again.host, again.made, again.unpriced), (list.host, list.made, list.unpriced));
    });
});
