//! The table of call stacks: one row per caller.

use crate::error::AnalyzerError;
use crate::output::Output;
use crate::schema;
use crate::stacks::{Caller, Stacks};
use polars::prelude::{DataFrame, NamedFrom, ParquetWriter, PolarsResult, Series};
use std::path::{Path, PathBuf};

/// Beside the exits: "exits.stacks.parquet" for "exits.parquet".
pub(super) fn path(exits: &Path) -> PathBuf {
    exits.with_extension("stacks.parquet")
}

/// Writes all stacks. An existing file is an error unless `replace` is set.
pub(super) fn write(stacks: &Stacks, path: &Path, replace: bool) -> Result<(), AnalyzerError> {
    let output = Output::create(path, replace)?;
    let error = |source| AnalyzerError::Parquet { path: path.to_owned(), source };
    let mut table = table(stacks).map_err(error)?;
    ParquetWriter::new(output.file())
        .with_key_value_metadata(Some(schema::metadata(schema::STACKS, &[])))
        .finish(&mut table)
        .map_err(error)?;
    output.finish()
}

fn table(stacks: &Stacks) -> PolarsResult<DataFrame> {
    let all: Vec<(u32, u32, &Caller)> = (0..stacks.len() as u32)
        .flat_map(|stack| (0..).zip(stacks.callers(stack)).map(move |(depth, caller)| (stack, depth, caller)))
        .collect();
    let symbol = |c: &Caller| c.symbol.as_ref().map(|s| s.name.clone());
    let line = |c: &Caller| c.symbol.as_ref().and_then(|s| s.line.clone());
    let columns = vec![
        Series::new("stack".into(), all.iter().map(|r| r.0).collect::<Vec<_>>()).into(),
        Series::new("depth".into(), all.iter().map(|r| r.1).collect::<Vec<_>>()).into(),
        Series::new("address".into(), all.iter().map(|r| r.2.address).collect::<Vec<_>>()).into(),
        Series::new("symbol".into(), all.iter().map(|r| symbol(r.2)).collect::<Vec<_>>()).into(),
        Series::new("symbol_offset".into(), all.iter().map(|r| r.2.offset()).collect::<Vec<_>>()).into(),
        Series::new("source_line".into(), all.iter().map(|r| line(r.2)).collect::<Vec<_>>()).into(),
        Series::new("method".into(), all.iter().map(|r| r.2.method.name()).collect::<Vec<_>>()).into(),
    ];
    DataFrame::new(all.len(), columns)
}
