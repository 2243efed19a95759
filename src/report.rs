//! `trapline report`

use crate::CONDITION_HOLDS;
use crate::args::{By, Format, Report};
use crate::{prices, progress};
use anyhow::{Context, Result, bail};
use std::io::Write;
use trapline_analyzer::{self as analyzer, Comparison, Condition, SymbolFile, Symbols};
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
        && (args.by != By::Instruction || matches!(args.format, Format::Csv | Format::Parquet))
    {
        bail!("--against is by instruction, as text, HTML or JSON");
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
    let report = analyzer::Report::with_prices(&trace, by, names, list.as_ref(), &mut progress);
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
        let before = analyzer::Report::with_prices(&other, by, names, list.as_ref(), &mut |_| {})?;
        let comparison = Comparison::of(&report, &before, args.least_change);
        let text = match args.format {
            Format::Json => comparison.to_json()?,
            Format::Html => comparison.to_html(top_rows)?,
            _ => comparison.to_text(top, WIDTH),
        };
        write(&text, args.output.as_deref(), args.force)?;
        return Ok(status);
    }
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
    Ok(status)
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
        let Some(measured) = condition.measure(report) else {
            bail!("--fail-if '{condition}' asks for times, and the trace has none");
        };
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
