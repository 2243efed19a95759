//! Reports by a price list: what is priced, what is bounded, and that all of it adds up.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{Cells, recorded};
use trapline_analyzer::{AnalyzerError, By, Comparison, Options, PathSource, Report};
use trapline_formats::{Estimate, ExitKind, Host, Price, PriceList, Trace};

fn estimate(median: f64) -> Estimate {
    Estimate { low: median - 10.0, median, high: median + 20.0 }
}

/// The list of the synthetic traces' host.
fn list(prices: &[(ExitKind, f64)], recorder: f64) -> PriceList {
    let mut list = PriceList::new(header().host, "0.1.0", "2026-01-31".into());
    list.rounds = 31;
    let price = |&(kind, ns): &(ExitKind, f64)| Price {
        kind,
        what: String::new(),
        path_ns: estimate(ns),
        guest_ns: 0.0,
    };
    list.prices = prices.iter().map(price).collect();
    list.recorder_ns = Some(estimate(recorder));
    list
}

fn priced(trace: &Trace, by: By, list: &PriceList) -> Report {
    Report::with(trace, Options { by, prices: Some(list), ..Options::default() }, &mut |_| {}).unwrap()
}

#[test]
fn a_report_by_a_price_list_adds_up_in_every_grouping() {
    let (_dir, path) = recorded();
    let trace = Trace::open(&path).unwrap();
    let list =
        list(&[(ExitKind::PortRead, 333.3), (ExitKind::PortWrite, 1e9), (ExitKind::MsrRead, 77.7)], 33.3);
    let floors = Report::from_trace(&trace, By::Site, &mut |_| {}).unwrap();
    for by in By::ALL {
        let report = priced(&trace, by, &list);
        let (cells, totals) = (Cells(report.table()), report.totals());
        let sum = |column: &str| cells.u64s(column).into_iter().flatten().sum::<u64>();
        assert_eq!(sum("cost_ns"), totals.cost_ns, "{by}");
        assert_eq!(sum("path_ns"), totals.path_ns);
        assert_eq!(sum("recorder_ns"), totals.recorder_ns);
        assert_eq!(totals.cost_ns, totals.vmm_ns + totals.path_ns - totals.recorder_ns);
        assert_eq!(totals.total_ns, totals.vmm_ns + totals.path_ns + totals.guest_ns + totals.idle_ns);
        assert_eq!(totals.total_ns, floors.totals().total_ns, "how time is divided does not change it");
        assert!(totals.recorder_ns > 0 && totals.bounded_sites > 0);
        let shares: f64 = cells.f64s("cost_percent").into_iter().flatten().sum();
        assert!((shares - 100.0).abs() < 1e-9, "{by}: {shares}");
        for row in 0..report.table().height() {
            let of = |name: &str| cells.u64s(name)[row];
            if let (Some(low), Some(high), Some(path)) =
                (of("path_low_ns"), of("path_high_ns"), of("path_ns"))
            {
                assert!(low <= path && path <= high, "{by}: {low} {path} {high}");
            }
        }
        assert!(cells.u64s("tracepoint_ns").iter().all(Option::is_none));
    }
}

