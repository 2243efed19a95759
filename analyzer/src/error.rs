//! What can go wrong between a trace and an answer, and where.

use std::path::PathBuf;
use thiserror::Error;
use trapline_formats::TraceError;

/// Why a table could not be made or written.
#[derive(Debug, Error)]
pub enum AnalyzerError {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A table cannot be built or turned into text.
    #[error("cannot {action}: {source}")]
    Table {
        /// What was tried: "build the table of sites".
        action: &'static str,
        /// Why not.
        source: polars::error::PolarsError,
    },
    /// A symbol file cannot be read.
    #[error("cannot take symbols from {path}: {reason}")]
    Symbols {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A picture of time is asked of a trace without times.
    #[error(
        "the trace has no times, and this format shows exits in time: pprof, folded stacks and flame graphs count them"
    )]
    NoTimes,
    /// A picture of costs is asked of a trace that has none.
    #[error("nothing in the trace costs anything: a flame graph of it would be empty")]
    NoCost,
    /// A price list cannot be read.
    #[error("cannot take prices: {0}")]
    Prices(String),
    /// A price list is of another host than the trace.
    #[error("the prices are of another host: {differences}")]
    OtherHost {
        /// In what the hosts differ.
        differences: String,
    },
    /// A result cannot be serialized.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A histogram cannot be compressed.
    #[error("cannot compress a histogram: {0}")]
    Compress(std::io::Error),
    /// The thread that decodes the trace cannot be started, or died.
    #[error("cannot decode {path} on a thread of its own: {reason}")]
    Thread {
        /// The trace.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The output exists, and replacing it was not asked for.
    #[error("{path} exists: name another file, or ask to replace it")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The output cannot be written.
    #[error("cannot {action} {path}: {source}")]
    Output {
        /// What was tried: "create a temporary file beside", "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The output cannot be written as Parquet.
    #[error("cannot write {path} as Parquet: {source}")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: polars::error::PolarsError,
    },
}

impl AnalyzerError {
    pub(crate) fn table(action: &'static str) -> impl FnOnce(polars::error::PolarsError) -> Self {
        move |source| Self::Table { action, source }
    }
}
