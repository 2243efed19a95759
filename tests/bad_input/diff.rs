//! `trapline diff` as its user meets it: exit status, words, damaged and missing traces.

use crate::plain::Plain;
use crate::program::{Folder, kvm};

/// Two equal recordings: `a.trap`, `b.trap`.
fn two() -> Folder {
    let folder = Folder::new();
    for name in ["a.trap", "b.trap"] {
        folder.record("port64", &["--clock", "virtual", "-o", name]).says(0, &[]);
    }
    folder
}

#[test]
fn equal_recordings_are_status_0_different_ones_1_and_what_cannot_be_compared_2() {
    if !kvm() {
        return;
    }
    let folder = two();
    folder.run(&["diff", "a.trap", "b.trap"]).says(0, &["a.trap (a) and b.trap (b): equal", "13  equal"]);
    let mut plain = Plain::read(&folder.path("b.trap"));
    plain.exits[4].data[0] ^= 0x55;
    plain.write(&folder.path("b.trap"));
    folder
        .run(&["diff", "a.trap", "b.trap"])
        .says(1, &["different from exit 4 on", "First difference: exit 4, data", "in al, 0x71"]);
    folder.run(&["diff", "a.trap", "none.trap"]).says(2, &["none.trap", "No such file"]);
    folder.file("text", b"this is a text file and no trace at all");
    folder.run(&["diff", "text", "a.trap"]).says(2, &["text is not a Trapline trace"]);
    folder.run(&["diff", "a.trap"]).says(2, &["Usage"]);
    folder
        .run(&["diff", "a.trap", "b.trap", "-o", "a.trap"])
        .says(2, &["a.trap exists: --force replaces it"]);
    let json = folder.run(&["diff", "a.trap", "b.trap", "--json"]);
    json.says(1, &["\"schema\": \"trapline.diff\"", "\"different\": true"]);
}

#[test]
fn a_damaged_trace_is_status_2_unless_it_differed_before() {
    if !kvm() {
        return;
    }
    let folder = two();
    let whole = std::fs::read(folder.path("b.trap")).unwrap();
    folder.file("cut.trap", &whole[..whole.len() - 9]);
    folder.run(&["diff", "a.trap", "cut.trap"]).says(2, &["DAMAGED: b at byte 0x", "equal"]);
    let mut plain = Plain::read(&folder.path("b.trap"));
    plain.exits[4].data[0] ^= 0x55;
    plain.write(&folder.path("b.trap"));
    let other = std::fs::read(folder.path("b.trap")).unwrap();
    folder.file("cut.trap", &other[..other.len() - 9]);
    folder
        .run(&["diff", "a.trap", "cut.trap"])
        .says(1, &["DAMAGED: b at byte 0x", "different from exit 4 on"]);
    // Nothing but a header.
    let first = whole.windows(4).position(|w| w == b"TRPB").unwrap();
    let second = first + 4 + whole[first + 4..].windows(4).position(|w| w == b"TRPB").unwrap();
    folder.file("head.trap", &whole[..second]);
    let ran = folder.run(&["diff", "head.trap", "head.trap"]);
    assert_eq!(ran.status, 2, "{}{}", ran.text(), ran.err);
}
