//! Histograms: every timed exit is in them, and quantiles are theirs.

use crate::firmware::{Cells, recorded};
use crate::schema::{actual, documented};
use polars::prelude::*;
use serde_json::Value;
use std::path::Path;
use trapline_analyzer::{By, Options, Report};
use trapline_formats::Trace;

fn with_histograms(path: &Path, by: By) -> Report {
    let options = Options { by, histograms: true, ..Options::default() };
    Report::with(&Trace::open(path).unwrap(), options, &mut |_| {}).unwrap()
}

/// The steps of a row: from, to, count.
fn steps(frame: &DataFrame, row: usize, time: &str) -> Vec<(f64, f64, u64)> {
    let (cells, times) = (Cells(frame), frame.column("time").unwrap().str().unwrap());
    let rows = frame.column("row").unwrap().u32().unwrap();
    let is_it = |i: &usize| rows.get(*i) == Some(row as u32) && times.get(*i) == Some(time);
    let number = |name: &str, i: usize| frame.column(name).unwrap().f64().unwrap().get(i).unwrap();
    let counts = cells.u64s("count");
    (0..frame.height())
        .filter(is_it)
        .map(|i| (number("from_ns", i), number("to_ns", i), counts[i].unwrap()))
        .collect()
}

#[test]
fn every_timed_exit_is_counted_and_quantiles_are_steps() {
    let (_dir, path) = recorded();
    for by in By::ALL {
        let report = with_histograms(&path, by);
        let frame = report.histograms(None).unwrap();
        assert_eq!(actual(&frame), documented("The histograms table"));
        let (timed, count) = (Cells(report.table()).u64s("timed"), Cells(report.table()).u64s("count"));
        assert_eq!(timed, count);
        for (row, timed) in timed.iter().enumerate() {
            for time in ["vmm", "guest"] {
                let steps = steps(&frame, row, time);
                assert_eq!(steps.iter().map(|s| s.2).sum::<u64>(), timed.unwrap(), "{by} {row} {time}");
                assert!(steps.iter().all(|s| s.0 < s.1) && steps.windows(2).all(|w| w[0].1 <= w[1].0));
                // The median is where the step with the middle exit begins.
                let column = report.table().column(&format!("{time}_p50_ns")).unwrap();
                let Some(median) = column.f64().unwrap().get(row) else { continue };
                let mut below = 0;
                let middle = steps.iter().find(|s| {
                    below += s.2;
                    below * 2 >= timed.unwrap()
                });
                assert!((middle.unwrap().0 - median).abs() < 0.05, "{by} {row} {time}");
            }
        }
    }
}

#[test]
fn json_csv_and_the_table_hold_the_same_steps_of_the_same_rows() {
    let (_dir, path) = recorded();
    let report = with_histograms(&path, By::Site);
    for top in [None, Some(2)] {
        let frame = report.histograms(top).unwrap();
        let json: Value = serde_json::from_str(&report.to_json(top).unwrap()).unwrap();
        let rows = report.rows(top).unwrap().height();
        assert_eq!(json["histograms"].as_array().unwrap().len(), rows);
        for row in 0..rows {
            for time in ["vmm", "guest"] {
                let told: Vec<_> = json["histograms"][row][time]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|s| (s[0].as_f64().unwrap(), s[1].as_f64().unwrap(), s[2].as_u64().unwrap()))
                    .collect();
                assert_eq!(told, steps(&frame, row, time), "{top:?} {row} {time}");
            }
        }
        assert_eq!(report.histograms_to_csv(top).unwrap().lines().count(), 1 + frame.height());
    }
    let without: Value =
        serde_json::from_str(&crate::firmware::report(&path, By::Site).to_json(None).unwrap()).unwrap();
    assert!(without["histograms"].is_null());
}

#[test]
fn parquet_says_what_it_holds() {
    let (dir, path) = recorded();
    let out = dir.path().join("histograms.parquet");
    with_histograms(&path, By::Device).histograms_to_parquet(&out, None, false).unwrap();
    let mut reader = ParquetReader::new(std::fs::File::open(&out).unwrap());
    let metadata = reader.get_metadata().unwrap().key_value_metadata().clone().unwrap();
    let value = |key: &str| metadata.iter().find(|m| m.key == key).and_then(|m| m.value.clone());
    assert_eq!(value("trapline.schema").as_deref(), Some("trapline.histograms"));
    assert_eq!(value("trapline.by").as_deref(), Some("device"));
    assert_eq!(actual(&reader.finish().unwrap()), documented("The histograms table"));
}

#[test]
fn the_log_has_two_histograms_for_each_row_and_the_distribution_ends_with_all_exits() {
    let (_dir, path) = recorded();
    for (by, tag) in [(By::Site, "Tag=site-0-vmm,"), (By::Device, "Tag=row-0-guest,")] {
        let report = with_histograms(&path, by);
        let log = report.to_hdr_log(None).unwrap();
        let lines: Vec<_> = log.lines().filter(|l| l.starts_with("Tag=")).collect();
        assert_eq!(lines.len(), 2 * report.table().height());
        assert!(lines.iter().any(|l| l.starts_with(tag)), "{log}");
        // Cookie and length of the compressed form, in Base64.
        assert!(lines.iter().all(|l| l.contains(",HISTFA")), "{log}");
        assert!(log.starts_with("#[Histogram log format version 1.3]\n"));
        let totals = report.totals();
        let text = report.to_hgrm();
        let last = text.lines().rfind(|l| !l.starts_with('#')).unwrap();
        let expected = (totals.exits - totals.idle_exits).to_string();
        assert_eq!(last.split_whitespace().collect::<Vec<_>>()[1..], ["1.000000000000", expected.as_str()]);
    }
}

#[test]
fn a_trace_without_times_has_empty_histograms() {
    let dir = tempfile::tempdir().unwrap();
    let path = crate::odd::one_site(dir.path(), 50, false);
    let report = with_histograms(&path, By::Site);
    assert_eq!(report.histograms(None).unwrap().height(), 0);
    assert!(!report.to_hdr_log(None).unwrap().contains("Tag="));
    assert!(report.to_hgrm().contains("Total count    =            0"));
}
