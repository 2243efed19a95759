//! `trapline diff`: two recordings, exit by exit.

use crate::args::Diff;
use crate::{DIFFERENT, FAILED, prices, progress, report};
use anyhow::{Result, bail};
use trapline_analyzer::{self as analyzer, DiffOptions};
use trapline_formats::Trace;

/// Columns of the text.
const WIDTH: usize = 100;
/// Rows of a table in the text, unless told otherwise.
const ROWS: usize = 10;

/// Runs the verb.
pub fn run(args: &Diff) -> Result<u8> {
    let traces = [Trace::open(&args.a)?, Trace::open(&args.b)?];
    let symbols =
        [&traces[0], &traces[1]].map(|trace| report::symbols(trace, &args.symbols, args.no_symbols));
    let [left, right] = symbols;
    let symbols = [left?, right?];
    let lists = [
        prices::choose(&traces[0], args.prices.as_ref())?,
        prices::choose(&traces[1], args.prices.as_ref())?,
    ];
    let options = DiffOptions { symbols: symbols.each_ref(), prices: lists.each_ref().map(Option::as_ref) };
    let bar = progress::bar(traces[0].end().map(|e| e.exits), progress::REPORT, args.quiet);
    let diff = analyzer::Diff::of(&traces[0], &traces[1], options, &mut |exits| bar.set_position(exits));
    bar.finish_and_clear();
    let diff = diff?;
    if diff.traces.iter().all(|trace| trace.exits == 0) {
        bail!("neither of the traces has an exit: there is nothing to compare");
    }
    let top = (args.top != Some(0)).then(|| args.top.unwrap_or(ROWS));
    let text = if args.json { diff.to_json()? } else { diff.to_text(top, WIDTH) };
    report::write(&text, args.output.as_deref(), args.force)?;
    // A difference stands, whatever is missing behind it; that there is none does not.
    Ok(match (diff.different, diff.is_damaged()) {
        (true, _) => DIFFERENT,
        (false, true) => FAILED,
        (false, false) => 0,
    })
}
