//! What can be wrong with a trace file, and where.

use std::path::PathBuf;
use thiserror::Error;

/// Bytes that do not decode, with the reason in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// What is wrong with a trace.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried: "open", "read", "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no trace.
    #[error("{path} is not a Trapline trace: {reason}")]
    NotATrace {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// The file needs a newer reader.
    #[error(
        "{path} has format version {found}, this trapline reads versions up to {supported}: use a newer trapline"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u16,
        /// Newest version this reader knows.
        supported: u16,
    },
    /// The file was written before there was a format.
    #[error(
        "{path} has format version 0, which changed from day to day: read it with the trapline that wrote it, or record again"
    )]
    TooOld {
        /// The file.
        path: PathBuf,
    },
    /// Something inside is damaged.
    #[error("{path} is damaged at byte {offset:#x} ({what}): {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// Which part: "inputs block", "header block".
        what: &'static str,
        /// What is wrong there.
        reason: String,
    },
}
