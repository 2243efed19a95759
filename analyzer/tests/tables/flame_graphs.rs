//! Folded stacks and flame graphs, of one recording and of what changed between two, read back by inferno and by a browser.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{Cells, recorded, report};
use crate::html::{browser, shown};
use crate::odd::one_site;
use crate::stacks::stacked;
use inferno::flamegraph::{Options, from_lines};
use std::path::{Path, PathBuf};
use trapline_analyzer::export::{Difference, Profile, Recording, difference, profile};
use trapline_analyzer::{AnalyzerError, By, SymbolFile, Symbols};
use trapline_formats::{ExitKind, Header, NamedRange, Space, Trace};

/// Every name tries to be a frame, a comment, a weight, markup, or what XML has no place for.
const HOSTILE: &str = "# </title><script>window.hacked=1</script>;<img/src=x/onerror=hacked=1> -- \u{ffff} 7";

fn exported(path: &Path, symbols: Symbols, kind: Profile) -> Result<String, AnalyzerError> {
    let out = path.with_extension(format!("{kind:?}"));
    profile(&Trace::open(path).unwrap(), symbols, None, kind, &out, true, &mut |_| {})?;
    Ok(std::fs::read_to_string(out).unwrap())
}

/// What changed from one recording to another, and what is to be known of it.
fn differing(before: &Path, now: &Path, form: Difference) -> Result<(String, Vec<String>), AnalyzerError> {
    let out = now.with_extension(format!("{form:?}"));
    let (before, now) = (Trace::open(before).unwrap(), Trace::open(now).unwrap());
    let side = |trace| Recording { trace, symbols: Symbols::none(), prices: None };
    let warnings = difference(side(&now), side(&before), form, &out, true, &mut |_| {})?;
    Ok((std::fs::read_to_string(out).unwrap(), warnings))
}

/// The picture that inferno makes of a text: it leaves out what it takes for no stack.
fn drawn(folded: &str) -> String {
    let mut svg = Vec::new();
    from_lines(&mut Options::default(), folded.lines(), &mut svg).unwrap();
    String::from_utf8(svg).unwrap()
}

/// What a picture says of its frames: "name (12 ns, 3.40%)".
fn frames(svg: &str) -> Vec<&str> {
    let titles = svg.split("<title>").skip(1);
    titles.map(|rest| rest.split_once("</title>").unwrap().0).collect()
}

/// A number as inferno writes it.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[test]
fn inferno_reads_every_line_that_is_written_for_it() {
    let (_dir, path) = recorded();
    let cost = grouped(report(&path, By::Site).totals().cost_ns);
    for symbols in [Symbols::none(), stacked(&path)] {
        let text = exported(&path, symbols, Profile::Folded).unwrap();
        let svg = drawn(&text);
        assert!(frames(&svg).contains(&&*format!("all ({cost} samples, 100%)")), "{text}");
    }
}

#[test]
fn a_flame_graph_says_what_each_frame_cost() {
    let (_dir, path) = recorded();
    let report = report(&path, By::Site);
    let cells = Cells(report.table());
    let poll = cells.u64s("cost_ns")[cells.row_of("in al, dx")].unwrap();
    let all = report.totals().cost_ns;
    let svg = exported(&path, Symbols::none(), Profile::FlameGraph).unwrap();
    let share = format!("{:.2}", 100.0 * poll as f64 / all as f64);
    for name in ["in al, dx at 0xf1234", "port-read 0x3fd COM1 line status"] {
        let told = format!("{name} ({} ns, {share}%)", grouped(poll));
        assert!(frames(&svg).contains(&&*told), "{told}: {:?}", frames(&svg));
    }
    assert!(frames(&svg).contains(&&*format!("all ({} ns, 100%)", grouped(all))));
    assert!(
        svg.contains(">run.trap<") && svg.contains(">As wide as the cost of exits, VMM time and exit path<")
    );
    assert!(!svg.contains("hlt"), "idleness is no cost");
    assert_eq!(
        svg,
        exported(&path, Symbols::none(), Profile::FlameGraph).unwrap(),
        "no chance in its colours"
    );

    let with_callers = exported(&path, stacked(&path), Profile::FlameGraph).unwrap();
    assert_eq!(frames(&with_callers).iter().filter(|f| f.starts_with("0x12005 (")).count(), 2, "two stacks");
    assert!(frames(&with_callers).contains(&&*format!("all ({} ns, 100%)", grouped(all))));
}

