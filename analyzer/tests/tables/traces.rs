//! A trace as data frames: exits in pieces, events and console lines with their times.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::Cells;
use polars::prelude::*;
use std::ops::ControlFlow;
use std::path::PathBuf;
use trapline_analyzer::{Symbols, tables};
use trapline_formats::{Event, ExitKind, Header, Trace};

/// Twelve exits of 1000 + 500 ticks at 2.5 GHz, 600 ns each, in chunks of this many.
fn twelve(chunk: u32, clock: u64, timings_end: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let header = Header { tick_hz: clock, console_channels: vec!["COM1".into(), "debug".into()], ..header() };
    let mut trace = SyntheticTrace::create(&dir.path().join("run.trap"), &header);
    trace.chunk = chunk;
    trace.timings_end = timings_end;
    let site = trace.site(ExitKind::PortWrite, 0x3f8, 1, 0x8000, &[0xee]);
    for i in 0..12 {
        trace.exit(site, &[i], 1000, 500);
        match i {
            2 => trace.event(&Event::Interrupt { vector: 0x31 }),
            3 => trace.event(&Event::TaskPriority { cr8: 9 }),
            5 => trace.event(&Event::MemoryWrite { gpa: 0x1000, bytes: [7, 0, 0, 0].into() }),
            7 => trace.event(&Event::Jump { rip: 0x8000 }),
            11 => trace.event(&Event::Nmi),
            _ => {}
        }
    }
    let path = trace.end(halted());
    (dir, path)
}

fn events(path: &std::path::Path) -> DataFrame {
    tables::events(&Trace::open(path).unwrap()).unwrap().frame
}

#[test]
fn events_say_what_was_done_and_when() {
    for chunk in [1, 5, 4096] {
        let (_dir, path) = twelve(chunk, 2_500_000_000, u64::MAX);
        let frame = events(&path);
        let cells = Cells(&frame);
        assert_eq!(cells.u64s("exit"), [2, 3, 5, 7, 11].map(Some), "{chunk} exits per chunk");
        assert_eq!(cells.u64s("at_ns"), [1800, 2400, 3600, 4800, 7200].map(Some));
        let names = frame.column("event").unwrap().cast(&DataType::String).unwrap();
        let names: Vec<_> = names.str().unwrap().iter().flatten().collect();
        assert_eq!(names, ["interrupt", "task-priority", "memory-write", "jump", "nmi"]);
        let column = |name| frame.column(name).unwrap();
        assert_eq!(column("vector").u8().unwrap().get(0), Some(0x31));
        assert_eq!(column("vector").null_count(), 4);
        assert_eq!(
            column("size").u32().unwrap().iter().collect::<Vec<_>>(),
            [None, None, Some(4), None, None]
        );
        assert_eq!(cells.u64s("address"), [None, None, Some(0x1000), Some(0x8000), None]);
        assert_eq!(cells.u64s("value"), [None, Some(9), Some(7), None, None]);
    }
}

#[test]
fn where_the_times_end_there_are_none() {
    let (_dir, path) = twelve(5, 2_500_000_000, 4);
    assert_eq!(Cells(&events(&path)).u64s("at_ns"), [Some(1800), Some(2400), None, None, None]);
    let (_dir, path) = twelve(5, 0, u64::MAX);
    assert_eq!(Cells(&events(&path)).u64s("at_ns"), [None; 5]);
}

#[test]
fn exits_come_in_pieces_until_there_are_enough() {
    let (_dir, path) = twelve(2, 2_500_000_000, u64::MAX);
    let trace = Trace::open(&path).unwrap();
    let heights = |most: usize| {
        let mut heights = Vec::new();
        let damage = tables::exits(&trace, &Symbols::none(), 4, &mut |frame| {
            heights.push(frame.height());
            let is_enough = heights.len() == most;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        assert_eq!(damage.unwrap(), None);
        heights
    };
    assert_eq!(heights(usize::MAX), [4, 4, 4]);
    assert_eq!(heights(1), [4]);
    assert_eq!(heights(2), [4, 4]);
}

#[test]
fn console_text_is_put_together_to_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.trap");
    let header = Header { console_channels: vec!["COM1".into(), "debug".into()], ..header() };
    let mut trace = SyntheticTrace::create(&path, &header);
    let site = trace.site(ExitKind::PortWrite, 0x3f8, 1, 0x8000, &[0xee]);
    (0..9).for_each(|i| trace.exit(site, &[i], 1000, 500));
    trace.console(1, 0, b"on");
    trace.console(2, 1, b"\x1b[1m\n");
    trace.console(3, 0, b"e\r\ntw");
    trace.console(5, 0, b"o\n");
    trace.console(6, 1, b"\xc3");
    trace.console(8, 1, b"\xa9");
    let frame = tables::console(&Trace::open(&trace.end(halted())).unwrap()).unwrap().frame;
    let cells = Cells(&frame);
    assert_eq!(cells.u64s("exit"), [1, 2, 3, 6].map(Some));
    assert_eq!(cells.u64s("last_exit"), [3, 2, 5, 8].map(Some));
    assert_eq!(cells.u64s("start_ns"), [600, 1200, 1800, 3600].map(Some));
    let texts = |name: &str| frame.column(name).unwrap().cast(&DataType::String).unwrap();
    let (text, channel) = (texts("text"), texts("channel"));
    assert!(text.str().unwrap().iter().flatten().eq(["one", "\\u{1b}[1m", "two", "é"]));
    assert!(channel.str().unwrap().iter().flatten().eq(["COM1", "debug", "COM1", "debug"]));
}
