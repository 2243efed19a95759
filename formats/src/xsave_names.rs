//! The registers in an XSAVE image, so that a difference can be named.

use crate::state::Difference;
use std::ops::Range;

/// The legacy region and the header (SDM vol. 1, 10.5.1 and 13.4.2): (name, first byte, bytes).
const SINGLE: [(&str, usize, usize); 9] = [
    ("FCW", 0, 2),
    ("FSW", 2, 2),
    ("FTW", 4, 1),
    ("FOP", 6, 2),
    ("FIP", 8, 8),
    ("FDP", 16, 8),
    ("MXCSR", 24, 4),
    ("XSTATE_BV", 512, 8),
    ("XCOMP_BV", 520, 8),
];
/// ST0 to ST7 and XMM0 to XMM15 take 16 bytes each.
const ROWS: [(&str, usize, usize); 2] = [("ST", 32, 8), ("XMM", 160, 16)];
const ROW: usize = 16;

/// Each register that differs. What lies in the components behind the header (the upper halves of YMM and so on) is named
/// by its place in the image.
pub(crate) fn differences(ours: &[u8], theirs: &[u8]) -> Vec<Difference> {
    let mut found = Vec::new();
    if ours.len() != theirs.len() {
        found.push(Difference {
            name: "XSAVE size".into(),
            expected: ours.len().to_string(),
            actual: theirs.len().to_string(),
        });
    }
    let length = ours.len().min(theirs.len());
    let mut at = 0;
    while let Some(step) = (at..length).position(|i| ours[i] != theirs[i]) {
        let (name, bytes) = register(at + step);
        let bytes = bytes.start..bytes.end.min(length);
        let show = |image: &[u8]| hex(&image[bytes.clone()]);
        found.push(Difference { name, expected: show(ours), actual: show(theirs) });
        at = bytes.end;
    }
    found
}

/// Every register that is not zero: its name and its value.
pub(crate) fn registers(image: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(step) = image[at..].iter().position(|b| *b != 0) {
        let (name, bytes) = register(at + step);
        let bytes = bytes.start..bytes.end.min(image.len());
        at = bytes.end;
        found.push((name, hex(&image[bytes])));
    }
    found
}

/// A little-endian number.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().rev().fold("0x".to_owned(), |s, b| format!("{s}{b:02x}"))
}

/// The register that a byte belongs to: its name and its bytes.
fn register(byte: usize) -> (String, Range<usize>) {
    if let Some((name, start, bytes)) = SINGLE.into_iter().find(|(_, s, n)| (*s..s + n).contains(&byte)) {
        return (name.to_owned(), start..start + bytes);
    }
    let start = byte / ROW * ROW;
    let row = ROWS.into_iter().find(|(_, s, n)| (*s..s + n * ROW).contains(&byte));
    let name = match row {
        Some((name, first, _)) => format!("{name}{}", (start - first) / ROW),
        None => format!("XSAVE {start:#x}"),
    };
    (name, start..start + ROW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_belongs_to_a_register_that_contains_it() {
        for byte in 0..4096 {
            assert!(register(byte).1.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn registers_that_are_not_zero_are_listed_in_their_order() {
        let mut image = vec![0; 600];
        (image[25], image[47], image[599]) = (0x1f, 1, 2);
        let found = registers(&image);
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("MXCSR", "0x00001f00"),
            ("ST0", "0x01000000000000000000000000000000"),
            ("XSAVE 0x250", "0x0200000000000000"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn each_differing_register_is_named_once() {
        let ours = vec![0; 1024];
        let mut theirs = ours.clone();
        for byte in [1, 25, 40, 47, 160 + 16 * 15, 512, 600] {
            theirs[byte] = 0xab;
        }
        let found = differences(&ours, &theirs);
        let found: Vec<_> = found.iter().map(|d| (d.name.as_str(), d.actual.as_str())).collect();
        let expected = [
            ("FCW", "0xab00"),
            ("MXCSR", "0x0000ab00"),
            ("ST0", "0xab000000000000ab0000000000000000"),
            ("XMM15", "0x000000000000000000000000000000ab"),
            ("XSTATE_BV", "0x00000000000000ab"),
            ("XSAVE 0x250", "0x00000000000000ab0000000000000000"),
        ];
        assert_eq!(found, expected);
        assert_eq!(differences(&ours, &theirs[..512])[0].name, "XSAVE size");
    }
}
