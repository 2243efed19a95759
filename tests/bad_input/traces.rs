//! Traces that are none, that are damaged, that lie.

use crate::program::{Folder, kvm};
use trapline_formats::Trace;
use trapline_formats::envelope::{BLOCK_HEADER_BYTES, BLOCK_MAGIC};

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
        let Ok(trace) = Trace::open(&path) else { continue };
        let readable: usize = trace.inputs().map_while(Result::ok).map(|chunk| chunk.len()).sum();
        assert!(readable <= 17, "{readable} exits of {length} bytes");
        // Cut between the end block and the index, it lacks nothing but the index.
        let is_noticed = trace.damage().is_some() || trace.end().is_none() || !trace.has_index();
        assert!(is_noticed, "a cut at {length} is not noticed");
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
    // Without the end block, the index behind it, and the place of the index.
    let end = block_headers(&whole).map(|header| header.start).nth_back(2).unwrap();
    folder.file("cut.trap", &whole[..end]);
    folder.run(&["replay", "cut.trap"]).says(2, &["faithful up to exit", "end is missing"]);
    folder.run(&["replay", "cut.trap", "--until", "3"]).says(0, &["faithful: 4 exits"]);
    folder.run(&["report", "cut.trap"]).says(0, &["exits"]);
}

#[test]
fn a_trace_cut_at_any_block_says_where_and_its_readable_part_replays() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("ticks.bin", crate::guests::IDLE_TICKS);
    let record = ["record", "--flat", "ticks.bin", "--mode", "16", "--memory", "1M", "--clock", "virtual"];
    folder.run(&[record.as_slice(), &["--max-exits", "12000"]].concat()).says(0, &[]);
    let whole = std::fs::read(folder.path("run.trap")).unwrap();
    let path = folder.path("cut.trap");
    let starts: Vec<_> = block_headers(&whole).map(|header| header.start).collect();
    let mut replayed = 0;
    // Behind the end block, nothing is missing but the index.
    let end = starts.len() - 2;
    for &start in &starts[1..end] {
        for length in [start, start + 1, start + BLOCK_HEADER_BYTES + 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let trace = Trace::open(&path).unwrap();
            let exits: usize = trace.inputs_with_digests().map_while(Result::ok).map(|(i, _)| i.len()).sum();
            let inspected = folder.run(&["inspect", "cut.trap"]);
            if length == start {
                inspected.says(0, &["the end is missing"]);
            } else {
                inspected.says(2, &["DAMAGED", &format!("at byte {start:#x}")]);
            }
            folder.run(&["report", "cut.trap"]).says(0, &[]);
            if exits == 0 {
                folder.run(&["replay", "cut.trap"]).says(2, &["the trace holds no whole exit"]);
                continue;
            }
            let last = (exits - 1).to_string();
            let until = format!("--until {last}");
            folder.run(&["replay", "cut.trap"]).says(2, &["faithful up to exit", &until]);
            folder
                .run(&["replay", "cut.trap", "--until", &last])
                .says(0, &[&format!("faithful: {exits} exits")]);
            replayed += 1;
        }
    }
    assert!(replayed > 3, "the trace has no readable parts of several lengths");
}

#[test]
fn a_flipped_bit_in_the_middle_of_a_trace_is_told_with_its_place() {
    if !kvm() {
        return;
    }
    // Every other bit: tests/integrity.
    let folder = Folder::new();
    folder.record("port64", &[]).says(0, &[]);
    let mut bytes = std::fs::read(folder.path("run.trap")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    folder.file("flipped.trap", &bytes);
    folder.run(&["replay", "flipped.trap"]).says(2, &["flipped.trap", "damaged at byte 0x"]);
}

/// Where the headers of the blocks are.
fn block_headers(bytes: &[u8]) -> impl DoubleEndedIterator<Item = std::ops::Range<usize>> {
    let starts = bytes.windows(4).enumerate().filter(|(_, w)| *w == BLOCK_MAGIC).map(|(at, _)| at);
    starts.map(|at| at..at + BLOCK_HEADER_BYTES)
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