#[test]
fn a_flame_graph_counts_exits_where_there_are_no_times_and_is_refused_where_nothing_costs() {
    let dir = tempfile::tempdir().unwrap();
    let draw = |path: &Path| exported(path, Symbols::none(), Profile::FlameGraph);
    let one = draw(&one_site(dir.path(), 1, true)).unwrap();
    assert!(frames(&one).contains(&"all (1,600 ns, 100%)"), "{:?}", frames(&one));
    let untimed = draw(&one_site(dir.path(), 7, false)).unwrap();
    assert!(frames(&untimed).contains(&"all (7 exits, 100%)"), "{:?}", frames(&untimed));
    assert!(
        untimed.contains(">As wide as the number of exits; TIMES MISSING<")
            && untimed.contains("NOTES: TIMES MISSING")
    );

    let mut trace = SyntheticTrace::create(&dir.path().join("idle.trap"), &header());
    let sleep = trace.site(ExitKind::Halt, 0, 0, 0x8000, &[0xf4]);
    trace.exit(sleep, &[], 1000, 1000);
    let idle = trace.end(halted());
    let empty = SyntheticTrace::create(&dir.path().join("empty.trap"), &header()).end(halted());
    for path in [&idle, &empty] {
        let error = draw(path).unwrap_err();
        assert!(matches!(error, AnalyzerError::NoCost), "{error}");
        assert!(!path.with_extension("FlameGraph").exists());
        let error = differing(path, path, Difference::FlameGraph).unwrap_err();
        assert!(matches!(error, AnalyzerError::NoCost), "{error}");
        assert_eq!(differing(path, path, Difference::Folded).unwrap().0, "");
    }
}

#[test]
fn times_that_end_early_are_no_exits_in_nanoseconds() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = SyntheticTrace::create(&dir.path().join("run.trap"), &header());
    trace.timings_end = 10;
    for port in [0x60, 0x61] {
        let site = trace.site(ExitKind::PortRead, port, 1, 0x8000 + port, &[0xec]);
        (0..10).for_each(|_| trace.exit(site, &[1], 3000, 1000));
    }
    let path = trace.end(halted());
    let text = exported(&path, Symbols::none(), Profile::Folded).unwrap();
    let weights: Vec<_> = text.lines().map(|l| l.rsplit_once(' ').unwrap().1).collect();
    assert_eq!(weights, ["16000", "0"], "{text}");
}

/// A recording of one host: at each port so many exits.
fn ports(dir: &Path, name: &str, header: &Header, exits: &[(u64, u64)]) -> PathBuf {
    let mut trace = SyntheticTrace::create(&dir.join(name), header);
    for &(port, exits) in exits {
        let site = trace.site(ExitKind::PortRead, port, 1, 0x8000 + 16 * port, &[0xe4, port as u8]);
        (0..exits).for_each(|_| trace.exit(site, &[0], 3000, 1000));
    }
    trace.end(halted())
}

#[test]
fn a_difference_has_a_column_before_and_one_now_and_a_picture_as_wide_as_now() {
    let dir = tempfile::tempdir().unwrap();
    let before = ports(dir.path(), "a.trap", &header(), &[(0x10, 100), (0x11, 50)]);
    let now = ports(dir.path(), "b.trap", &header(), &[(0x10, 300), (0x12, 100)]);
    let (text, warnings) = differing(&before, &now, Difference::Folded).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    // Every exit costs the same.
    let costs = |path: &Path| report(path, By::Site).totals().cost_ns;
    let line = |port: u64| {
        let stack =
            format!("(no symbol);in al, {port:#x} at {:#x};port-read {port:#x} (port)", 0x8000 + 16 * port);
        let line =
            text.lines().find_map(|l| l.strip_prefix(&stack)).unwrap_or_else(|| panic!("{stack}: {text}"));
        let columns: Vec<u64> = line.split_whitespace().map(|n| n.parse().unwrap()).collect();
        [columns[0], columns[1]]
    };
    let each = costs(&before) / 150;
    assert_eq!(
        (line(0x10), line(0x11), line(0x12)),
        ([100 * each, 300 * each], [50 * each, 0], [0, 100 * each])
    );
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().is_sorted());

    let (svg, _) = differing(&before, &now, Difference::FlameGraph).unwrap();
    let told = frames(&svg);
    assert!(told.contains(&&*format!("all ({} ns, 100%)", grouped(costs(&now)))), "{told:?}");
    let more = format!("port-read 0x10 (port) ({} ns, 75.00%; +50.00%)", grouped(300 * each));
    let new = format!("port-read 0x12 (port) ({} ns, 25.00%; +25.00%)", grouped(100 * each));
    assert!(told.contains(&&*more) && told.contains(&&*new), "{told:?}");
    assert!(svg.contains(">b.trap against a.trap<"));
    // The other way round there is less of it.
    let (svg, _) = differing(&now, &before, Difference::FlameGraph).unwrap();
    assert!(
        frames(&svg)
            .iter()
            .any(|f| f.starts_with("port-read 0x10 (port) (") && f.ends_with("66.67%; -133.33%)")),
        "{:?}",
        frames(&svg)
    );
}

