//! Recording a guest.

use crate::attended::{Stop, attended};
use crate::errors::{Raise, RecordError};
use crate::guest::GuestFlags;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use regex::bytes::Regex;
use std::path::PathBuf;
use std::time::Duration;
use trapline_formats::{ClockMode, End, EndReason, Preempt};
use trapline_machine::doctor::window_is_prompt;
use trapline_machine::open_and_probe;
use trapline_recorder::devices::virtio;
use trapline_recorder::guest::Boot;
use trapline_recorder::pc::{Pc, PcConfig};
use trapline_recorder::{ConsoleInput, LearnedSites, RecordOptions, Recorder, RecorderError, Tsc};

/// What to record and until when: as the flags of the command line.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct RecordFlags {
    output: PathBuf,
    replace: bool,
    clock: String,
    preempt: String,
    tsc: String,
    timeout: Option<f64>,
    max_exits: Option<u64>,
    until_console: Option<String>,
    input: Option<Vec<u8>>,
    input_after: Option<String>,
    sites: Option<PathBuf>,
    disks: Vec<String>,
    disk_in_trace: bool,
    virtio_console: bool,
    entropy: bool,
    net: Option<String>,
}

impl RecordFlags {
    fn options(&self) -> PyResult<RecordOptions> {
        let timeout = self.timeout.map(Duration::try_from_secs_f64).transpose();
        let mut input = self.input.clone().map_or_else(ConsoleInput::default, ConsoleInput::from_bytes);
        if let Some(prompt) = regex("input_after", self.input_after.as_deref())? {
            input = input.after(prompt);
        }
        Ok(RecordOptions {
            output: Some(self.output.clone()),
            replace: self.replace,
            clock: match self.clock.as_str() {
                "host" => ClockMode::Host,
                "virtual" => ClockMode::Virtual,
                other => {
                    return Err(PyValueError::new_err(format!("clock={other:?}: choose host or virtual")));
                }
            },
            preempt: match self.preempt.as_str() {
                "exits" => Preempt::Exits,
                "positions" => Preempt::Positions,
                other => {
                    let message = format!("preempt={other:?}: choose exits or positions");
                    return Err(PyValueError::new_err(message));
                }
            },
            tsc: match self.tsc.as_str() {
                "held" => Tsc::Held,
                "free" => Tsc::Free,
                other => {
                    return Err(PyValueError::new_err(format!("tsc={other:?}: choose held or free")));
                }
            },
            timeout: timeout.map_err(|e| PyValueError::new_err(format!("timeout: {e}")))?,
            max_exits: self.max_exits,
            until_console: regex("until_console", self.until_console.as_deref())?,
            input,
            // Measured by the thread that records.
            window_is_prompt: false,
            ..RecordOptions::default()
        })
    }
}

/// What a flag of this name is to match.
fn regex(flag: &str, pattern: Option<&str>) -> PyResult<Option<Regex>> {
    pattern.map(Regex::new).transpose().map_err(|e| PyValueError::new_err(format!("{flag}: {e}")))
}

/// Runs a guest and writes its trace; Ctrl-C ends the recording, whose trace is whole.
#[pyfunction]
pub fn record(py: Python<'_>, guest: &Bound<'_, PyAny>, flags: &Bound<'_, PyAny>) -> PyResult<()> {
    let guest: GuestFlags = guest.extract()?;
    let modules = guest.modules();
    let boot = guest.boot(&modules)?;
    let flags: RecordFlags = flags.extract()?;
    let options = flags.options()?;
    let end = attended(py, |stop| run(boot, guest.memory(), &flags, options, stop))?;
    match end.map_err(|error| error.raise(py))?.reason {
        EndReason::Failed(why) => Err(RecordError::new_err(format!("the recording could not go on: {why}"))),
        _ => Ok(()),
    }
}

fn run(
    boot: Boot<'_>,
    memory: u64,
    flags: &RecordFlags,
    options: RecordOptions,
    stop: &Stop,
) -> Result<End, RecorderError> {
    let mut guest = boot.load(memory)?;
    if let Some(path) = &flags.sites {
        LearnedSites::close_from(path, &mut guest)?;
    }
    let (kvm, convention) = open_and_probe()?;
    let wanted = virtio::Wanted {
        disks: &flags.disks,
        in_trace: flags.disk_in_trace,
        console: flags.virtio_console,
        entropy: flags.entropy,
        net: flags.net.as_deref(),
    };
    let mut pc = Pc::new(PcConfig {
        virtio: virtio::Config::open(&wanted, options.clock)?,
        ..PcConfig::with_clock(&guest, options.clock)
    });
    let options = RecordOptions { window_is_prompt: window_is_prompt(&kvm)?, ..options };
    let recorder = Recorder::new(&kvm, convention, &guest, &mut pc, options)?;
    let handle = recorder.stop_handle();
    stop.by(move || handle.interrupt());
    let end = recorder.record(&mut |_| {})?.end;
    match pc.changed_disks().into_iter().next() {
        Some((path, reason)) => Err(RecorderError::Disk { path, reason }),
        None => Ok(end),
    }
}
