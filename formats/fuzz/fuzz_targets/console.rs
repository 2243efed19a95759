//! A console block: what a guest printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_formats::{ConsoleEncoder, decode_console, printable};
use trapline_formats_fuzz::{ExitsInput, MIB, within};

fuzz_target!(|bytes: &[u8]| {
    let Some(ExitsInput { first_exit, chunk }) = ExitsInput::of(bytes) else { return };
    within(4 * MIB, || {
        let Ok(texts) = decode_console(first_exit, chunk) else { return };
        assert!(texts.is_sorted_by_key(|text| text.exit));
        let mut encoder = ConsoleEncoder::default();
        encoder.take(first_exit);
        for text in &texts {
            encoder.push(text.exit, text.channel, &text.bytes);
            assert!(!printable(&text.bytes, false).chars().any(char::is_control));
        }
        assert_eq!(decode_console(first_exit, &encoder.take(0)).as_ref(), Ok(&texts));
    });
});
