//! `trapline export`

use crate::args::{Export, ExportFormat};
use crate::progress;
use anyhow::Result;
use trapline_formats::Trace;

/// Runs the verb.
pub fn run(args: &Export) -> Result<u8> {
    let trace = Trace::open(&args.trace)?;
    let symbols = crate::report::symbols(&trace, &args.symbols, args.no_symbols)?;
    let bar = progress::bar(trace.end().map(|e| e.exits), progress::REPORT, args.quiet);
    let result = match args.to {
        ExportFormat::Parquet => {
            trapline_analyzer::export::parquet(&trace, &symbols, &args.output, args.force, &mut |exits| {
                bar.set_position(exits);
            })
        }
    };
    bar.finish_and_clear();
    result?;
    Ok(0)
}
