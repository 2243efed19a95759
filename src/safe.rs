//! Text from a trace, or from whoever named its file, made safe for a terminal.

use serde_json::Value;
use std::fmt::Display;
use std::fmt::Write;
use trapline_formats::printable;

/// One line of text.
pub fn text(text: impl Display) -> String {
    printable(text.to_string().as_bytes(), false)
}

/// JSON whose strings show nothing but what is visible: what [`printable`] would escape, JSON escapes too, so that a program
/// reads the very same strings. Outside of strings JSON has no such characters.
pub fn json(value: &Value, pretty: bool) -> String {
    let text = if pretty { format!("{value:#}") } else { value.to_string() };
    let mut safe = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        let is_plain = c == '\n' || printable(c.encode_utf8(&mut [0; 4]).as_bytes(), false).chars().eq([c]);
        if is_plain {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_reads_back_as_it_was_and_shows_no_control_character() {
        let value = serde_json::json!({"a": "x\u{1b}\u{9b}\u{202e}\u{7f}\n\"\\é", "b": [1, 2.5, null]});
        for pretty in [false, true] {
            let text = json(&value, pretty);
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text}");
            assert!(text.contains('é'));
        }
    }
}
