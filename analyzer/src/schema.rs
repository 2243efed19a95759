//! The tables that this crate makes: names, types and version of what SCHEMA.md describes.

use polars::prelude::KeyValueMetadata;

/// Version of every table and of the JSON report: what may change within one, SCHEMA.md says.
pub const SCHEMA_VERSION: u32 = 1;
/// Name of the aggregated table.
pub(crate) const REPORT: &str = "trapline.report";
/// Name of the comparison of two reports.
pub(crate) const COMPARISON: &str = "trapline.comparison";
/// Name of the exit-by-exit comparison of two traces.
pub(crate) const DIFF: &str = "trapline.diff";
/// Name of the table of single exits.
pub(crate) const EXITS: &str = "trapline.exits";
/// Name of the table of histograms.
pub(crate) const HISTOGRAMS: &str = "trapline.histograms";
/// Name of the table of call stacks.
pub(crate) const STACKS: &str = "trapline.stacks";

/// What a Parquet file says about itself, besides its columns.
pub(crate) fn metadata(schema: &str, more: &[(&str, &str)]) -> KeyValueMetadata {
    let own =
        [("trapline.schema", schema.to_owned()), ("trapline.schema_version", SCHEMA_VERSION.to_string())];
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
    let more = more.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    KeyValueMetadata::from_static(own.chain(more).collect())
}
