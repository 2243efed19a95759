//! One row per exit, for data frames; and profiles, for the viewers that people already have.

mod firefox;
mod folded;
mod perfetto;
mod pprof;
mod profile;
mod proto;
mod rows;
mod stack_rows;

pub use profile::{Profile, profile};

use crate::disassembly::Disassembler;
use crate::error::AnalyzerError;
use crate::names::{Names, space_name};
use crate::output::Output;
use crate::schema;
use crate::stream::batches;
use crate::symbols::Symbols;
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{
    CategoricalPhysical, Categories, Column, DataFrame, DataType, NamedFrom, ParquetWriter, PolarsError,
    PolarsResult, Series,
};
use rows::Rows;
use std::fs::File;
use std::path::Path;
use trapline_formats::{Damage, Site, Trace};

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
    let sites = site_columns(trace, symbols).map_err(AnalyzerError::table("describe the sites"))?;
    let mut rows = Rows::new(trace, symbols.stacks().is_some());
    let mut writer = None;
    let mut exits = 0;
    let cut = batches(trace, |batch| {
        rows.events_before(batch);
        if rows.len() >= ROW_GROUP {
            write(&mut writer, &output, &rows.take(&sites))?;
        }
        rows.add(batch, trace.sites(), symbols.stacks());
        exits += batch.inputs.len() as u64;
        progress(exits);
        Ok(())
    })?;
    write(&mut writer, &output, &rows.take(&sites))?;
    if let Some(writer) = writer {
        writer.finish().map_err(|source| parquet_error(&output, source))?;
    }
    output.finish()?;
    if let Some(stacks) = symbols.stacks() {
        stack_rows::write(stacks, &stack_rows::path(path), replace)?;
    }
    Ok(Exported { exits, damage: cut.inputs.or_else(|| trace.damage().cloned()) })
}

type Writer<'a> = BatchedWriter<&'a File>;

fn parquet_error(output: &Output, source: PolarsError) -> AnalyzerError {
    AnalyzerError::Parquet { path: output.path().to_owned(), source }
}

/// Writes a row group; the first one tells the schema.
fn write<'a>(
    writer: &mut Option<Writer<'a>>,
    output: &'a Output,
    rows: &PolarsResult<DataFrame>,
) -> Result<(), AnalyzerError> {
    let rows = rows.as_ref().map_err(|source| parquet_error(output, source.clone()))?;
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

/// What the site of an exit tells about it, one row per site: batches pick their rows by site number.
fn site_columns(trace: &Trace, symbols: &Symbols) -> PolarsResult<DataFrame> {
    let names = Names::new(&trace.header().names);
    let sites = trace.sites();
    let name = |s: &Site| s.kind.space().and_then(|space| names.of(space, s.address));
    let device: Vec<_> = sites.iter().map(|s| name(s).map(|n| n.device.into_owned())).collect();
    let register: Vec<_> =
        sites.iter().map(|s| name(s).map(|n| n.register.into_owned()).filter(|r| !r.is_empty())).collect();
    let disassembler = Disassembler::new(&trace.header().rewrites);
    let text: Vec<_> = sites.iter().map(|s| disassembler.of(s).text).collect();
    let all = || (0..sites.len() as u32).zip(sites);
    let function: Vec<_> = all().map(|(id, _)| symbols.of(id).map(|s| s.name.as_str())).collect();
    let offset = |(id, site): (u32, &Site)| Some(site.instruction.address.0 - symbols.of(id)?.start);
    let kind: Vec<_> = sites.iter().map(|s| Some(s.kind.name())).collect();
    let space: Vec<_> = sites.iter().map(|s| s.kind.space().map(space_name)).collect();
    let mode: Vec<_> = sites.iter().map(|s| Some(s.instruction.mode.name())).collect();
    let column = |series: Series| Column::from(series);
    let columns = vec![
        categories("kind", &kind)?,
        categories("space", &space)?,
        column(Series::new(
            "address".into(),
            sites.iter().map(|s| s.kind.space().map(|_| s.address)).collect::<Vec<_>>(),
        )),
        column(Series::new(
            "size".into(),
            sites.iter().map(|s| s.kind.has_data().then_some(s.size)).collect::<Vec<_>>(),
        )),
        column(Series::new(
            "instruction_address".into(),
            sites.iter().map(|s| s.instruction.address.0).collect::<Vec<_>>(),
        )),
        categories("symbol", &function)?,
        column(Series::new("symbol_offset".into(), all().map(offset).collect::<Vec<_>>())),
        categories("disassembly", &text)?,
        categories("mode", &mode)?,
        column(Series::new("cpl".into(), sites.iter().map(|s| s.instruction.cpl).collect::<Vec<_>>())),
        categories("device", &device)?,
        categories("register", &register)?,
        column(Series::new("is_input".into(), sites.iter().map(|s| s.kind.is_input()).collect::<Vec<_>>())),
    ];
    DataFrame::new(sites.len(), columns)
}

/// A column of texts that repeat, each stored once.
fn categories<T: AsRef<str>>(name: &str, texts: &[Option<T>]) -> PolarsResult<Column> {
    let texts: Vec<Option<&str>> = texts.iter().map(|t| t.as_ref().map(AsRef::as_ref)).collect();
    let own = Categories::random(name.into(), CategoricalPhysical::U32);
    Ok(Series::new(name.into(), texts).cast(&DataType::from_categories(own))?.into())
}