#[test]
fn between_two_hosts_and_without_times_exits_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let here = ports(dir.path(), "a.trap", &header(), &[(0x10, 100)]);
    let mut other = header();
    other.host.cpu_brand = "another processor".into();
    let there = ports(dir.path(), "b.trap", &other, &[(0x10, 300)]);
    let untimed = one_site(dir.path(), 7, false);
    for (before, now, columns) in
        [(&here, &there, " 100 300\n"), (&untimed, &here, " 0 100\n"), (&here, &untimed, " 100 0\n")]
    {
        let (text, warnings) = differing(before, now, Difference::Folded).unwrap();
        assert!(text.contains(columns), "{text}");
        assert!(warnings.last().unwrap().starts_with("EXITS COUNTED: "), "{warnings:?}");
    }
    let (svg, warnings) = differing(&untimed, &here, Difference::FlameGraph).unwrap();
    assert!(warnings[0].starts_with("odd.trap before, TIMES MISSING: "), "{warnings:?}");
    assert!(frames(&svg).contains(&"all (100 exits, 100%)"), "{:?}", frames(&svg));
}

#[test]
fn a_picture_of_hostile_names_runs_in_a_browser_and_holds_no_markup() {
    let dir = tempfile::tempdir().unwrap();
    let mut header = header();
    let named = NamedRange {
        space: Space::Port,
        start: 0x60,
        end: 0x68,
        device: HOSTILE.into(),
        register: "counter 0".into(),
    };
    header.names = vec![named];
    let mut trace = SyntheticTrace::create(&dir.path().join("<b>&--run.trap"), &header);
    for i in 0..4 {
        let site = trace.site(ExitKind::PortRead, 0x60 + i, 1, 0x8000 + 16 * i, &[0xec]);
        (0..100).for_each(|_| trace.exit(site, &[0], 3000, 1000));
    }
    let path = trace.end(halted());
    let map = dir.path().join("System.map");
    std::fs::write(
        &map,
        [b"0000000000008000 T ", HOSTILE.replace(' ', "_").as_bytes(), b"\xff\x1b\n0000000000009000 T end\n"]
            .concat(),
    )
    .unwrap();
    let symbols = || {
        Symbols::load(&Trace::open(&path).unwrap(), &[SymbolFile { path: map.clone(), offset: None }])
            .unwrap()
    };
    let text = exported(&path, symbols(), Profile::Folded).unwrap();
    let all = report(&path, By::Site).totals().cost_ns;
    assert!(text.lines().all(|l| l.matches(';').count() == 2 && l.contains("counter #0 ")), "{text}");
    assert!(frames(&drawn(&text)).contains(&&*format!("all ({} samples, 100%)", grouped(all))), "{text}");

    exported(&path, symbols(), Profile::FlameGraph).unwrap();
    differing(&path, &path, Difference::FlameGraph).unwrap();
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no browser shows the picture: `apt-get install chromium`");
        return;
    };
    let picture = dir.path().join("picture.svg");
    std::fs::rename(path.with_extension("FlameGraph"), &picture).unwrap();
    let dom = shown(&browser, &dir.path().join("profile"), &picture, 1280);
    // Its script has run, so it is well-formed, and there is no other one.
    assert!(dom.contains("width=\"100%\"") && !dom.contains("parsererror"), "{dom}");
    assert!(
        dom.matches("<script").count() == 1 && !dom.contains("<img") && dom.contains("onerror=hacked"),
        "{dom}"
    );
}
