//! Call stacks in tables: every second exit was called by one function, the others by two.

use crate::firmware::{Cells, recorded, report};
use crate::schema::{actual, documented};
use polars::prelude::{ParquetReader, SerReader};
use std::path::Path;
use trapline_analyzer::{By, Report, Sources, Standing, Symbols, Unwinder, export};
use trapline_formats::{Gva, Registers, SystemRegisters, Trace};

const SHORT: u64 = 0x7000;
const LONG: u64 = 0x9000;

/// Two stacks, and code in which a call stands before every return address.
fn read(address: Gva, bytes: &mut [u8]) -> usize {
    let words: &[(usize, u64)] = match address.0 {
        SHORT => &[(0x108, 0x12005)],
        LONG => &[(0x100, LONG + 0x200), (0x108, 0x12005), (0x208, 0x13005)],
        0x12000 | 0x13000 => &[(0, 0xe8)],
        _ => return 0,
    };
    bytes.fill(0);
    for (at, word) in words {
        bytes[*at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    bytes.len()
}

/// The stacks of a trace.
pub fn stacked(path: &Path) -> Symbols {
    let trace = Trace::open(path).unwrap();
    let sources = Sources::default();
    let mut unwinder = Unwinder::new(&sources);
    for chunk in trace.inputs() {
        for exit in chunk.unwrap().exits() {
            let stack = if exit.index % 2 == 0 { SHORT } else { LONG };
            let mut registers = Registers::default();
            registers.general[Registers::RSP] = stack;
            registers.general[7] = stack + 0x100;
            let system = SystemRegisters::default();
            let guest = Standing { registers: &registers, system: &system, read: &mut |a, b| read(a, b) };
            unwinder.exit(exit.index, &trace.sites()[exit.site as usize], guest);
        }
    }
    Symbols::none().with_stacks(&trace, unwinder.finish())
}

fn with_stacks(path: &Path) -> Report {
    Report::with_symbols(&Trace::open(path).unwrap(), By::Site, stacked(path), &mut |_| {}).unwrap()
}

#[test]
fn the_costs_of_stacks_add_up_to_those_of_their_sites() {
    let (_dir, path) = recorded();
    let report = with_stacks(&path);
    let cells = Cells(report.table());
    let (sites, counts, costs) = (cells.u32s("site"), cells.u64s("count"), cells.u64s("cost_ns"));
    let vmm = cells.u64s("vmm_ns");
    for (row, site) in sites.iter().enumerate() {
        let of_site = || report.stacks().iter().filter(|s| Some(s.site) == *site);
        assert_eq!(Some(of_site().map(|s| s.count).sum()), counts[row]);
        assert_eq!(Some(of_site().map(|s| s.vmm_ns).sum()), vmm[row]);
        assert_eq!(of_site().map(|s| s.cost_ns).sum::<u64>(), costs[row].unwrap_or(0));
        assert!(of_site().is_sorted_by_key(|s| std::cmp::Reverse((s.cost_ns, s.vmm_ns))));
    }
}

#[test]
fn the_table_tells_of_the_dearest_stack() {
    let (_dir, path) = recorded();
    let report = with_stacks(&path);
    let mut columns = documented("The report table");
    columns.extend(documented("Call stacks"));
    assert_eq!(actual(report.table()), columns);
    let cells = Cells(report.table());
    let poll = cells.row_of("in al, dx");
    assert_eq!(cells.u32s("stacks")[poll], Some(2));
    let callers = cells.strs("callers")[poll].unwrap();
    assert!(["0x12005", "0x13005;0x12005"].contains(&callers), "{callers}");
    let share = cells.f64s("callers_percent")[poll].unwrap();
    assert!((50.0..55.0).contains(&share), "{share}");
    assert!(
        report.to_csv(None).unwrap().lines().next().unwrap().ends_with(",stacks,callers,callers_percent")
    );
}

#[test]
fn the_text_says_who_called() {
    let (_dir, path) = recorded();
    let text = with_stacks(&path).to_text(Some(1), 100);
    let (_, after) = text.split_once("Who called").unwrap();
    let lines: Vec<_> = after.lines().skip(2).take(3).map(str::trim).collect();
    assert_eq!(lines[0], "0xf1234: in al, dx, 0x3fd COM1 line status");
    assert!(lines[1..].iter().any(|l| l.ends_with(" x  0x12005")), "{lines:?}");
    assert!(lines[1..].iter().any(|l| l.ends_with(" x  0x12005 < 0x13005")), "{lines:?}");
    assert!(text.contains("Callers of all exits were found 100.0 % by frame pointers."), "{text}");
    assert!(!report(&path, By::Site).to_text(None, 100).contains("Who called"));
}

#[test]
fn json_has_every_stack_of_the_rows_it_has() {
    let (_dir, path) = recorded();
    let json = |top| -> serde_json::Value {
        serde_json::from_str(&with_stacks(&path).to_json(top).unwrap()).unwrap()
    };
    let all = json(None);
    let site = all["rows"][0]["site"].clone();
    let of_site = |json: &serde_json::Value| {
        json["stacks"].as_array().unwrap().iter().filter(|s| s["site"] == site).count()
    };
    assert_eq!((of_site(&all), of_site(&json(Some(1)))), (2, 2));
    assert!(json(Some(1))["stacks"].as_array().unwrap().len() < all["stacks"].as_array().unwrap().len());
    let caller = serde_json::json!({
        "address": "0x12005", "symbol": null, "symbol_offset": null, "source_line": null, "method": "frame-pointer",
    });
    assert_eq!(all["stacks"][0]["callers"][0], caller);
}

#[test]
fn an_export_has_the_stack_of_each_exit_and_a_table_of_them() {
    let (dir, path) = recorded();
    let out = dir.path().join("exits.parquet");
    export::parquet(&Trace::open(&path).unwrap(), &stacked(&path), &out, false, &mut |_| {}).unwrap();
    let table = |path: &Path| ParquetReader::new(std::fs::File::open(path).unwrap()).finish().unwrap();
    let mut columns = documented("The exits table");
    columns.push(("stack".into(), "UInt32".into()));
    let exits = table(&out);
    assert_eq!(actual(&exits), columns);
    assert_eq!(Cells(&exits).u32s("stack")[..4], [Some(0), Some(1), Some(0), Some(1)]);
    let stacks = table(&dir.path().join("exits.stacks.parquet"));
    assert_eq!(actual(&stacks), documented("The stacks table"));
    assert_eq!(Cells(&stacks).u32s("stack"), [Some(0), Some(1), Some(1)]);
    assert_eq!(Cells(&stacks).u64s("address"), [Some(0x12005), Some(0x12005), Some(0x13005)]);
}

#[test]
fn the_page_has_the_stacks_for_its_flame_graph() {
    let (_dir, path) = recorded();
    let page = with_stacks(&path).to_html(&Trace::open(&path).unwrap(), None).unwrap();
    assert!(page.contains(r#""callers":["0x13005","0x12005"]"#));
    assert!(page.contains("which functions called them"));
    let plain = report(&path, By::Site).to_html(&Trace::open(&path).unwrap(), None).unwrap();
    assert!(plain.contains(r#""stacks":null"#) && !plain.contains("which functions called them"));
}
