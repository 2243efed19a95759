//! What can go wrong while recording.

use std::path::PathBuf;
use thiserror::Error;
use trapline_formats::TraceError;
use trapline_machine::MachineError;

/// An error of the recorder.
#[derive(Debug, Error)]
pub enum RecorderError {
    /// The machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The trace file.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Preemption between exits under the virtual clock.
    #[error(
        "--preempt positions needs --clock host: virtual time moves at exits only, so that nothing ever becomes due between them"
    )]
    TimeStandsStill,
    /// A guest image cannot be read.
    #[error("cannot read the {role} {path}: {source}")]
    Image {
        /// What it was meant to be: "firmware", "flat image".
        role: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A guest image cannot be used.
    #[error("{role} {path} cannot be loaded: {reason}")]
    Unusable {
        /// What it was meant to be.
        role: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not, and what to try.
        reason: String,
    },
    /// A disk image cannot be used.
    #[error("the disk image {path}: {reason}", path = path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A network cannot be used.
    #[error("the network `{asked}`: {reason}")]
    Network {
        /// What was asked for.
        asked: String,
        /// Why not.
        reason: String,
    },
    /// More devices were asked for than there are slots.
    #[error("{asked} virtio devices, and a guest has {slots} slots for them")]
    Devices {
        /// What was asked for.
        asked: usize,
        /// What there is.
        slots: usize,
    },
    /// The kernel's command line cannot be passed on.
    #[error("--cmdline: {0}")]
    CommandLine(String),
    /// A file of learned sites cannot be read or written, or is not for this guest.
    #[error("learned sites {path}: {reason}")]
    Sites {
        /// The file.
        path: PathBuf,
        /// Why not, and what to try.
        reason: String,
    },
    /// Nothing can be learned of this guest.
    #[error("cannot learn from this guest: {0}")]
    CannotLearn(String),
    /// The guest's memory has an impossible size.
    #[error("--memory {bytes} bytes: {reason}")]
    MemorySize {
        /// What was asked for.
        bytes: u64,
        /// Why not.
        reason: String,
    },
}