#[test]
fn each_row_says_where_its_path_comes_from_and_none_costs_more_than_was_measured() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = SyntheticTrace::create(&dir.path().join("a.trap"), &header());
    let read = trace.site(ExitKind::PortRead, 0x60, 1, 0x8000, &[0xec]);
    let write = trace.site(ExitKind::PortWrite, 0x61, 1, 0x8010, &[0xee]);
    let msr = trace.site(ExitKind::MsrRead, 0x10, 8, 0x8020, &[0x0f, 0x32]);
    for _ in 0..100 {
        // At 2.5 GHz: 2000 ns in KVM_RUN, 400 ns in the VMM.
        trace.exit(read, &[1], 5000, 1000);
        trace.exit(write, &[1], 5000, 1000);
        trace.exit(msr, &[1; 8], 5000, 1000);
    }
    let trace = Trace::open(&trace.end(halted())).unwrap();
    let report = priced(
        &trace,
        By::Site,
        &list(&[(ExitKind::PortRead, 1200.0), (ExitKind::PortWrite, 2100.0)], 500.0),
    );
    let cells = Cells(report.table());
    let row = |kind: &str| cells.strs("kind").iter().position(|k| *k == Some(kind)).unwrap();
    let of = |kind: &str| {
        let at = |name: &str| cells.u64s(name)[row(kind)];
        (cells.strs("path_source")[row(kind)], at("path_ns"), at("path_low_ns"), at("path_high_ns"))
    };
    let (list_row, bounded) = (Some("price-list"), 200_000);
    assert_eq!(of("port-read"), (list_row, Some(120_000), Some(119_000), Some(122_000)));
    assert_eq!(of("port-write"), (list_row, Some(bounded), Some(bounded), Some(bounded)));
    assert_eq!(of("msr-read"), (Some("floor"), Some(200_000), None, None));
    // The recorder's share is more than the VMM time: all of it is the recorder's.
    assert_eq!(cells.u64s("recorder_ns"), [Some(40_000); 3]);
    assert_eq!(cells.u64s("cost_ns")[row("port-read")], Some(120_000));
    assert_eq!(report.totals().bounded_sites, 1);
    assert_eq!(report.paths()[ExitKind::MsrRead as usize].source, PathSource::Floor);
    // Paragraphs are broken at blanks.
    let text = report.to_text(None, 100).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("PRICES BOUNDED: at 1 site the price list"), "{text}");
    assert!(
        text.contains(
            "from the price list of 2026-01-31 (measured); floor of this trace (estimated): msr-read"
        ),
        "{text}"
    );
    assert!(
        text.contains("the recorder's own and no cost: 500 ns an exit (95 % confidence: 490 to 520)"),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&report.to_json(None).unwrap()).unwrap();
    assert_eq!(json["prices"]["recorder_ns"]["high"], 520.0);
    assert_eq!(json["paths"].as_array().unwrap().len(), 3);
    assert_eq!(json["paths"][0]["low_ns"], 1190.0);
}

#[test]
fn without_a_price_list_the_report_says_so() {
    let (_dir, path) = recorded();
    let report = Report::from_trace(&Trace::open(&path).unwrap(), By::Site, &mut |_| {}).unwrap();
    let cells = Cells(report.table());
    assert!(report.to_text(None, 100).contains("path   floor of this trace (estimated); on its host"));
    assert!(cells.u64s("recorder_ns").iter().chain(&cells.u64s("path_low_ns")).all(Option::is_none));
    let json: serde_json::Value = serde_json::from_str(&report.to_json(None).unwrap()).unwrap();
    assert!(json["prices"].is_null());
}

#[test]
fn the_prices_of_another_host_or_version_are_refused() {
    let (_dir, path) = recorded();
    let trace = Trace::open(&path).unwrap();
    let report = |list: &PriceList| {
        Report::with(&trace, Options { prices: Some(list), ..Options::default() }, &mut |_| {}).unwrap_err()
    };
    let mut other = list(&[], 100.0);
    other.host = Host { kernel: "6.12.9".into(), ..other.host };
    let error = report(&other);
    assert!(matches!(error, AnalyzerError::OtherHost { .. }));
    let text = "the prices are of another host: kernel 6.12.9 in the list, 6.1.0-18-amd64 here";
    assert_eq!(error.to_string(), text);
    let later = serde_json::to_string(&list(&[], 100.0))
        .unwrap()
        .replace("\"schema_version\":1", "\"schema_version\":2");
    let later: PriceList = serde_json::from_str(&later).unwrap();
    assert_eq!(report(&later).to_string(), "cannot take prices: its version is 2, and 1 is read");
}

#[test]
fn two_recordings_by_one_list_are_compared_by_it() {
    let (_dir, path) = recorded();
    let trace = Trace::open(&path).unwrap();
    let report = priced(&trace, By::Site, &list(&[(ExitKind::PortRead, 333.3)], 33.3));
    let comparison = Comparison::of(&report, &report, 5.0);
    assert_eq!(comparison.cost_ns, Some([report.totals().cost_ns; 2]));
}
