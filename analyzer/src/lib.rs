//! Trace to tables to answers: what each instruction that trapped cost.
//!
//! [`Report`] aggregates a trace by site, instruction, reason, device or address, as text, JSON, CSV or Parquet;
//! [`export`] writes one row per exit, [`tables`] gives them to programs. Nothing here touches KVM, and everything works on a trace from a stranger.
//! What the columns mean, and what *cost* is, says
//! [SCHEMA.md](https://github.com/trapline/trapline/blob/main/analyzer/SCHEMA.md).
//!
//! ```no_run
//! use trapline_analyzer::{By, Report, export, Symbols};
//! use trapline_formats::Trace;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let trace = Trace::open("run.trap".as_ref())?;
//!     let report = Report::from_trace(&trace, By::Device, &mut |exits| eprint!("\r{exits} exits"))?;
//!
//!     // For people: the ten dearest devices, in 100 columns.
//!     print!("{}", report.to_text(Some(10), 100));
//!     if let Some(damage) = report.damage() {
//!         eprintln!("the trace ends early, at byte {:#x}: {}", damage.offset, damage.reason);
//!     }
//!
//!     // For programs.
//!     println!("{:.1} % of the time was idle", {
//!         let totals = report.totals();
//!         totals.idle_ns as f64 * 100.0 / totals.total_ns.max(1) as f64
//!     });
//!     std::fs::write("report.json", report.to_json(None)?)?;
//!     report.to_parquet("devices.parquet".as_ref(), None, false)?;
//!     export::parquet(&trace, &Symbols::none(), "exits.parquet".as_ref(), false, &mut |_| {})?;
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aggregate;
mod by;
mod cells;
mod comparison;
mod condition;
mod diff;
mod disassembly;
mod durations;
mod error;
pub mod export;
mod floor;
mod frame;
mod groups;
mod habits;
mod hdr;
mod histograms;
mod html;
mod json;
mod labels;
mod moments;
mod names;
mod output;
mod pci;
mod pricing;
mod ranking;
mod report;
mod schema;
mod stack_columns;
mod stack_costs;
mod stacks;
mod stream;
mod suggestions;
mod symbols;
mod table;
pub mod tables;
mod tally;
mod text;
mod ticks;
mod totals;

pub use by::By;
pub use comparison::{Comparison, Pair, Verdict};
pub use condition::{Condition, Measured, Unmeasured};
pub use diff::{
    ConsolePosition, DamageFacts, Diff, DiffOptions, ExitCounts, Fact, First, LoopDifference, Place,
    Recorded, ShownExit, SiteDifference, SiteFacts, Start,
};
pub use error::AnalyzerError;
pub use floor::PathFloor;
pub use names::{Name, Names, well_known};
pub use polars::frame::DataFrame;
pub use polars::prelude::CompatLevel;
pub use pricing::{ExitPath, PathSource};
pub use report::{Options, Report};
pub use schema::SCHEMA_VERSION;
pub use stack_costs::StackCost;
pub use stacks::{Caller, Method, Stacks, Standing, Unwinder};
pub use suggestions::{Range, Suggestion};
pub use symbols::{Function, Sources, Symbol, SymbolFile, Symbols};
pub use totals::Totals;
