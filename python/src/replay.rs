//! Replaying a trace.

use crate::attended::attended;
use crate::errors::Raise;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trapline_formats::{Trace, printable};
use trapline_machine::open_and_probe;
use trapline_replayer::{Divergence, Outcome, ReplayError, ReplayOptions};

/// What a replay showed: the number of exits, and the divergence: its exit, what differed in one line, all of it as text,
/// and what differs by name (recorded, replayed).
type Told = (u64, Option<(u64, String, String, Vec<(String, String, String)>)>);

/// Replays a trace up to an exit.
#[pyfunction]
pub fn replay(py: Python<'_>, path: PathBuf, until: Option<u64>, disks: Vec<PathBuf>) -> PyResult<Told> {
    let stop = Arc::new(AtomicBool::new(false));
    let options = ReplayOptions { until, disks, stop: Arc::clone(&stop), ..ReplayOptions::default() };
    let told = attended(py, move |attended| {
        attended.by(move || stop.store(true, Ordering::Relaxed));
        let trace = Trace::open(&path)?;
        let (kvm, convention) = open_and_probe()?;
        let replay = trapline_replayer::replay(&kvm, convention, &trace, &options, &mut |_| {})?;
        Ok::<_, ReplayError>(match &replay.outcome {
            Outcome::Faithful => (replay.exits, None),
            Outcome::Diverged(divergence) => (replay.exits, Some(details(divergence))),
        })
    })?;
    told.map_err(|error| error.raise(py))
}

fn details(divergence: &Divergence) -> (u64, String, String, Vec<(String, String, String)>) {
    // What the guest wrote may be in it.
    let text = printable(divergence.to_string().as_bytes(), true);
    let differences = divergence.differences.iter();
    let differences = differences.map(|d| (d.name.clone(), d.expected.clone(), d.actual.clone())).collect();
    (divergence.exit, divergence.what.to_string(), text, differences)
}
