//! Replaying a trace.

use crate::cause;
use crate::divergence::Divergence;
use crate::elsewhere::Elsewhere;
use crate::error::ReplayError;
use crate::files::Files;
use crate::handler::ReplayHandler;
use crate::observer::Observer;
use crate::source::Source;
use crate::suspicion;
use crate::watchdog::Watchdog;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use trapline_formats::{Gpa, Gva, Trace, TraceError};
use trapline_machine::{Convention, Kvm, Machine, MachineConfig, MachineError, available_memory};

/// How to replay.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// Stop after this exit.
    pub until: Option<u64>,
    /// A guest that makes no exit for so long has diverged. A guest may compute for a long time: be generous.
    pub silence: Duration,
    /// The images of the guest's disks, in their order, where the trace refers to them.
    pub disks: Vec<PathBuf>,
    /// Set from another thread, it ends the replay within half a second ([`ReplayError::Interrupted`]).
    pub stop: Arc<AtomicBool>,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self { until: None, silence: Duration::from_mins(2), disks: Vec::new(), stop: Arc::default() }
    }
}

/// What a replay in progress tells.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Console text, as it was printed: (channel, bytes).
    Console(u8, &'a [u8]),
    /// Exits so far.
    Exits(u64),
}

/// How a replay went.
#[derive(Debug)]
pub enum Outcome {
    /// Everything that was compared was equal.
    Faithful,
    /// It was not.
    Diverged(Box<Divergence>),
}

/// A finished replay.
#[derive(Debug)]
pub struct Replay {
    /// How it went.
    pub outcome: Outcome,
    /// Exits replayed.
    pub exits: u64,
    /// The machine as the replay left it.
    pub machine: Machine,
}

pub(crate) const WATCHDOG_INTERVAL: Duration = Duration::from_millis(500);

/// Replays a trace on a fresh machine.
pub fn replay(
    kvm: &Kvm,
    convention: Convention,
    trace: &Trace,
    options: &ReplayOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Replay, ReplayError> {
    replay_observed(kvm, convention, trace, options, &mut (), progress)
}

/// The same, with somebody who looks at the guest at every exit that was as recorded.
pub fn replay_observed(
    kvm: &Kvm,
    convention: Convention,
    trace: &Trace,
    options: &ReplayOptions,
    observer: &mut impl Observer,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Replay, ReplayError> {
    if let (Some(asked), None, Some(end)) = (options.until, trace.damage(), trace.end())
        && asked >= end.exits
    {
        return Err(ReplayError::NoSuchExit { asked, exits: end.exits });
    }
    let header = trace.header();
    let files = Files::open(header, &options.disks)?;
    let place = Place { kvm, convention, elsewhere: Elsewhere::of(kvm, header)?, files };
    let mut replay = std::thread::scope(|scope| {
        replay_from(Source::start(scope, trace), &place, trace, options, observer, progress)
    })?;
    if let (Some(elsewhere), Outcome::Diverged(divergence)) = (&place.elsewhere, &mut replay.outcome) {
        cause::explain(&place, elsewhere, trace, divergence)?;
    }
    Ok(replay)
}

/// Where to replay.
pub(crate) struct Place<'k> {
    pub(crate) kvm: &'k Kvm,
    pub(crate) convention: Convention,
    pub(crate) elsewhere: Option<Elsewhere>,
    pub(crate) files: Files,
}

pub(crate) fn replay_from(
    mut source: Source,
    place: &Place<'_>,
    trace: &Trace,
    options: &ReplayOptions,
    observer: &mut impl Observer,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Replay, ReplayError> {
    if source.is_last() {
        let reason = why_no_more(trace, source.take_lost(), 0);
        return Err(ReplayError::Nothing { reason: reason.unwrap_or_else(|| "the guest made none".into()) });
    }
    let mut machine = machine_at_start(place.kvm, place.convention, trace)?;
    let mut handler = ReplayHandler::new(
        source,
        trace.sites(),
        place,
        Box::new(trace.console().flat_map(|chunk| match chunk {
            Ok(texts) => texts.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })),
        options,
        observer,
        progress,
    );
    let start = trace.start_state()?;
    let entry = Gva(start.system.segments[0].base.wrapping_add(start.registers.rip));
    let watchdog = Watchdog::start(WATCHDOG_INTERVAL);
    let result = machine.run(&mut handler);
    drop(watchdog);
    match result {
        Ok(()) => {}
        Err(ReplayError::Machine(why @ MachineError::GaveUp(_))) => handler.gave_up(&why),
        Err(error) => return Err(error),
    }
    let (exits, divergence, lost) = handler.finish();
    if let Some(mut divergence) = divergence {
        divergence.leads = suspicion::leads(&machine, &divergence, entry);
        return Ok(Replay { outcome: Outcome::Diverged(Box::new(divergence)), exits, machine });
    }
    let is_enough = options.until.is_some_and(|asked| exits > asked);
    match why_no_more(trace, lost, exits) {
        Some(reason) if !is_enough => Err(ReplayError::Truncated { last: exits.saturating_sub(1), reason }),
        _ => Ok(Replay { outcome: Outcome::Faithful, exits, machine }),
    }
}

/// Why a trace has no more than so many exits, where it should.
fn why_no_more(trace: &Trace, lost: Option<TraceError>, exits: u64) -> Option<String> {
    match (lost, trace.damage(), trace.end()) {
        (Some(error), _, _) => Some(error.to_string()),
        (None, Some(damage), _) => Some(format!("{} at byte {:#x}", damage.reason, damage.offset)),
        (None, None, None) => Some("its end is missing (was the recorder killed?)".to_owned()),
        (None, None, Some(end)) if end.exits != exits => {
            Some(format!("it says that it has {} exits, and {exits} are there", end.exits))
        }
        _ => None,
    }
}

/// A machine as the recording started.
pub(crate) fn machine_at_start(
    kvm: &Kvm,
    convention: Convention,
    trace: &Trace,
) -> Result<Machine, ReplayError> {
    let header = trace.header();
    let wanted = header.memory.iter().fold(0u64, |all, r| all.saturating_add(r.bytes));
    if wanted > available_memory() {
        let (wanted, available) = (wanted >> 20, available_memory() >> 20);
        let why =
            format!("its guest has {wanted} MiB of memory, and this host has {available} MiB available");
        return Err(ReplayError::Host(why));
    }
    let config = MachineConfig {
        memory: header.memory.clone(),
        cpuid: header.cpuid.clone(),
        msrs_allowed: header.msrs_allowed.clone(),
        stand_ins: header.stand_ins,
    };
    let mut machine = Machine::new(kvm, &config)?;
    machine.set_convention(convention);
    let mut failed = None;
    trace.start_memory(|number, content| {
        let gpa = number.saturating_mul(content.len() as u64);
        if let Err(error) = machine.memory().write(Gpa(gpa), content) {
            failed.get_or_insert(error);
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    machine.restore(&trace.start_state()?)?;
    Ok(machine)
}
