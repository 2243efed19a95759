//! A replay made through the library.

use super::host::Host;
use std::collections::BTreeMap;
use std::path::Path;
use trapline_formats::Trace;
use trapline_machine::Machine;
use trapline_replayer::{Divergence, Outcome, Progress, ReplayError, ReplayOptions, replay as replay_trace};

/// A finished, faithful replay.
pub struct Replayed {
    pub first_exit: u64,
    pub exits: u64,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// Page tables that differ in accessed bits: (exit, page).
    pub accessed: Vec<(u64, u64)>,
    /// Positions between exits: executed and compared, and taken from the trace.
    pub executed: u64,
    pub carried: u64,
    /// What was printed, by channel.
    pub console: BTreeMap<u8, Vec<u8>>,
    pub machine: Machine,
}

/// Replays a trace, and shows the divergence if there is one.
pub fn replay(host: &Host, path: &Path) -> Replayed {
    try_replay(host, path, &ReplayOptions::default()).unwrap_or_else(|divergence| panic!("{divergence}"))
}

/// Replays a trace that can be replayed here.
pub fn try_replay(host: &Host, path: &Path, options: &ReplayOptions) -> Result<Replayed, Box<Divergence>> {
    attempt(host, path, options).unwrap()
}

/// Replays a trace, or is told why not.
pub fn attempt(
    host: &Host,
    path: &Path,
    options: &ReplayOptions,
) -> Result<Result<Replayed, Box<Divergence>>, ReplayError> {
    let trace = Trace::open(path)?;
    let mut console = BTreeMap::<u8, Vec<u8>>::new();
    let replay = replay_trace(host.kvm, host.convention, &trace, options, &mut |progress| {
        if let Progress::Console(channel, bytes) = progress {
            console.entry(channel).or_default().extend_from_slice(bytes);
        }
    })?;
    Ok(match replay.outcome {
        Outcome::Faithful => Ok(Replayed {
            first_exit: replay.first_exit,
            exits: replay.exits,
            notes: replay.notes,
            accessed: replay.accessed,
            executed: replay.executed.count,
            carried: replay.carried.count,
            console,
            machine: replay.machine,
        }),
        Outcome::Diverged(divergence) => Err(divergence),
    })
}
