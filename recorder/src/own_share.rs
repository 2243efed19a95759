//! What recording adds to the VMM time of an exit: the same guest with a log and without, round by round.

use crate::error::RecorderError;
use crate::guest::Guest;
use crate::handler::RecordHandler;
use crate::pc::{Pc, PcConfig};
use crate::platform::Platform;
use crate::recording::{RecordOptions, Recorder};
use std::path::Path;
use trapline_formats::{Estimate, Trace};
use trapline_machine::statistics::median_interval;
use trapline_machine::{Control, Convention, Exit, Flow, Handler, Kvm, Machine, tick_hz};

const ROUNDS: usize = 15;
/// Exits of a run: a checkpoint is among them, as among as many of any recording.
const EXITS: u64 = 4160;

/// What recording adds to the VMM time of an exit of this guest, in nanoseconds: means of rounds, the median of them. The guest
/// must exit all the time. `trace` is where its recordings go, and is left there.
pub fn own_share(
    kvm: &Kvm,
    convention: Convention,
    guest: &Guest,
    trace: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Option<Estimate>, RecorderError> {
    let ns = 1e9 / tick_hz(kvm)? as f64;
    let mut shares = Vec::new();
    for round in 0..ROUNDS {
        progress(&format!("what recording adds, round {} of {ROUNDS}", round + 1));
        let run = |is_recorded: bool| {
            let mut pc = Pc::new(PcConfig::of(guest));
            let output = is_recorded.then(|| trace.to_owned());
            let options =
                RecordOptions { output, replace: true, max_exits: Some(EXITS), ..RecordOptions::default() };
            let recorder = Recorder::new(kvm, convention, guest, &mut pc, options)?;
            if !is_recorded {
                return recorder.time();
            }
            recorder.record(&mut |_| {})?;
            recorded(trace)
        };
        // What the run before leaves behind, both leave behind as often.
        let first = run(round % 2 == 0)?;
        let second = run(round % 2 != 0)?;
        let (with, without) = if round % 2 == 0 { (first, second) } else { (second, first) };
        shares.push((10.0 * (with - without).max(0.0) * ns).round() / 10.0);
    }
    Ok(median_interval(shares))
}

/// The mean VMM time of the exits of a trace, in ticks. The last has none.
fn recorded(trace: &Path) -> Result<f64, RecorderError> {
    let (mut ticks, mut exits) = (0u64, 0u64);
    for chunk in Trace::open(trace)?.timing() {
        let (_, timings) = chunk?;
        ticks += timings.iter().map(|t| t.vmm).sum::<u64>();
        exits += timings.len() as u64;
    }
    Ok(ticks as f64 / exits.saturating_sub(1).max(1) as f64)
}

/// A handler whose VMM time is measured from outside.
pub(crate) struct Timed<'a, P: Platform + ?Sized> {
    pub(crate) handler: RecordHandler<'a, P>,
    ticks: u64,
    exits: u64,
}

impl<'a, P: Platform + ?Sized> Timed<'a, P> {
    pub(crate) fn new(handler: RecordHandler<'a, P>) -> Self {
        Self { handler, ticks: 0, exits: 0 }
    }

    /// The mean VMM time of an exit, in ticks.
    pub(crate) fn mean(&self) -> f64 {
        self.ticks as f64 / self.exits.saturating_sub(1).max(1) as f64
    }
}

impl<P: Platform + ?Sized> Handler for Timed<'_, P> {
    type Error = RecorderError;

    #[inline]
    fn exit(&mut self, machine: &mut Machine, exit: &mut Exit) -> Result<Flow, RecorderError> {
        // What was spent before the first entry belongs to no exit.
        let spent = machine.take_timing().vmm;
        self.ticks += if self.exits == 0 { 0 } else { spent };
        self.exits += 1;
        self.handler.exit(machine, exit)
    }

    fn settled(&mut self, machine: &mut Machine) -> Result<Control, RecorderError> {
        self.handler.settled(machine)
    }

    fn kicked(&mut self, machine: &mut Machine) -> Result<Control, RecorderError> {
        self.handler.kicked(machine)
    }
}
