//! Two recordings side by side.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{POLLS, recorded, report};
use std::path::{Path, PathBuf};
use trapline_analyzer::{By, Comparison, Condition, Pair, Report, SymbolFile, Symbols, Verdict};
use trapline_formats::{ClockMode, ExitKind, Header, Trace};

/// A recording: exits at four instructions, with so many ticks in the VMM, all of it loaded at an address.
fn write(dir: &tempfile::TempDir, name: &str, header: &Header, at: u64, exits: [(u64, u64); 4]) -> PathBuf {
    let mut trace = SyntheticTrace::create(&dir.path().join(name), header);
    for (i, (count, vmm)) in (0..).zip(exits).filter(|(_, (count, _))| *count > 0) {
        let site = trace.site(ExitKind::PortRead, 0x60 + i, 1, at + 0x10 * i, &[0xe4, i as u8]);
        (0..count).for_each(|n| trace.exit(site, &[n as u8], 3000, vmm + n % 16));
    }
    trace.end(halted())
}

fn compared(before: &Path, now: &Path) -> Comparison {
    Comparison::of(&report(now, By::Site), &report(before, By::Site), 5.0)
}

fn of(comparison: &Comparison, port: u64) -> &Pair {
    comparison.pairs.iter().find(|p| p.target.starts_with(&format!("{:#x}", 0x60 + port))).unwrap()
}

fn host_time() -> Header {
    Header { clock: ClockMode::Host, ..header() }
}

#[test]
fn differences_are_told_where_chance_does_not_explain_them() {
    let dir = tempfile::tempdir().unwrap();
    let before = write(&dir, "a", &host_time(), 0x8000, [(1000, 500), (100, 500), (1000, 500), (400, 500)]);
    let now = write(&dir, "b", &host_time(), 0x8000, [(2000, 500), (110, 500), (1010, 700), (0, 0)]);
    let comparison = compared(&before, &now);
    assert!(comparison.one_host && !comparison.exact_counts);
    let said = |port| (of(&comparison, port).exits, of(&comparison, port).vmm);
    assert_eq!(said(0), (Verdict::More, Verdict::Same));
    assert_eq!(said(1), (Verdict::Unclear, Verdict::Same), "ten more of a hundred are chance");
    assert_eq!(
        said(2),
        (Verdict::Same, Verdict::More),
        "one percent more is not worth a word, but it is slower"
    );
    assert_eq!(said(3), (Verdict::Less, Verdict::NotComparable));
    assert_eq!((of(&comparison, 3).site_now, of(&comparison, 3).paired_by), (None, None));
    assert_eq!(comparison.exits, [2500, 3120]);
    let text = comparison.to_text(None, 100);
    assert!(text.contains("gone") && text.contains("+100.0 %") && text.contains("+10.0 % ?"), "{text}");
    // In virtual time there is no chance.
    let exact = |name, exits| write(&dir, name, &header(), 0x8000, exits);
    let before = exact("c", [(100, 500), (0, 0), (0, 0), (0, 0)]);
    let now = exact("d", [(110, 500), (0, 0), (0, 0), (0, 0)]);
    let comparison = compared(&before, &now);
    assert!(comparison.exact_counts);
    assert_eq!(of(&comparison, 0).exits, Verdict::More);
}

#[test]
fn a_recording_does_not_differ_from_itself() {
    let (_dir, path) = recorded();
    let comparison = compared(&path, &path);
    assert!(comparison.pairs.iter().all(|p| p.exits == Verdict::Same && p.paired_by == Some("address")));
    assert!(comparison.pairs.iter().all(|p| matches!(p.vmm, Verdict::Same | Verdict::NotComparable)));
    assert!(comparison.to_text(None, 100).contains("0 of 8 sites changed by 5.0 % or more"));
}

#[test]
fn of_two_hosts_only_counts_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = host_time();
    other.host.cpu_brand = "another processor".into();
    let before = write(&dir, "a", &host_time(), 0x8000, [(1000, 500); 4]);
    let now = write(&dir, "b", &other, 0x8000, [(3000, 900); 4]);
    let comparison = compared(&before, &now);
    assert!(!comparison.one_host && comparison.cost_ns.is_none());
    for pair in &comparison.pairs {
        assert_eq!((pair.exits, pair.vmm, pair.cost_now_ns), (Verdict::More, Verdict::NotComparable, None));
    }
    assert!(comparison.to_text(None, 100).contains("not compared: the recordings are of two hosts"));
}

#[test]
fn code_that_moved_is_found_again_by_its_bytes_or_its_symbols() {
    let dir = tempfile::tempdir().unwrap();
    let before = write(&dir, "a", &host_time(), 0x8000, [(1000, 500); 4]);
    let now = write(&dir, "b", &host_time(), 0x20_0000, [(1000, 500); 4]);
    assert!(
        compared(&before, &now)
            .pairs
            .iter()
            .all(|p| p.paired_by == Some("bytes") && p.exits == Verdict::Same)
    );
    let named = |path: &Path, at: u64| {
        let map = dir.path().join(format!("{at:x}.map"));
        std::fs::write(&map, format!("{at:016x} T function\n{:016x} T end\n", at + 0x1000)).unwrap();
        let trace = Trace::open(path).unwrap();
        let symbols = Symbols::load(&trace, &[SymbolFile { path: map, offset: None }]).unwrap();
        Report::with_symbols(&trace, By::Site, symbols, &mut |_| {}).unwrap()
    };
    let comparison = Comparison::of(&named(&now, 0x20_0000), &named(&before, 0x8000), 5.0);
    assert!(comparison.pairs.iter().all(|p| p.paired_by == Some("symbol")), "{comparison:?}");
    let json: serde_json::Value = serde_json::from_str(&comparison.to_json().unwrap()).unwrap();
    assert_eq!(
        (&json["schema"], &json["pairs"][0]["exits"]),
        (&"trapline.comparison".into(), &"same".into())
    );
}

#[test]
fn conditions_measure_what_they_name() {
    let (_dir, path) = recorded();
    let report = report(&path, By::Site);
    let measured = |text: &str| text.parse::<Condition>().unwrap().measure(&report).unwrap();
    let count = |name: &str| measured(&format!("count({name}) > 0"));
    assert!((count("*").value - report.totals().exits as f64).abs() < 0.5);
    for name in ["0x3fd", "com1 line status"] {
        assert!((count(name).value - POLLS as f64).abs() < 0.5, "{name}");
    }
    assert_eq!((count("com1").sites, count("COM*").sites, count("port-*").sites), (2, 2, 5));
    assert_eq!((count("0xf1240").sites, count("nothing").sites), (2, 0));
    assert!(!measured("count(0x3fd) > 3000").holds && measured("count(0x3fd) >= 3000").holds);
    assert!(measured("count(nothing) < 1").holds);
    let cost = measured("cost_ms(*) > 0").value;
    assert!((cost * 1e6 - report.totals().cost_ns as f64).abs() < 1.0);
    assert!((measured("cost_percent(*) > 99").value - 100.0).abs() < 1e-6);
    assert!((measured("vmm_ms(*) > 0").value * 1e6 - report.totals().vmm_ns as f64).abs() < 1.0);
}
