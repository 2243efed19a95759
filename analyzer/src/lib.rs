//! Trace to tables to answers.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aggregate;
mod by;
mod cells;
mod disassembly;
mod error;
pub mod export;
mod floor;
mod frame;
mod groups;
mod histogram;
mod json;
mod names;
mod output;
mod report;
mod schema;
mod stream;
mod table;
mod tally;
mod text;
mod ticks;
mod totals;

pub use by::By;
pub use error::AnalyzerError;
pub use floor::PathFloor;
pub use names::{Name, Names, well_known};
pub use polars::frame::DataFrame;
pub use report::Report;
pub use schema::SCHEMA_VERSION;
pub use totals::Totals;
