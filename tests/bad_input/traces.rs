//! Traces that are none, that are damaged, that lie.

use crate::program::{Folder, kvm};

#[test]
fn what_is_no_trace_is_refused_by_every_verb() {
    let folder = Folder::new();
    folder.file("empty", b"");
    folder.file("short", b"\x89TRAP");
    folder.file("text", b"this is a text file and no trace at all");
    for verb in ["replay", "report", "inspect"] {
        folder.run(&[verb, "none"]).says(2, &["none", "No such file"]);
        folder.run(&[verb, "empty"]).says(2, &["empty is not a Trapline trace", "it is empty"]);
        folder.run(&[verb, "short"]).says(2, &["not a Trapline trace", "only 5 bytes"]);
        folder.run(&[verb, "text"]).says(2, &["not a Trapline trace", "magic"]);
        folder.run(&[verb, "."]).says(2, &["directory"]);
    }
}

#[test]
fn a_trace_of_a_newer_version_asks_for_a_newer_trapline() {
    let folder = Folder::new();
    let mut header = trapline_formats::envelope::encode_file_header();
    header[8] = 9;
    let crc = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    folder.file("new.trap", &header);
    folder.run(&["inspect", "new.trap"]).says(2, &["format version 9", "newer trapline"]);
}

#[test]
fn a_trace_truncated_at_any_byte_is_readable_up_to_there_and_says_where() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("port64", &[]).says(0, &[]);
    let whole = std::fs::read(folder.path("run.trap")).unwrap();
    let path = folder.path("cut.trap");
    // In this process: a program started for each of thousands of bytes would take minutes.
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let Ok(trace) = trapline_formats::Trace::open(&path) else { continue };
        let readable: usize = trace.inputs().map_while(Result::ok).map(|chunk| chunk.len()).sum();
        assert!(readable <= 17, "{readable} exits of {length} bytes");
        assert!(trace.damage().is_some() || trace.end().is_none(), "a cut at {length} is not noticed");
    }
    // And some of them as a user meets them.
    for length in [1, 15, 16, 47, 200, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        folder.run(&["inspect", "cut.trap"]).says(2, &["cut.trap"]);
        folder.run(&["replay", "cut.trap"]).says(2, &[]);
    }
}

#[test]
fn the_readable_part_of_a_truncated_trace_replays() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("port64", &[]).says(0, &[]);
    let whole = std::fs::read(folder.path("run.trap")).unwrap();
    // Without the end block.
    let end = whole.windows(4).rposition(|w| w == b"TRPB").unwrap();
    folder.file("cut.trap", &whole[..end]);
    folder.run(&["replay", "cut.trap"]).says(2, &["faithful up to exit", "end is missing"]);
    folder.run(&["replay", "cut.trap", "--until", "3"]).says(0, &["faithful: 4 exits"]);
    folder.run(&["report", "cut.trap"]).says(0, &["exits"]);
}

#[test]
fn every_flipped_bit_of_a_trace_is_noticed_or_harmless() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("port64", &[]).says(0, &[]);
    let whole = std::fs::read(folder.path("run.trap")).unwrap();
    let path = folder.path("flipped.trap");
    let reads = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let trace = trapline_formats::Trace::open(&path).ok()?;
        let start = trace.start_state().ok()?;
        trace.start_memory(|_, _| {}).ok()?;
        let chunks: Result<Vec<_>, _> = trace.inputs_with_digests().collect();
        let exits: usize = chunks.ok()?.iter().map(|(inputs, _)| inputs.len()).sum();
        trace.timing().collect::<Result<Vec<_>, _>>().ok()?;
        (trace.damage().is_none() && trace.end().is_some()).then_some((start, exits))
    };
    let good = reads(&whole).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Some(read) = reads(&bytes) {
            // The reserved bytes of the file header are covered by its checksum; nothing may get through unseen.
            assert_eq!(read, good, "bit {bit}");
        }
    }
}

#[test]
fn an_exit_that_the_trace_does_not_have_is_refused() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("port64", &[]).says(0, &[]);
    folder
        .run(&["replay", "run.trap", "--until", "1000"])
        .says(2, &["--until 1000", "exits, numbered from 0"]);
    folder.run(&["replay", "run.trap", "--repeat", "0"]).says(2, &["--repeat"]);
}

#[test]
fn escape_sequences_from_a_guest_reach_the_terminal_by_replay_console_only() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("escapes_64", &["--quiet"]).says(0, &[]);
    let is_clean = |bytes: &[u8]| bytes.iter().all(|b| *b >= 0x20 || b"\n\t".contains(b));
    let verbs: [&[&str]; 4] = [
        &["inspect", "run.trap"],
        &["inspect", "run.trap", "--exits", ".."],
        &["report", "run.trap"],
        &["replay", "run.trap"],
    ];
    for verb in verbs {
        let ran = folder.run(verb);
        assert!(ran.status == 0 && is_clean(&ran.out), "{verb:?}: {}", ran.text());
    }
    let shown = folder.run(&["replay", "run.trap", "--console"]);
    assert!(shown.out.windows(5).any(|w| w == b"\x1b[31m"), "{}", shown.text());
}
