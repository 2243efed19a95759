//! `trapline report`

use crate::CONDITION_HOLDS;
use crate::args::{By, Format, Report};
use crate::{prices, progress};
use anyhow::{Context, Result, anyhow, bail};
use std::io::Write;
use trapline_analyzer::{self as analyzer, Comparison, Condition, Options, SymbolFile, Symbols};
use trapline_formats::Trace;

/// Columns of the text report.
const WIDTH: usize = 100;

/// Runs the verb.
pub fn run(args: &Report) -> Result<u8> {
    if args.format == Format::Html && args.by != By::Instruction {
        bail!("--format html is by instruction: leave out --by");
    }
    if !args.fail_if.is_empty() && args.by != By::Instruction {
        bail!("--fail-if is by instruction: leave out --by");
    }
    if args.against.is_some()
        && (args.by != By::Instruction || !matches!(args.format, Format::Text | Format::Html | Format::Json))
    {
        bail!("--against is by instruction, as text, HTML or JSON");
    }
    if args.histograms
        && (args.against.is_some() || !matches!(args.format, Format::Json | Format::Csv | Format::Parquet))
    {
        bail!("--histograms is for --format json, csv or parquet, of one recording");
    }
    if args.naming.stacks && args.by != By::Instruction {
        bail!("--stacks is by instruction: leave out --by");
    }
    let trace = Trace::open(&args.trace)?;
    let names = if args.naming.stacks {
        match crate::stacks::symbols(&trace, &args.naming, args.quiet)? {
            Ok(names) => names,
            Err(divergence) => return Ok(crate::stacks::diverged(&trace, &divergence)),
        }
    } else {
        symbols(&trace, &args.naming.symbols, args.naming.no_symbols)?
    };
    let list = prices::choose(&trace, args.prices.as_ref())?;
    let bar = progress::bar(trace.end().map(|e| e.exits), progress::REPORT, args.quiet);
    let by = match args.by {
        By::Instruction => analyzer::By::Site,
        By::Symbol => analyzer::By::Symbol,
        By::Reason => analyzer::By::Reason,
        By::Device => analyzer::By::Device,
        By::Address => analyzer::By::Address,
    };
    let mut progress = |exits| bar.set_position(exits);
    let histograms = args.histograms || matches!(args.format, Format::Hdr | Format::Hgrm);
    let options = Options { by, symbols: names, prices: list.as_ref(), histograms, ..Options::default() };
    let report = analyzer::Report::with(&trace, options, &mut progress);
    bar.finish_and_clear();
    let report = report?;
    let status = check(&report, &args.fail_if)?;
    // Text is for people: the first rows. Files hold all of them unless told otherwise.
    let top = (args.top != Some(0)).then(|| args.top.unwrap_or(20));
    let top_rows = args.top.filter(|n| *n > 0);
    if let Some(other) = &args.against {
        let other = Trace::open(other)?;
        let names = symbols(&other, &args.naming.symbols, args.naming.no_symbols)?;
        let list = prices::choose(&other, args.prices.as_ref())?;
        let options = Options { by, symbols: names, prices: list.as_ref(), ..Options::default() };
        let before = analyzer::Report::with(&other, options, &mut |_| {})?;
        let comparison = Comparison::of(&report, &before, args.least_change);
        let text = match args.format {
            Format::Json => comparison.to_json()?,
            Format::Html => comparison.to_html(top_rows)?,
            _ => comparison.to_text(top, WIDTH),
        };
        write(&text, args.output.as_deref(), args.force)?;
        return Ok(status);
    }
    print(&report, &trace, args, top)?;
    Ok(status)
}

/// Puts the report in its form, and where it goes.
fn print(report: &analyzer::Report, trace: &Trace, args: &Report, top: Option<usize>) -> Result<()> {
    let rows = args.top.filter(|n| *n > 0);
    // Tables of numbers have no place for what these forms say themselves.
    if !matches!(args.format, Format::Text | Format::Html | Format::Json) {
        warn(&report.warnings());
    }
    let text = match (args.format, &args.output) {
        (Format::Parquet, None) => bail!("--format parquet needs -o FILE: it is not for terminals"),
        (Format::Parquet, Some(path)) if args.histograms => {
            return Ok(report.histograms_to_parquet(path, rows, args.force)?);
        }
        (Format::Parquet, Some(path)) => return Ok(report.to_parquet(path, rows, args.force)?),
        (Format::Text, _) => report.to_text(top, WIDTH),
        (Format::Html, _) => report.to_html(trace, rows)?,
        (Format::Json, _) => report.to_json(rows)?,
        (Format::Csv, _) if args.histograms => report.histograms_to_csv(rows)?,
        (Format::Csv, _) => report.to_csv(rows)?,
        (Format::Hdr, _) => report.to_hdr_log(rows)?,
        (Format::Hgrm, _) => report.to_hgrm(),
    };
    write(&text, args.output.as_deref(), args.force)
}

/// Says what a reader must know who gets a file that does not say it.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("trapline: {warning}");
    }
}

/// The exit status that conditions ask for; says which hold.
fn check(report: &analyzer::Report, conditions: &[Condition]) -> Result<u8> {
    if !conditions.is_empty() && !report.is_whole() {
        bail!(
            "--fail-if needs a whole trace: this one is cut short, and its counts are not those of the run"
        );
    }
    let mut status = 0;
    for condition in conditions {
        let measured = condition.measure(report).map_err(|why| anyhow!("--fail-if '{condition}' {why}"))?;
        if measured.sites == 0 {
            eprintln!("trapline: --fail-if '{condition}': no site has this name");
        }
        if measured.holds {
            eprintln!("trapline: FAILED: {condition}: it is {}", (measured.value * 1000.0).round() / 1000.0);
            status = CONDITION_HOLDS;
        }
    }
    Ok(status)
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
