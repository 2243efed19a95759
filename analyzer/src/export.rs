//! One row per exit, for data frames; and profiles, for the viewers that people already have.

mod difference;
mod firefox;
mod flame_graph;
mod folded;
mod perfetto;
mod pprof;
mod profile;
mod proto;
mod stack_rows;

pub use difference::{Difference, Recording, difference};
pub use profile::{Profile, profile};

use crate::error::AnalyzerError;
use crate::output::Output;
use crate::schema;
use crate::symbols::Symbols;
use crate::tables;
use crate::text::truncated;
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{DataFrame, ParquetWriter, PolarsError};
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use trapline_formats::{Damage, Trace};

/// Rows held before they are written: bounds the memory.
const ROW_GROUP: usize = 1 << 18;

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Rows, one per exit.
    pub exits: u64,
    /// What is wrong with the tail of the trace: the table ends before it.
    pub damage: Option<Damage>,
}

impl Exported {
    /// What a reader must know before believing it; safe for a terminal.
    pub fn warnings(&self) -> Vec<String> {
        self.damage.iter().map(|damage| truncated(self.exits, damage)).collect()
    }
}

/// Writes all exits of a trace to a Parquet file, a row group at a time; tells `progress` the number of exits written.
/// An existing file is an error unless `replace` is set. Call stacks, where they are known, go to a second file beside it. SCHEMA.md
/// describes the columns.
pub fn parquet(
    trace: &Trace,
    symbols: &Symbols,
    path: &Path,
    replace: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported, AnalyzerError> {
    let output = Output::create(path, replace)?;
    let mut writer = None;
    let mut exits = 0;
    let damage = tables::exits(trace, symbols, ROW_GROUP, &mut |rows| {
        write(&mut writer, &output, &rows)?;
        exits += rows.height() as u64;
        progress(exits);
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(writer) = writer {
        writer.finish().map_err(|source| parquet_error(&output, source))?;
    }
    output.finish()?;
    if let Some(stacks) = symbols.stacks() {
        stack_rows::write(stacks, &stack_rows::path(path), replace)?;
    }
    Ok(Exported { exits, damage })
}

type Writer<'a> = BatchedWriter<&'a File>;

fn parquet_error(output: &Output, source: PolarsError) -> AnalyzerError {
    AnalyzerError::Parquet { path: output.path().to_owned(), source }
}

/// Writes a row group; the first one tells the schema.
fn write<'a>(
    writer: &mut Option<Writer<'a>>,
    output: &'a Output,
    rows: &DataFrame,
) -> Result<(), AnalyzerError> {
    if writer.is_none() {
        let new = ParquetWriter::new(output.file())
            .with_key_value_metadata(Some(schema::metadata(schema::EXITS, &[])))
            .batched(rows.schema());
        *writer = Some(new.map_err(|source| parquet_error(output, source))?);
    }
    match writer {
        Some(writer) => writer.write_batch(rows).map_err(|source| parquet_error(output, source)),
        None => Ok(()),
    }
}
