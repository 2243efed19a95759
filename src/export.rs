//! `trapline export`

use crate::args::{Export, ExportFormat};
use crate::progress;
use anyhow::Result;
use trapline_analyzer::export::{self, Profile};
use trapline_formats::Trace;

/// Runs the verb.
pub fn run(args: &Export) -> Result<u8> {
    let trace = Trace::open(&args.trace)?;
    let symbols = if args.naming.stacks {
        match crate::stacks::symbols(&trace, &args.naming, args.quiet)? {
            Ok(symbols) => symbols,
            Err(divergence) => return Ok(crate::stacks::diverged(&trace, &divergence)),
        }
    } else {
        crate::report::symbols(&trace, &args.naming.symbols, args.naming.no_symbols)?
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
        ExportFormat::Parquet => {
            export::parquet(&trace, &symbols, path, force, &mut progress).map(|done| done.warnings())
        }
    };
    bar.finish_and_clear();
    crate::report::warn(&result?);
    Ok(0)
}
