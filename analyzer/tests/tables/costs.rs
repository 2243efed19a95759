//! Counts, times and shares against a plain computation from the decoded trace.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{COMPUTING, Cells, POLLS, RARE, SLEEPS, recorded, report};
use std::collections::BTreeMap;
use trapline_analyzer::{By, Report};
use trapline_formats::{ExitKind, Header, Timing, Trace};

const TICK_HZ: f64 = 2.5e9;

/// All timings of a trace by site.
fn timings(trace: &Trace) -> BTreeMap<u32, Vec<Timing>> {
    let mut all = trace.timing().flat_map(|chunk| chunk.unwrap().1);
    let mut sites: BTreeMap<u32, Vec<Timing>> = BTreeMap::new();
    for chunk in trace.inputs() {
        for exit in chunk.unwrap().exits() {
            sites.entry(exit.site).or_default().push(all.next().unwrap());
        }
    }
    sites
}

#[test]
fn shares_add_up_to_100_percent_in_every_grouping() {
    let (_dir, path) = recorded();
    for by in By::ALL {
        let report = report(&path, by);
        for share in ["cost_percent", "time_percent"] {
            let sum: f64 = Cells(report.table()).f64s(share).into_iter().flatten().sum();
            assert!((sum - 100.0).abs() < 1e-9, "{by}: {share} {sum}");
        }
    }
}

#[test]
fn rows_add_up_to_the_totals_and_the_totals_to_the_recording() {
    let (_dir, path) = recorded();
    let trace = Trace::open(&path).unwrap();
    let ticks: u64 = trace.timing().flat_map(|chunk| chunk.unwrap().1).map(|t| t.guest + t.vmm).sum();
    for by in By::ALL {
        let report = report(&path, by);
        let (cells, totals) = (Cells(report.table()), report.totals());
        let sum = |column: &str| cells.u64s(column).into_iter().flatten().sum::<u64>();
        assert_eq!(sum("count"), totals.exits);
        assert_eq!(sum("timed"), totals.timed_exits);
        assert_eq!(sum("cost_ns"), totals.cost_ns);
        assert_eq!(sum("path_ns"), totals.path_ns);
        assert_eq!(sum("vmm_ns"), totals.vmm_ns + totals.idle_ns);
        assert_eq!(sum("guest_ns"), totals.guest_ns + totals.path_ns);
        assert_eq!(totals.cost_ns, totals.vmm_ns + totals.path_ns - totals.recorder_ns);
        assert_eq!(totals.total_ns, totals.cost_ns + totals.guest_ns + totals.idle_ns);
        assert!((totals.total_ns as f64 - ticks as f64 * 1e9 / TICK_HZ).abs() < 4.0, "{by}");
        assert_eq!(totals.interrupts, SLEEPS);
    }
}

#[test]
fn quantiles_are_those_of_the_sorted_exits() {
    let (_dir, path) = recorded();
    let sites = timings(&Trace::open(&path).unwrap());
    let report = report(&path, By::Site);
    let cells = Cells(report.table());
    for (row, site) in cells.u32s("site").into_iter().enumerate() {
        let all = &sites[&site.unwrap()];
        for (what, of) in [("vmm", (|t| t.vmm) as fn(&Timing) -> u64), ("guest", |t| t.guest)] {
            let mut sorted: Vec<u64> = all.iter().map(of).collect();
            sorted.sort_unstable();
            let ns = |ticks: f64| Some((ticks * 1e10 / TICK_HZ).round() / 10.0);
            let cell = |name: &str| cells.f64s(&format!("{what}_{name}_ns"))[row];
            assert_eq!(cell("min"), ns(sorted[0] as f64));
            assert_eq!(cell("max"), ns(sorted[sorted.len() - 1] as f64));
            assert_eq!(cell("mean"), ns(sorted.iter().sum::<u64>() as f64 / sorted.len() as f64));
            for (name, percent, least) in [("p50", 50, 20), ("p90", 90, 100), ("p99", 99, 1000)] {
                let rank = (sorted.len() * percent).div_ceil(100);
                let expected = if sorted.len() >= least { ns(sorted[rank - 1] as f64) } else { None };
                assert_eq!(cell(name), expected, "{what} {name} of {}", sorted.len());
            }
        }
    }
}

#[test]
fn idleness_has_a_row_of_its_own_and_no_share() {
    let (_dir, path) = recorded();
    let waited: u64 = timings(&Trace::open(&path).unwrap())[&6].iter().map(|t| t.vmm).sum();
    for by in By::ALL {
        let report = report(&path, by);
        let cells = Cells(report.table());
        let last = report.table().height() - 1;
        let idle: Vec<_> = cells.bools("idle").into_iter().map(Option::unwrap).collect();
        assert_eq!(idle.iter().position(|i| *i), Some(last), "{by}");
        assert_eq!(cells.strs("kind")[last], Some("halt"));
        assert_eq!(cells.u64s("count")[last], Some(SLEEPS));
        assert_eq!((cells.f64s("cost_percent")[last], cells.f64s("time_percent")[last]), (None, None));
        assert_eq!((cells.u64s("cost_ns")[last], cells.u64s("path_ns")[last]), (None, None));
        assert!((report.totals().idle_ns as f64 - waited as f64 * 1e9 / TICK_HZ).abs() <= 1.0);
        assert_eq!(cells.u64s("vmm_ns")[last], Some(report.totals().idle_ns));
    }
}

