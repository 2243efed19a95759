//! Traces that are cut, damaged or hostile.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{self, recorded, report};
use std::path::Path;
use trapline_analyzer::{By, Report, Symbols, export};
use trapline_formats::envelope::BlockType;
use trapline_formats::{ExitKind, GuestFile, NamedRange, Space, Trace, Unclosed};
use unicode_width::UnicodeWidthStr;

fn with_bytes(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// The text with paragraphs in one line.
fn unwrapped(report: &Report) -> String {
    report.to_text(None, 100).replace('\n', " ")
}

fn small_chunks(dir: &Path) -> std::path::PathBuf {
    let mut trace = SyntheticTrace::create(&dir.join("run.trap"), &header());
    (trace.chunk, trace.timing_chunk) = (100, 100);
    let site = trace.site(ExitKind::PortRead, 0x3fd, 1, 0x8000, &[0xec]);
    (0..1000u32).for_each(|i| trace.exit(site, &[i as u8], 3000, 1000));
    trace.end(halted())
}

#[test]
fn a_truncated_trace_is_reported_up_to_where_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = small_chunks(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for length in (0..whole.len()).step_by(5) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let Ok(trace) = Trace::open(&path) else { continue };
        let report = Report::from_trace(&trace, By::Site, &mut |_| {}).unwrap();
        assert!(!report.is_whole());
        let text = report.to_text(None, 100);
        assert!(text.contains("TRUNCATED: ") || text.contains("NO END: "), "{text}");
        assert_eq!(report.damage().is_some(), text.contains("TRUNCATED: "));
        seen.insert(report.totals().exits);
        let exported = dir.path().join("exits.parquet");
        assert_eq!(
            export::parquet(&trace, &Symbols::none(), &exported, true, &mut |_| {}).unwrap().exits,
            report.totals().exits
        );
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..=10).map(|i| i * 100).collect::<Vec<u64>>());
}

#[test]
fn damage_in_the_middle_ends_the_report_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = small_chunks(dir.path());
    let trace = Trace::open(&path).unwrap();
    let place = |kind: BlockType| {
        trace.blocks().iter().filter(|b| b.header.kind == kind as u16).nth(4).copied().unwrap().offset
    };
    let (inputs, timing) = (place(BlockType::Inputs), place(BlockType::Timing));
    let original = std::fs::read(&path).unwrap();

    with_bytes(&path, |bytes| bytes[inputs as usize + 33] ^= 1);
    let cut = report(&path, By::Site);
    assert_eq!(cut.totals().exits, 400);
    assert_eq!(cut.damage().unwrap().offset, inputs);
    let text = unwrapped(&cut);
    assert!(text.contains("TRUNCATED: only the first 400 exits can be read."), "{text}");
    assert!(text.contains("the checksum of the payload is wrong"), "{text}");

    std::fs::write(&path, original).unwrap();
    with_bytes(&path, |bytes| bytes[timing as usize + 33] ^= 1);
    let untimed = report(&path, By::Site);
    assert_eq!((untimed.totals().exits, untimed.totals().timed_exits), (1000, 400));
    assert!(untimed.damage().is_none() && !untimed.is_whole());
    let text = unwrapped(&untimed);
    assert!(text.contains("TIMES MISSING: only the first 400 exits have a time: timing block: "), "{text}");
}

#[test]
fn a_recorder_that_was_killed_leaves_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = firmware::trace(&dir.path().join("run.trap"), &header()).killed();
    let report = report(&path, By::Site);
    assert!(report.damage().is_none() && !report.is_whole());
    let text = report.to_text(None, 100);
    assert!(text.contains("NO END: the recorder was stopped"), "{text}");
    assert!(text.contains("ended  unknown"), "{text}");
}

#[test]
fn unclosed_sources_stand_on_top() {
    let dir = tempfile::tempdir().unwrap();
    let mut end = halted();
    end.unclosed.push(Unclosed { source: "RDTSC".into(), exit: 1234, evidence: "executed at 0x8000".into() });
    let path = firmware::trace(&dir.path().join("run.trap"), &header()).end(end);
    let text = report(&path, By::Site).to_text(None, 100);
    assert!(text.contains("UNCLOSED: RDTSC, first seen at exit 1,234: executed at 0x8000."), "{text}");
}

#[test]
fn text_of_a_stranger_neither_reaches_the_terminal_nor_breaks_the_table() {
    let evil = "\x1b]0;evil\x07\u{202e}\r\n日本語\u{9b}31m".repeat(20);
    let mut header = header();
    header.recorder = evil.clone();
    header.entry = evil.clone();
    header.tick_source = evil.clone();
    for text in [&mut header.host.engine, &mut header.host.kernel, &mut header.host.cpu_brand] {
        text.clone_from(&evil);
    }
    header.files = vec![GuestFile { role: evil.clone(), name: evil.clone(), bytes: u64::MAX, xxh3: 0 }];
    let everything = NamedRange {
        space: Space::Port,
        start: 0,
        end: u64::MAX,
        device: evil.clone(),
        register: evil.clone(),
    };
    header.names.push(everything);
    let mut end = firmware::end();
    end.unclosed.push(Unclosed { source: evil.clone(), exit: u64::MAX, evidence: evil.clone() });
    end.reason = trapline_formats::EndReason::Failed(evil.clone());
    let dir = tempfile::tempdir().unwrap();
    let path = firmware::trace(&dir.path().join("\u{1b}[31m.trap"), &header).end(end);
    let is_bad = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
    for by in By::ALL {
        let report = report(&path, by);
        for width in [20, 60, 100, 200] {
            let text = report.to_text(None, width);
            assert!(!text.contains(is_bad), "{text:?}");
            for line in text.lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
        assert!(!report.to_json(None).unwrap().contains(is_bad));
        assert!(!report.to_csv(None).unwrap().contains(is_bad));
    }
}

#[test]
fn flipped_bits_make_nothing_panic() {
    let (_dir, path) = recorded();
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let Ok(trace) = Trace::open(&path) else { continue };
        let report = Report::from_trace(&trace, By::Device, &mut |_| {}).unwrap();
        assert!(report.to_text(None, 100).lines().all(|l| l.width() <= 100));
    }
}
