//! `trapline report`

use crate::args::{By, Format, Report};
use crate::progress;
use anyhow::{Context, Result, bail};
use std::io::Write;
use trapline_analyzer::{self as analyzer, SymbolFile, Symbols};
use trapline_formats::Trace;

/// Columns of the text report.
const WIDTH: usize = 100;

/// Runs the verb.
pub fn run(args: &Report) -> Result<u8> {
    if args.format == Format::Html && args.by != By::Instruction {
        bail!("--format html is by instruction: leave out --by");
    }
    let trace = Trace::open(&args.trace)?;
    let symbols = symbols(&trace, &args.symbols, args.no_symbols)?;
    let bar = progress::bar(trace.end().map(|e| e.exits), progress::REPORT, args.quiet);
    let by = match args.by {
        By::Instruction => analyzer::By::Site,
        By::Symbol => analyzer::By::Symbol,
        By::Reason => analyzer::By::Reason,
        By::Device => analyzer::By::Device,
        By::Address => analyzer::By::Address,
    };
    let report = analyzer::Report::with_symbols(&trace, by, symbols, &mut |exits| bar.set_position(exits));
    bar.finish_and_clear();
    let report = report?;
    // Text is for people: the first rows. Files hold all of them unless told otherwise.
    let top = (args.top != Some(0)).then(|| args.top.unwrap_or(20));
    let top_rows = args.top.filter(|n| *n > 0);
    match (args.format, &args.output) {
        (Format::Parquet, None) => bail!("--format parquet needs -o FILE: it is not for terminals"),
        (Format::Parquet, Some(path)) => report.to_parquet(path, top_rows, args.force)?,
        (format, output) => {
            let text = match format {
                Format::Text => report.to_text(top, WIDTH),
                Format::Html => report.to_html(&trace, top_rows)?,
                Format::Json => report.to_json(top_rows)?,
                _ => report.to_csv(top_rows)?,
            };
            write(&text, output.as_deref(), args.force)?;
        }
    }
    Ok(0)
}

/// Names for the functions of a trace.
pub fn symbols(trace: &Trace, files: &[SymbolFile], none: bool) -> Result<Symbols> {
    if none { Ok(Symbols::none()) } else { Ok(Symbols::load(trace, files)?) }
}

/// Writes to a new file, or to standard output.
pub fn write(text: &str, output: Option<&std::path::Path>, force: bool) -> Result<()> {
    match output {
        None => std::io::stdout().write_all(text.as_bytes())?,
        Some(path) => {
            let mut options = std::fs::OpenOptions::new();
            options.write(true);
            if force {
                options.create(true).truncate(true)
            } else {
                options.create_new(true)
            };
            let mut file = match options.open(path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    bail!("{} exists: --force replaces it", path.display())
                }
                opened => opened.with_context(|| format!("cannot create {}", path.display()))?,
            };
            file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