#[test]
fn what_the_guest_computes_before_an_exit_is_not_its_cost() {
    let (_dir, path) = recorded();
    let report = report(&path, By::Site);
    let cells = Cells(report.table());
    let after_computing = cells.u64s("address").iter().position(|a| *a == Some(0x4321)).unwrap();
    assert!(cells.f64s("time_percent")[after_computing].unwrap() > 50.0);
    assert!(cells.f64s("cost_percent")[after_computing].unwrap() < 0.1);
    assert!(report.totals().guest_ns as f64 > COMPUTING as f64 * 1e9 / TICK_HZ);
    // The dearest is what happens most.
    assert_eq!(cells.u64s("address")[0], Some(0x3fd));
    // Its path is the first percentile of its intervals, times its number.
    let mut intervals: Vec<u64> = timings(&Trace::open(&path).unwrap())
        .iter()
        .filter(|(site, _)| [0, 4].contains(*site))
        .flat_map(|(_, all)| all.iter().map(|t| t.guest))
        .collect();
    intervals.sort_unstable();
    let floor = report.floors().iter().find(|f| f.kind == ExitKind::PortRead).unwrap();
    assert_eq!(floor.ticks, intervals[intervals.len().div_ceil(100) - 1]);
    assert!(floor.own && floor.samples == POLLS + RARE, "repeated reads are left out");
    let path_ns = cells.u64s("path_ns")[0].unwrap() as f64;
    assert!((path_ns - (floor.ticks * POLLS) as f64 * 1e9 / TICK_HZ).abs() <= 1.0);
}

#[test]
fn repeated_instructions_count_their_elements() {
    let (_dir, path) = recorded();
    let report = report(&path, By::Site);
    let cells = Cells(report.table());
    let row = cells.row_of("rep insw");
    assert_eq!(cells.bools("rep")[row], Some(true));
    assert_eq!(cells.u64s("count")[row], Some(RARE));
    assert_eq!(cells.u64s("elements")[row], Some(RARE * 256));
    assert_eq!(cells.u64s("data_bytes")[row], Some(RARE * 512));
    assert_eq!(cells.u64s("constant_value")[row], Some(0x0707));
}

#[test]
fn values_and_faults_are_counted() {
    let (_dir, path) = recorded();
    let report = report(&path, By::Site);
    let cells = Cells(report.table());
    let msr = cells.row_of("rdmsr");
    assert_eq!((cells.u64s("faults")[msr], cells.u32s("distinct_values")[msr]), (Some(RARE), Some(0)));
    let poll = cells.row_of("in al, dx");
    assert_eq!((cells.u32s("distinct_values")[poll], cells.u64s("constant_value")[poll]), (Some(2), None));
    let print = cells.row_of("out dx, al");
    assert_eq!(cells.u64s("constant_value")[print], Some(u64::from(b'x')));
    assert_eq!((cells.u64s("first_exit")[poll], cells.u64s("first_exit")[msr]), (Some(0), Some(3)));
}

#[test]
fn a_trace_without_times_has_counts_and_no_costs() {
    let dir = tempfile::tempdir().unwrap();
    for header in [header(), Header { tick_hz: 0, ..header() }] {
        let mut trace = SyntheticTrace::create(&dir.path().join("a.trap"), &header);
        trace.timings_end = if header.tick_hz == 0 { u64::MAX } else { 0 };
        let site = trace.site(ExitKind::PortRead, 0x60, 1, 0x8000, &[0xec]);
        (0..2000).for_each(|_| trace.exit(site, &[1], 1000, 1000));
        let report = report(&trace.end(halted()), By::Site);
        let cells = Cells(report.table());
        assert_eq!(cells.u64s("count"), [Some(2000)]);
        assert_eq!((cells.u64s("cost_ns"), cells.f64s("cost_percent")), (vec![None], vec![None]));
        assert_eq!((cells.u64s("vmm_ns"), cells.f64s("vmm_p50_ns")), (vec![None], vec![None]));
        assert!(report.floors().is_empty());
        assert_eq!(report.totals().total_ns, 0);
        let text = report.to_text(None, 100);
        assert!(text.contains("TIMES MISSING: no exit has a time.") && text.contains("2,000"), "{text}");
    }
}

#[test]
fn a_trace_without_exits_has_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = SyntheticTrace::create(&dir.path().join("a.trap"), &header()).end(halted());
    for by in By::ALL {
        let report = report(&path, by);
        assert_eq!(report.table().height(), 0);
        assert!(report.to_text(None, 100).starts_with("a.trap: 0 exits\n"));
        assert!(report.to_json(None).unwrap().contains("\"rows\": []"));
    }
}

#[test]
fn timings_need_not_be_cut_as_the_exits_are() {
    let (dir, path) = recorded();
    let expected = report(&path, By::Site);
    for (chunk, timing_chunk) in [(1, 7), (7, 1), (1000, 999), (4096, 5000)] {
        let mut trace = SyntheticTrace::create(&dir.path().join("b.trap"), &header());
        (trace.chunk, trace.timing_chunk) = (chunk, timing_chunk);
        let whole = Trace::open(&path).unwrap();
        for site in whole.sites() {
            trace.site(
                site.kind,
                site.address,
                site.size,
                site.instruction.address.0,
                &site.instruction.bytes,
            );
        }
        let mut timings = whole.timing().flat_map(|chunk| chunk.unwrap().1);
        for inputs in whole.inputs() {
            for exit in inputs.unwrap().exits() {
                let timing = timings.next().unwrap();
                trace.exit_or_fault(exit.site, exit.data, exit.fault, timing.guest, timing.vmm);
            }
        }
        let mut exits = Vec::new();
        let again = Trace::open(&trace.end(halted())).unwrap();
        let again = Report::from_trace(&again, By::Site, &mut |n| exits.push(n)).unwrap();
        assert!(again.table().equals_missing(expected.table()), "{chunk} {timing_chunk}");
        assert_eq!(exits.last(), Some(&expected.totals().exits));
    }
}
