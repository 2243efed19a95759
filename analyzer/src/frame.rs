//! A report's table in the formats that polars writes.

use crate::cells::Cells;
use crate::error::AnalyzerError;
use crate::output::Output;
use crate::report::Report;
use crate::schema;
use polars::prelude::*;
use std::ops::Range;
use std::path::Path;

/// Addresses and values of 64 bits, which spreadsheets and JSON readers would round: hexadecimal in text formats.
const HEXADECIMAL: [&str; 4] = ["instruction_address", "symbol_offset", "address", "constant_value"];

impl Report {
    /// The places in the table of at most `top` rows of costs, and of all rows of idleness.
    pub(crate) fn places(&self, top: Option<usize>) -> [Range<usize>; 2] {
        let cells = Cells(&self.table);
        let height = self.table.height();
        let costs = (0..height).filter(|&r| cells.bool("idle", r) == Some(false)).count();
        [0..top.unwrap_or(costs).min(costs), costs..height]
    }

    /// The table with at most `top` rows of costs. Rows of idleness are always there.
    pub fn rows(&self, top: Option<usize>) -> Result<DataFrame, AnalyzerError> {
        let [costs, idle] = self.places(top);
        if costs.end == idle.start {
            return Ok(self.table.clone());
        }
        let idle = self.table.slice(idle.start as i64, idle.len());
        self.table.slice(0, costs.len()).vstack(&idle).map_err(AnalyzerError::table("cut the table"))
    }

    /// The table as CSV, with a line of names first; nulls are empty, addresses hexadecimal.
    pub fn to_csv(&self, top: Option<usize>) -> Result<String, AnalyzerError> {
        csv(self.rows_as_text(top)?)
    }

    /// Writes the table as Parquet. An existing file is an error unless `replace` is set.
    pub fn to_parquet(&self, path: &Path, top: Option<usize>, replace: bool) -> Result<(), AnalyzerError> {
        let metadata = schema::metadata(schema::REPORT, &[("trapline.by", self.by.name())]);
        parquet(self.rows(top)?, metadata, path, replace)
    }

    /// The rows with what text formats would round as hexadecimal text.
    pub(crate) fn rows_as_text(&self, top: Option<usize>) -> Result<DataFrame, AnalyzerError> {
        let rows = self.rows(top)?;
        let convert = |column: &Column| -> PolarsResult<Column> {
            if !HEXADECIMAL.contains(&column.name().as_str()) {
                return Ok(column.clone());
            }
            let texts: Vec<_> = column.u64()?.iter().map(|v| v.map(|v| format!("{v:#x}"))).collect();
            Ok(Series::new(column.name().clone(), texts).into())
        };
        let columns: PolarsResult<Vec<_>> = rows.columns().iter().map(convert).collect();
        columns
            .and_then(|columns| DataFrame::new(rows.height(), columns))
            .map_err(AnalyzerError::table("convert the table to text"))
    }
}

/// A table as CSV.
pub(crate) fn csv(mut rows: DataFrame) -> Result<String, AnalyzerError> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).finish(&mut rows).map_err(AnalyzerError::table("write the table as CSV"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a table as Parquet.
pub(crate) fn parquet(
    mut rows: DataFrame,
    metadata: KeyValueMetadata,
    path: &Path,
    replace: bool,
) -> Result<(), AnalyzerError> {
    let output = Output::create(path, replace)?;
    let error = |source| AnalyzerError::Parquet { path: path.to_owned(), source };
    ParquetWriter::new(output.file())
        .with_key_value_metadata(Some(metadata))
        .finish(&mut rows)
        .map_err(error)?;
    output.finish()
}
