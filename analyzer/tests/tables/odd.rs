//! Traces and symbol files that are whole and yet unusual: one exit, no times, names that are no text.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{Cells, report};
use crate::html::{browser, driven_by};
use std::path::{Path, PathBuf};
use trapline_analyzer::{AnalyzerError, By, Report, SymbolFile, Symbols};
use trapline_formats::{ExitKind, Trace};

/// So many exits of one site at 0x8010, with times or without.
pub fn one_site(dir: &Path, exits: u64, is_timed: bool) -> PathBuf {
    let mut trace = SyntheticTrace::create(&dir.join("odd.trap"), &header());
    trace.timings_end = if is_timed { u64::MAX } else { 0 };
    let site = trace.site(ExitKind::PortRead, 0x60, 1, 0x8010, &[0xec]);
    (0..exits).for_each(|_| trace.exit(site, &[1], 3000, 1000));
    trace.end(halted())
}

/// A page whose script runs to its end has this many rows.
const ONE_ROW: &str = r##"<script>
window.addEventListener("error", e => { document.title = "ERROR " + e.message; });
document.title = `${document.querySelectorAll("#sites tbody tr").length} row, ${document.querySelector("main").textContent.includes("NaN")}`;
</script>"##;

#[test]
fn a_trace_of_one_exit_has_a_report_of_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let path = one_site(dir.path(), 1, true);
    for by in By::ALL {
        let report = report(&path, by);
        let cells = Cells(report.table());
        assert_eq!(
            (cells.u64s("count"), cells.f64s("cost_percent")),
            (vec![Some(1)], vec![Some(100.0)]),
            "{by}"
        );
        // One exit has a mean and no quantile.
        assert_eq!((cells.f64s("vmm_mean_ns"), cells.f64s("vmm_p50_ns")), (vec![Some(400.0)], vec![None]));
        // Paragraphs are broken at blanks.
        let text = report.to_text(None, 100).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains("1 exit in 1.600 µs") && text.contains("–: too few exits for this number"),
            "{text}"
        );
        assert!(!text.contains("NaN") && !report.to_json(None).unwrap().contains("NaN"));
    }
}

#[test]
fn pages_of_one_exit_and_of_no_times_run_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    for (exits, is_timed) in [(1, true), (1, false), (2000, false)] {
        let path = one_site(dir.path(), exits, is_timed);
        let page = report(&path, By::Site).to_html(&Trace::open(&path).unwrap(), None).unwrap();
        let Some(browser) = browser() else {
            eprintln!("SKIPPED: no browser runs the page: `apt-get install chromium`");
            return;
        };
        let title = driven_by(ONE_ROW, &browser, dir.path(), &page, "", 1280);
        assert_eq!(title, "1 row, false", "{exits} {is_timed}");
    }
}

#[test]
fn a_stripped_program_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (source, path) = (dir.path().join("a.c"), dir.path().join("stripped"));
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let mut cc = std::process::Command::new("cc");
    let status = cc
        .args(["-s", "-static", "-nostartfiles", "-Wl,--entry=main", "-o"])
        .arg(&path)
        .arg(&source)
        .status();
    assert!(status.expect("a C compiler, which the build needs too").success());
    let trace = Trace::open(&one_site(dir.path(), 1, true)).unwrap();
    let error = Symbols::load(&trace, &[SymbolFile { path, offset: None }]).unwrap_err();
    assert!(matches!(error, AnalyzerError::Symbols { .. }));
    assert!(error.to_string().ends_with("it has no symbols, and no kallsyms tables either"), "{error}");
}

#[test]
fn names_that_are_no_text_become_printable() {
    let dir = tempfile::tempdir().unwrap();
    let map = dir.path().join("System.map");
    std::fs::write(&map, b"0000000000008000 T bad\xff\xfe\x1b[31mname\n0000000000009000 T end\n").unwrap();
    let path = one_site(dir.path(), 20, true);
    let trace = Trace::open(&path).unwrap();
    let symbols = Symbols::load(&trace, &[SymbolFile { path: map, offset: None }]).unwrap();
    let report = Report::with_symbols(&trace, By::Symbol, symbols, &mut |_| {}).unwrap();
    let names =
        Cells(report.table()).strs("symbol").into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    assert!(names.len() == 1 && names[0].starts_with("bad") && names[0].ends_with("name"), "{names:?}");
    for text in [&names[0], &report.to_text(None, 100), &report.to_json(None).unwrap()] {
        assert!(
            !text.contains('\x1b') && text.contains("\\u{1b}[31m") || text.contains("\\\\u{1b}[31m"),
            "{text}"
        );
    }
}
