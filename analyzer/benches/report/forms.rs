//! Every form that a report or an export can have, of a trace with more sites than anybody reads.

use std::path::Path;
use trapline_analyzer::export::{self, Profile};
use trapline_analyzer::{Options, Report, Symbols};
use trapline_formats::Trace;

/// The forms, as `trapline report --format` and `trapline export --to` name them.
pub const FORMS: [&str; 14] = [
    "text",
    "json",
    "csv",
    "report-parquet",
    "html",
    "hdr",
    "hgrm",
    "histograms-csv",
    "parquet",
    "firefox",
    "perfetto",
    "pprof",
    "folded",
    "flamegraph",
];

/// Writes a trace in one of them.
pub fn write(form: &str, trace: &Trace, out: &Path) {
    let profile =
        |kind| drop(export::profile(trace, Symbols::none(), None, kind, out, true, &mut |_| {}).unwrap());
    match form {
        "firefox" => profile(Profile::Firefox),
        "perfetto" => profile(Profile::Perfetto),
        "pprof" => profile(Profile::Pprof),
        "folded" => profile(Profile::Folded),
        "flamegraph" => profile(Profile::FlameGraph),
        "parquet" => drop(export::parquet(trace, &Symbols::none(), out, true, &mut |_| {}).unwrap()),
        _ => report(form, trace, out),
    }
}

fn report(form: &str, trace: &Trace, out: &Path) {
    let histograms = form.starts_with('h') && form != "html";
    let options = Options { histograms, ..Options::default() };
    let report = Report::with(trace, options, &mut |_| {}).unwrap();
    let text = match form {
        "json" => report.to_json(None).unwrap(),
        "csv" => report.to_csv(None).unwrap(),
        "html" => report.to_html(trace, None).unwrap(),
        "hdr" => report.to_hdr_log(None).unwrap(),
        "hgrm" => report.to_hgrm(),
        "histograms-csv" => report.histograms_to_csv(None).unwrap(),
        "report-parquet" => return report.to_parquet(out, None, true).unwrap(),
        _ => report.to_text(None, 100),
    };
    std::fs::write(out, text).unwrap();
}
