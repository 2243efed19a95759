//! What can keep a replay from being carried out. A divergence is not among it: that is an outcome.

use std::path::PathBuf;
use thiserror::Error;
use trapline_formats::TraceError;
use trapline_machine::MachineError;

/// An error of the replayer.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The trace file cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The trace is readable only up to here.
    #[error(
        "the replay was faithful up to exit {last}, where the readable part of the trace ends: {reason}. \
         `--until {last}` replays just that part"
    )]
    Truncated {
        /// The last exit that was replayed.
        last: u64,
        /// What is wrong with the trace.
        reason: String,
    },
    /// There is nothing to replay.
    #[error("the trace holds no whole exit: {reason}")]
    Nothing {
        /// Why.
        reason: String,
    },
    /// An exit was asked for that the trace does not have.
    #[error("{option} {asked}: the trace has {exits} exits, numbered from 0")]
    NoSuchExit {
        /// The option that asked: "--until".
        option: &'static str,
        /// What was asked for.
        asked: u64,
        /// What there is.
        exits: u64,
    },
    /// A replay cannot end before it starts.
    #[error("--from {from} --until {until}: it ends before it starts")]
    Backwards {
        /// Where it should start.
        from: u64,
        /// Where it should end.
        until: u64,
    },
    /// The user wanted no more.
    #[error("interrupted after {exits} exits, all of them identical to the recording")]
    Interrupted {
        /// Exits replayed.
        exits: u64,
    },
    /// The guest used what this host lacks.
    #[error(
        "this trace cannot be replayed here: its guest uses {feature}, {place}: offered by {recorded}, missing on \
         {here}. What comes before was as recorded"
    )]
    Lacks {
        /// The feature, by its name in CPUID's documentation, or an MSR.
        feature: String,
        /// Where the guest uses it.
        place: String,
        /// Where it was recorded.
        recorded: String,
        /// This host.
        here: String,
    },
    /// The trace refers to a disk image, and none was given.
    #[error(
        "the trace does not hold what the guest read from the disk `{name}` ({bytes} bytes): give the image with --disk"
    )]
    NeedsDisk {
        /// Its file name, when it was recorded.
        name: String,
        /// Its size.
        bytes: u64,
    },
    /// A disk image is not what it should be.
    #[error("the disk image {path}: {reason}", path = path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The trace was made elsewhere and cannot be replayed here.
    #[error("this trace cannot be replayed here: {0}")]
    Host(String),
}
