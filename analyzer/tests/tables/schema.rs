//! SCHEMA.md describes the tables as they are.

use crate::firmware::{recorded, report};
use polars::prelude::*;
use std::ops::ControlFlow;
use trapline_analyzer::{By, Symbols, export, tables};
use trapline_formats::Trace;

/// The (column, type) pairs of the table under a heading of SCHEMA.md.
pub fn documented(heading: &str) -> Vec<(String, String)> {
    let text = include_str!("../../SCHEMA.md");
    let (_, after) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = after.split("\n## ").next().unwrap();
    let cell = |line: &str, i: usize| line.split('|').nth(i).unwrap().trim().trim_matches('`').to_owned();
    section.lines().filter(|l| l.starts_with("| `")).map(|l| (cell(l, 1), cell(l, 2))).collect()
}

pub fn actual(frame: &DataFrame) -> Vec<(String, String)> {
    let type_name = |dtype: &DataType| match dtype {
        DataType::Categorical(..) => "Categorical".to_owned(),
        other => format!("{other:?}"),
    };
    frame.columns().iter().map(|c| (c.name().to_string(), type_name(c.dtype()))).collect()
}

#[test]
fn the_report_has_the_documented_columns() {
    let (_dir, path) = recorded();
    for by in By::ALL {
        assert_eq!(actual(report(&path, by).table()), documented("The report table"));
    }
}

#[test]
fn the_export_has_the_documented_columns() {
    let (dir, path) = recorded();
    let out = dir.path().join("exits.parquet");
    export::parquet(&Trace::open(&path).unwrap(), &Symbols::none(), &out, false, &mut |_| {}).unwrap();
    let frame = ParquetReader::new(std::fs::File::open(&out).unwrap()).finish().unwrap();
    assert_eq!(actual(&frame), documented("The exits table"));
}

#[test]
fn the_tables_of_a_trace_have_the_documented_columns() {
    let (_dir, path) = recorded();
    let trace = Trace::open(&path).unwrap();
    let sites = tables::sites(&trace, &Symbols::none()).unwrap();
    assert_eq!(actual(&sites), documented("The sites table"));
    assert_eq!(actual(&tables::events(&trace).unwrap().frame), documented("The events table"));
    assert_eq!(actual(&tables::console(&trace).unwrap().frame), documented("The console table"));
    let mut exits = Vec::new();
    tables::exits(&trace, &Symbols::none(), 1, &mut |frame| {
        exits.push(actual(&frame));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert!(exits.iter().all(|columns| *columns == documented("The exits table")));
}

#[test]
fn the_json_has_the_documented_members() {
    let (_dir, path) = recorded();
    let json: serde_json::Value =
        serde_json::from_str(&report(&path, By::Site).to_json(None).unwrap()).unwrap();
    let text = include_str!("../../SCHEMA.md");
    let (_, section) = text.split_once("\n## The JSON report\n").unwrap();
    for member in json
        .as_object()
        .unwrap()
        .keys()
        .chain(json["trace"].as_object().unwrap().keys())
        .chain(json["totals"].as_object().unwrap().keys())
    {
        assert!(section.contains(&format!("`{member}`")), "`{member}` is not documented");
    }
}
