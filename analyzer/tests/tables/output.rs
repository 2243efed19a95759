//! JSON, CSV and Parquet of a report.

use crate::firmware::{recorded, report};
use polars::prelude::*;
use trapline_analyzer::{AnalyzerError, By, SCHEMA_VERSION};

#[test]
fn json_says_what_it_is() {
    let (_dir, path) = recorded();
    let report = report(&path, By::Site);
    let json: serde_json::Value = serde_json::from_str(&report.to_json(None).unwrap()).unwrap();
    assert_eq!(json["schema"], "trapline.report");
    assert_eq!(json["schema_version"], SCHEMA_VERSION);
    assert_eq!((&json["whole"], &json["by"]), (&true.into(), &"site".into()));
    assert_eq!(json["end"]["reason"], "halted");
    assert_eq!(json["totals"]["exits"], report.totals().exits);
    assert_eq!(json["rows"].as_array().unwrap().len(), 8);
    assert_eq!(json["rows"][2]["instruction_address"], "0xffffffff81042a10", "no JSON reader rounds it");
    assert_eq!(json["rows"][0]["constant_value"], serde_json::Value::Null);
    assert_eq!(json["unclaimed"][1]["device"], "IDE primary");
    let shares: f64 =
        json["rows"].as_array().unwrap().iter().filter_map(|r| r["cost_percent"].as_f64()).sum();
    assert!((shares - 100.0).abs() < 1e-9);
    let top: serde_json::Value = serde_json::from_str(&report.to_json(Some(1)).unwrap()).unwrap();
    assert_eq!((top["rows"].as_array().unwrap().len(), &top["rows_in_all"]), (2, &8.into()));
}

#[test]
fn json_reads_well() {
    let (_dir, path) = recorded();
    let json = report(&path, By::Reason).to_json(Some(1)).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&json).unwrap();
    json["trace"]["path"] = "run.trap".into();
    json["trace"]["bytes"] = 0.into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn csv_has_a_line_per_row() {
    let (_dir, path) = recorded();
    let csv = report(&path, By::Site).to_csv(Some(1)).unwrap();
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with(
        "site,sites,idle,kind,instruction_address,symbol,symbol_offset,source_line,bytes,disassembly,"
    ));
    assert!(lines[1].starts_with(
        "0,1,false,port-read,0xf1234,,,,ec,\"in al, dx\",long64,0,false,port,0x3fd,1,COM1,line status,"
    ));
}

#[test]
fn parquet_reads_back_as_the_same_table() {
    let (dir, path) = recorded();
    for by in By::ALL {
        let report = report(&path, by);
        let out = dir.path().join(format!("{by}.parquet"));
        report.to_parquet(&out, None, false).unwrap();
        assert!(matches!(report.to_parquet(&out, None, false), Err(AnalyzerError::Exists { .. })));
        report.to_parquet(&out, None, true).unwrap();
        let mut reader = ParquetReader::new(std::fs::File::open(&out).unwrap());
        let metadata = reader.get_metadata().unwrap().key_value_metadata.clone().unwrap();
        let said = |key: &str| metadata.iter().find(|kv| kv.key == key).and_then(|kv| kv.value.clone());
        assert_eq!(said("trapline.schema").as_deref(), Some("trapline.report"));
        assert_eq!(said("trapline.schema_version"), Some(SCHEMA_VERSION.to_string()));
        assert_eq!(said("trapline.by").as_deref(), Some(by.name()));
        let back = reader.finish().unwrap();
        assert_eq!(back.schema(), report.table().schema());
        assert!(back.equals_missing(report.table()));
    }
}
