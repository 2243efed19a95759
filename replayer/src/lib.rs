//! Reproduces a recorded execution from its trace: no serial port, no timer, no disk, only the log.
//!
//! ```no_run
//! use trapline_formats::Trace;
//! use trapline_replayer::{Outcome, ReplayOptions, replay};
//!
//! let trace = Trace::open("run.trap".as_ref())?;
//! let (kvm, convention) = trapline_machine::open_and_probe()?;
//! match replay(&kvm, convention, &trace, &ReplayOptions::default(), &mut |_| {})?.outcome {
//!     Outcome::Faithful => println!("every exit was identical"),
//!     Outcome::Diverged(divergence) => println!("{divergence}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod attempts;
mod cause;
mod clock_read;
mod divergence;
mod elsewhere;
mod error;
mod files;
mod handler;
mod hosts;
mod memory_check;
mod observer;
mod page;
mod replay;
mod silence;
mod source;
mod start;
mod suspicion;
mod watchdog;

pub use divergence::{Divergence, PastExit, What};
pub use error::ReplayError;
pub use hosts::lacking;
pub use observer::Observer;
pub use replay::{Outcome, Progress, Replay, ReplayOptions, replay, replay_observed};
