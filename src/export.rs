//! `trapline export`

use crate::args::{Export, ExportFormat};
use crate::progress;
use anyhow::{Result, bail};
use std::path::Path;
use trapline_analyzer::Symbols;
use trapline_analyzer::export::{self, Difference, Profile, Recording};
use trapline_formats::Trace;

/// Runs the verb.
pub fn run(args: &Export) -> Result<u8> {
    let Some(before) = &args.against else { return one(args) };
    match args.to {
        ExportFormat::Folded => two(args, before, Difference::Folded),
        ExportFormat::FlameGraph => two(args, before, Difference::FlameGraph),
        _ => bail!("--against is for --to folded and --to flamegraph"),
    }
}

/// One recording.
fn one(args: &Export) -> Result<u8> {
    let trace = Trace::open(&args.trace)?;
    let symbols = match symbols(&trace, args)? {
        Ok(symbols) => symbols,
        Err(status) => return Ok(status),
    };
    let list = crate::prices::choose(&trace, args.prices.as_ref())?;
    let list = list.as_ref();
    let bar = progress::bar(trace.end().map(|e| e.exits), progress::REPORT, args.quiet);
    let (path, force) = (&args.output, args.force);
    let mut progress = |exits| bar.set_position(exits);
    let mut profile = |kind| export::profile(&trace, symbols.clone(), list, kind, path, force, &mut progress);
    let result = match args.to {
        ExportFormat::Firefox => profile(Profile::Firefox),
        ExportFormat::Perfetto => profile(Profile::Perfetto),
        ExportFormat::Pprof => profile(Profile::Pprof),
        ExportFormat::Folded => profile(Profile::Folded),
        ExportFormat::FlameGraph => profile(Profile::FlameGraph),
        ExportFormat::Parquet => {
            export::parquet(&trace, &symbols, path, force, &mut progress).map(|done| done.warnings())
        }
    };
    bar.finish_and_clear();
    crate::report::warn(&result?);
    Ok(0)
}

/// What changed since another recording.
fn two(args: &Export, before: &Path, form: Difference) -> Result<u8> {
    let (trace, other) = (Trace::open(&args.trace)?, Trace::open(before)?);
    let (symbols, other_symbols) = match (symbols(&trace, args)?, symbols(&other, args)?) {
        (Ok(symbols), Ok(others)) => (symbols, others),
        (Err(status), _) | (_, Err(status)) => return Ok(status),
    };
    let list = crate::prices::choose(&trace, args.prices.as_ref())?;
    let other_list = crate::prices::choose(&other, args.prices.as_ref())?;
    let bar = progress::bar(trace.end().map(|e| e.exits), progress::REPORT, args.quiet);
    let now = Recording { trace: &trace, symbols, prices: list.as_ref() };
    let before = Recording { trace: &other, symbols: other_symbols, prices: other_list.as_ref() };
    let mut progress = |exits| bar.set_position(exits);
    let result = export::difference(now, before, form, &args.output, args.force, &mut progress);
    bar.finish_and_clear();
    crate::report::warn(&result?);
    Ok(0)
}

/// Names for a trace, and stacks where they are asked for; or the exit status of a replay that diverged.
fn symbols(trace: &Trace, args: &Export) -> Result<Result<Symbols, u8>> {
    if !args.naming.stacks {
        return crate::report::symbols(trace, &args.naming.symbols, args.naming.no_symbols).map(Ok);
    }
    let symbols = crate::stacks::symbols(trace, &args.naming, args.quiet)?;
    Ok(symbols.map_err(|divergence| crate::stacks::diverged(trace, &divergence)))
}
