//! One row per exit, read back through polars.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{Cells, SLEEPS, recorded};
use polars::prelude::*;
use std::path::Path;
use trapline_analyzer::{AnalyzerError, Symbols, export};
use trapline_formats::{Event, ExitKind, Header, Trace};

fn exported(path: &Path) -> DataFrame {
    let out = path.with_extension("parquet");
    let trace = Trace::open(path).unwrap();
    let done = export::parquet(&trace, &Symbols::none(), &out, false, &mut |_| {}).unwrap();
    assert_eq!(done.damage, None);
    let frame = ParquetReader::new(std::fs::File::open(&out).unwrap()).finish().unwrap();
    assert_eq!(frame.height() as u64, done.exits);
    frame
}

fn texts(frame: &DataFrame, column: &str) -> Vec<Option<String>> {
    let texts = frame.column(column).unwrap().cast(&DataType::String).unwrap();
    texts.str().unwrap().iter().map(|t| t.map(str::to_owned)).collect()
}

#[test]
fn every_exit_has_its_row() {
    let (_dir, path) = recorded();
    let frame = exported(&path);
    let trace = Trace::open(&path).unwrap();
    let cells = Cells(&frame);
    let (sites, values, faults) = (cells.u32s("site"), cells.u64s("value"), cells.bools("fault"));
    let (kinds, disassembly) = (texts(&frame, "kind"), texts(&frame, "disassembly"));
    let mut row = 0;
    for chunk in trace.inputs() {
        for exit in chunk.unwrap().exits() {
            let site = &trace.sites()[exit.site as usize];
            assert_eq!((exit.index, exit.site), (row as u64, sites[row].unwrap()));
            assert_eq!(kinds[row].as_deref(), Some(site.kind.name()));
            assert_eq!(faults[row], Some(exit.fault));
            let scalar = site.kind.has_data() && !site.rep && !exit.fault;
            let bytes = exit.data.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
            assert_eq!(values[row], scalar.then_some(bytes), "exit {row}");
            if site.kind == ExitKind::Halt {
                assert_eq!(disassembly[row].as_deref(), Some("hlt"));
            }
            row += 1;
        }
    }
    assert_eq!(row, frame.height());
}

#[test]
fn times_add_up() {
    let (_dir, path) = recorded();
    let frame = exported(&path);
    let cells = Cells(&frame);
    let [starts, guests, vmms] = ["start_ns", "guest_ns", "vmm_ns"].map(|c| cells.u64s(c));
    let mut now = 0;
    for row in 0..frame.height() {
        assert_eq!(starts[row], Some(now));
        now += guests[row].unwrap() + vmms[row].unwrap();
    }
    let report = crate::firmware::report(&path, trapline_analyzer::By::Site);
    assert!(now.abs_diff(report.totals().total_ns) <= 3);
}

#[test]
fn interrupts_follow_their_exits_across_chunks() {
    let dir = tempfile::tempdir().unwrap();
    for chunk in [1, 2, 3, 4096] {
        let path = dir.path().join(format!("{chunk}.trap"));
        let mut trace = SyntheticTrace::create(&path, &header());
        trace.chunk = chunk;
        let site = trace.site(ExitKind::PortRead, 0x60, 1, 0x8000, &[0xec]);
        for i in 0..9u8 {
            trace.exit(site, &[i], 1000, 500);
            match i {
                3 => trace.event(&Event::Interrupt { vector: 0x31 }),
                5 => trace.event(&Event::Nmi),
                8 => {
                    trace.event(&Event::WindowRequested);
                    trace.event(&Event::Interrupt { vector: 0x32 });
                }
                _ => trace.event(&Event::Checkpoint),
            }
        }
        let frame = exported(&trace.end(halted()));
        let vectors: Vec<_> = frame.column("interrupt").unwrap().u8().unwrap().iter().collect();
        let expected = [None, None, None, Some(0x31), None, None, None, None, Some(0x32)];
        assert_eq!(vectors, expected, "{chunk} exits per chunk");
        let nmis = Cells(&frame).bools("nmi");
        assert_eq!(nmis.iter().position(|n| *n == Some(true)), Some(5));
        assert_eq!(nmis.iter().filter(|n| **n == Some(true)).count(), 1);
    }
}

#[test]
fn many_row_groups_read_back_as_one_table() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = SyntheticTrace::create(&dir.path().join("run.trap"), &header());
    let sites = [
        trace.site(ExitKind::PortRead, 0x3fd, 1, 0x8000, &[0xec]),
        trace.site(ExitKind::PortWrite, 0x3f8, 1, 0x8001, &[0xee]),
    ];
    for i in 0..700_000u32 {
        trace.exit(sites[usize::from(i % 3 == 0)], &[i as u8], 1000, 500);
        if i % 1000 == 0 {
            trace.event(&Event::Interrupt { vector: 0x20 });
        }
    }
    let path = trace.end(halted());
    let frame = exported(&path);
    assert_eq!(frame.height(), 700_000);
    let file = std::fs::File::open(path.with_extension("parquet")).unwrap();
    assert_eq!(ParquetReader::new(file).get_metadata().unwrap().row_groups.len(), 3);
    let cells = Cells(&frame);
    assert!(cells.u64s("exit").into_iter().eq((0..700_000).map(Some)));
    let kinds = texts(&frame, "kind");
    assert!(
        (0..700_000)
            .all(|i| kinds[i].as_deref() == Some(if i % 3 == 0 { "port-write" } else { "port-read" }))
    );
    let interrupts = frame.column("interrupt").unwrap();
    assert_eq!(interrupts.len() - interrupts.null_count(), 700);
}

#[test]
fn a_trace_without_exits_or_times_still_has_all_columns() {
    let dir = tempfile::tempdir().unwrap();
    let empty = SyntheticTrace::create(&dir.path().join("a.trap"), &header()).end(halted());
    let empty = exported(&empty);
    assert_eq!(empty.height(), 0);
    let mut untimed = SyntheticTrace::create(&dir.path().join("b.trap"), &Header { tick_hz: 0, ..header() });
    let site = untimed.site(ExitKind::PortRead, 0x60, 1, 0x8000, &[0xec]);
    untimed.exit(site, &[1], 1000, 500);
    let untimed = exported(&untimed.end(halted()));
    assert_eq!(Cells(&untimed).u64s("start_ns"), [None]);
    assert_eq!(untimed.get_column_names(), empty.get_column_names());
}

#[test]
fn an_existing_file_is_replaced_only_when_asked() {
    let (dir, path) = recorded();
    let trace = Trace::open(&path).unwrap();
    let out = dir.path().join("out");
    std::fs::write(&out, "precious").unwrap();
    let refused = export::parquet(&trace, &Symbols::none(), &out, false, &mut |_| {});
    assert!(matches!(refused, Err(AnalyzerError::Exists { .. })));
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    let mut told = Vec::new();
    let done = export::parquet(&trace, &Symbols::none(), &out, true, &mut |n| told.push(n)).unwrap();
    assert_eq!(told.last(), Some(&done.exits));
    assert_eq!(&std::fs::read(&out).unwrap()[..4], b"PAR1");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    assert!(done.exits > SLEEPS);
}
