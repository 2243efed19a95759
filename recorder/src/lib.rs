//! Runs guests under KVM and logs every trapped-and-emulated exit with its inputs.
//!
//! A [`Guest`] is loaded, a [`platform::Platform`] answers its exits, a [`Recorder`] runs it and writes the trace.
#![forbid(unsafe_code)]

mod clock;
mod console;
pub mod devices;
mod disassembly;
mod error;
pub mod guest;
mod hand_off;
mod handler;
mod input;
mod leak;
pub mod learn;
mod learned;
mod loaded_code;
mod log;
mod own_share;
pub mod pc;
pub mod platform;
mod recording;
mod rewrite;
mod silence;
mod snapshots;
mod sweep;
mod timer;
pub mod transfer;
mod uefi_image;
mod unclaimed;

pub use error::RecorderError;
pub use guest::Guest;
pub use hand_off::HandOff;
pub use input::ConsoleInput;
pub use learned::{Learned, LearnedSites, Limit, State};
pub use own_share::own_share;
pub use recording::{Progress, RecordOptions, Recorder, Recording, Tsc};
pub use snapshots::Every;
pub use timer::StopHandle;
