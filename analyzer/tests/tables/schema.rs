//! SCHEMA.md describes the tables as they are.

use crate::firmware::{recorded, report};
use polars::prelude::*;
use trapline_analyzer::{By, Symbols, export};
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
