//! More sites than anybody reads: the cheapest share a row, nothing is lost, and memory is bounded.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{Cells, recorded};
use std::path::{Path, PathBuf};
use std::process::Command;
use trapline_analyzer::{By, Comparison, Condition, Options, Report, Symbols, Unmeasured, export};
use trapline_formats::{ExitKind, Trace};

fn limited(path: &Path, by: By, most_rows: usize) -> Report {
    let options = Options { by, most_rows, histograms: true, ..Options::default() };
    Report::with(&Trace::open(path).unwrap(), options, &mut |_| {}).unwrap()
}

fn sum(report: &Report, column: &str) -> u64 {
    Cells(report.table()).u64s(column).into_iter().flatten().sum()
}

#[test]
fn rows_beyond_the_limit_share_one_and_columns_add_up_as_before() {
    let (_dir, path) = recorded();
    for by in [By::Site, By::Address] {
        let whole = limited(&path, by, usize::MAX);
        for most in [0, 1, 3] {
            let report = limited(&path, by, most);
            let cells = Cells(report.table());
            for column in
                ["count", "elements", "data_bytes", "timed", "cost_ns", "path_ns", "vmm_ns", "guest_ns"]
            {
                assert_eq!(sum(&report, column), sum(&whole, column), "{by} {most} {column}");
            }
            assert_eq!(report.totals(), whole.totals());
            let costs = cells.bools("idle").iter().filter(|idle| **idle == Some(false)).count();
            assert_eq!(costs, most + 1, "{by} {most}");
            // The first rows are the same; the last of the costs is of all other sites.
            let first = |report: &Report| report.table().slice(0, most);
            assert!(first(&report).equals_missing(&first(&whole)), "{by} {most}");
            let all = Cells(whole.table());
            let sites = |sites: &[Option<u32>]| sites.iter().flatten().sum::<u32>();
            assert_eq!(sites(&cells.u32s("sites")), sites(&all.u32s("sites")));
            assert_eq!((cells.u32s("site")[most], cells.strs("disassembly")[most]), (None, None));
            let json: serde_json::Value = serde_json::from_str(&report.to_json(None).unwrap()).unwrap();
            let idle = usize::from(most == 0);
            let shared = whole.table().height() - most - 1 + idle;
            assert_eq!(json["groups_that_share_a_row"], shared, "{by} {most}");
            let times = report.histograms(None).unwrap();
            let timed: u64 = Cells(&times).u64s("count").into_iter().flatten().sum();
            assert_eq!(timed, 2 * report.totals().timed_exits, "{by} {most}");
        }
    }
}

#[test]
fn text_says_how_many_share_a_row_and_counts_them_among_the_others() {
    let (_dir, path) = recorded();
    let text = limited(&path, By::Site, 3).to_text(Some(2), 100);
    assert!(text.contains("MANY ROWS: 4 sites share a row, the cheapest ones"), "{text}");
    assert!(text.contains("the dearest 2 of 7") && text.contains("(5 other sites)"), "{text}");
    let all = limited(&path, By::Site, 3).to_text(None, 100);
    assert!(all.contains("(several)") && all.contains("4 sites"), "{all}");
    assert!(!limited(&path, By::Site, 7).to_text(None, 100).contains("MANY ROWS"));
}

#[test]
fn conditions_on_names_are_refused_and_on_everything_are_not() {
    let (_dir, path) = recorded();
    let report = limited(&path, By::Site, 3);
    let measure = |text: &str| text.parse::<Condition>().unwrap().measure(&report);
    let all = measure("count(*) > 0").unwrap();
    assert!((all.value - report.totals().exits as f64).abs() < 0.5);
    assert_eq!(all.sites, 8);
    assert_eq!(measure("count(COM1) > 0"), Err(Unmeasured::SitesShareARow));
    assert_eq!(
        "count(*) > 0".parse::<Condition>().unwrap().measure(&limited(&path, By::Device, 9)),
        Err(Unmeasured::NotBySite)
    );
}

#[test]
fn comparisons_and_profiles_leave_nothing_out_that_has_a_row() {
    let (dir, path) = recorded();
    let comparison = Comparison::of(&limited(&path, By::Site, 3), &limited(&path, By::Site, 3), 5.0);
    // Three sites of costs, and the one of HLT.
    assert_eq!(comparison.pairs.len(), 4);
    assert!(comparison.pairs.iter().all(|p| p.paired_by == Some("address")), "{comparison:?}");
    let out = dir.path().join("folded");
    let trace = Trace::open(&path).unwrap();
    export::profile(&trace, Symbols::none(), None, export::Profile::Folded, &out, false, &mut |_| {})
        .unwrap();
    assert!(!std::fs::read_to_string(&out).unwrap().contains("(other sites)"));
}

/// Nothing but sites of one exit each.
fn synthesize(path: &Path, sites: u64) -> PathBuf {
    let mut trace = SyntheticTrace::create(path, &header());
    trace.chunk = 65_536;
    for i in 0..sites {
        let site = trace.site(ExitKind::PortRead, i & 0xffff, 1, 0x10_0000 + i, &[0xec]);
        trace.exit(site, &[1], 3000 + i % 100, 800);
    }
    trace.end(halted())
}

/// Peak resident bytes of a process that makes a report of this trace with so few rows.
fn peak(path: &Path) -> u64 {
    let program = std::env::current_exe().unwrap();
    let test = ["--ignored", "--exact", "many_sites::report_of_the_trace_that_the_environment_names"];
    let output =
        Command::new(program).args(test).arg("--nocapture").env("TRAPLINE_TRACE", path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let peak = text.lines().find_map(|l| l.split_once("VmHWM:")).unwrap_or_else(|| panic!("{text}")).1;
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
#[ignore = "run by a_site_takes_a_few_hundred_bytes in a process of its own"]
fn report_of_the_trace_that_the_environment_names() {
    let path = PathBuf::from(std::env::var_os("TRAPLINE_TRACE").unwrap());
    let report = limited(&path, By::Site, 1000);
    assert!(report.to_text(Some(20), 100).contains("MANY ROWS"));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|l| l.starts_with("VmHWM:")).unwrap());
}

#[test]
fn a_site_takes_a_few_hundred_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let [few, many] = [20_000, 220_000];
    let few_bytes = peak(&synthesize(&dir.path().join("few.trap"), few));
    let many_bytes = peak(&synthesize(&dir.path().join("many.trap"), many));
    let each = (many_bytes - few_bytes) / (many - few);
    assert!((100..400).contains(&each), "{each} bytes a site");
}
