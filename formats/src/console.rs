//! The console stream: what the guest printed, and at which exit.

use crate::error::Malformed;
use crate::varint::{Cursor, put};
use std::fmt::Write;

/// Bytes that the guest printed at one exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleText {
    /// The exit that printed them.
    pub exit: u64,
    /// Number of the channel in [`crate::Header::console_channels`].
    pub channel: u8,
    /// The bytes: whatever the guest chose, escape sequences included.
    pub bytes: Vec<u8>,
}

/// Encodes console text into chunks: `(exit difference, channel, length, bytes)*`.
#[derive(Debug, Default)]
pub struct ConsoleEncoder {
    bytes: Vec<u8>,
    last: u64,
}

impl ConsoleEncoder {
    /// Appends text; exits ascend.
    pub fn push(&mut self, exit: u64, channel: u8, text: &[u8]) {
        put(&mut self.bytes, exit.saturating_sub(self.last));
        self.last = exit;
        self.bytes.push(channel);
        put(&mut self.bytes, text.len() as u64);
        self.bytes.extend_from_slice(text);
    }

    /// Takes the chunk; the next one starts at exit `next`.
    pub fn take(&mut self, next: u64) -> Vec<u8> {
        self.last = next;
        std::mem::take(&mut self.bytes)
    }
}

/// No chunk has more texts than this: each may take three bytes in the file, and dozens in memory.
const MAX_TEXTS: usize = 1 << 18;

/// Decodes a chunk.
pub fn decode(first_exit: u64, bytes: &[u8]) -> Result<Vec<ConsoleText>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let mut exit = first_exit;
    let mut all = Vec::new();
    while !cursor.is_empty() {
        if all.len() >= MAX_TEXTS {
            return Err(Malformed("a chunk holds more console texts than any chunk may"));
        }
        exit = exit.saturating_add(cursor.varint()?);
        let channel = cursor.byte()?;
        let length = usize::try_from(cursor.varint()?).map_err(|_| Malformed("console text is too long"))?;
        all.push(ConsoleText { exit, channel, bytes: cursor.take(length)?.to_vec() });
    }
    Ok(all)
}

/// Text from a guest made safe for a terminal or a report: control characters and invalid UTF-8 become visible escapes.
/// Newlines and tabs stay where `multiline` is set.
pub fn printable(bytes: &[u8], multiline: bool) -> String {
    let mut safe = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' if multiline => safe.push(c),
                '\r' if multiline => {}
                // Besides C0 and C1 controls: marks that reorder or hide text on a screen.
                '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                    safe.extend(c.escape_unicode());
                }
                c if c.is_control() => safe.extend(c.escape_default()),
                c => safe.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn console_text_survives(texts in prop::collection::vec((0u64..50, any::<u8>(), any::<Vec<u8>>()), 0..20)) {
            let mut encoder = ConsoleEncoder::default();
            encoder.take(100);
            let mut exit = 100;
            let expected: Vec<_> = texts.into_iter().map(|(step, channel, bytes)| {
                exit += step;
                encoder.push(exit, channel, &bytes);
                ConsoleText { exit, channel, bytes }
            }).collect();
            prop_assert_eq!(decode(100, &encoder.take(0)).unwrap(), expected);
        }

        #[test]
        fn printable_text_has_no_control_characters(bytes: Vec<u8>) {
            prop_assert!(!printable(&bytes, false).chars().any(char::is_control));
        }
    }

    #[test]
    fn a_chunk_of_more_texts_than_a_reader_holds_is_malformed() {
        assert!(decode(0, &[0; 3].repeat(MAX_TEXTS)).is_ok());
        assert!(decode(0, &[0; 3].repeat(MAX_TEXTS + 1)).is_err());
    }

    #[test]
    fn escape_sequences_become_visible() {
        assert_eq!(printable(b"a\x1b[31mb\xff\n", true), "a\\u{1b}[31mb\\xff\n");
    }
}
