//! Replaying a trace.

use crate::cause;
use crate::clock_read;
use crate::divergence::Divergence;
use crate::elsewhere::Elsewhere;
use crate::error::ReplayError;
use crate::files::Files;
use crate::handler::ReplayHandler;
use crate::hosts;
use crate::memory_check::MemoryCheck;
use crate::observer::Observer;
use crate::source::Source;
use crate::start::Start;
use crate::suspicion;
use crate::watchdog::Watchdog;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Scope;
use std::time::Duration;
use trapline_formats::{Gva, Spread, Trace, TraceError};
use trapline_machine::doctor::{can_hold_tsc, logs_writes};
use trapline_machine::{Convention, HardwareClock, Kvm, Machine, MachineError, describe_host, tick_hz};

/// How to replay.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// Start at the last keyframe before this exit; what was printed is told from this exit on. Otherwise, and where there is no
    /// such keyframe, start at the start.
    pub from: Option<u64>,
    /// Stop after this exit.
    pub until: Option<u64>,
    /// A guest that makes no exit for so long, in processor time of its vCPU's thread, has diverged. A guest may compute for a long time: be
    /// generous.
    pub silence: Duration,
    /// The images of the guest's disks, in their order, where the trace refers to them.
    pub disks: Vec<PathBuf>,
    /// How long, in processor time, to try to come to a position between exits by executing, where it can be looked for, before it is
    /// taken over. Zero: all are taken over.
    pub attempt: Duration,
    /// Set from another thread, it ends the replay within half a second ([`ReplayError::Interrupted`]).
    pub stop: Arc<AtomicBool>,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            from: None,
            until: None,
            silence: Duration::from_mins(2),
            disks: Vec::new(),
            // Some thousand instructions on an engine that interprets.
            attempt: Duration::from_millis(1),
            stop: Arc::default(),
        }
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
    /// The first exit that was replayed.
    pub first_exit: u64,
    /// Exits up to the end of the replay, those before its first among them.
    pub exits: u64,
    /// What else is to be known of it: keyframes that could not be read.
    pub notes: Vec<String>,
    /// Page tables that differ from the recording in accessed bits alone, (exit, page number): a processor may set those whenever it
    /// likes, so that is no divergence.
    pub accessed: Vec<(u64, u64)>,
    /// Positions between exits that the guest came to by itself, in the state that the trace carries: what it computed up to there was
    /// executed and compared. The time that took each.
    pub executed: Spread,
    /// Positions between exits whose state was taken from the trace: what the guest computed up to there was not compared. The
    /// time that took each.
    pub carried: Spread,
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
    for (option, asked) in [("--from", options.from), ("--until", options.until)] {
        if let (Some(asked), None, Some(end)) = (asked, trace.damage(), trace.end())
            && asked >= end.exits
        {
            return Err(ReplayError::NoSuchExit { option, asked, exits: end.exits });
        }
    }
    if let (Some(from), Some(until)) = (options.from, options.until)
        && from > until
    {
        return Err(ReplayError::Backwards { from, until });
    }
    let header = trace.header();
    let files = Files::open(header, &options.disks)?;
    let place =
        Place { kvm, convention, elsewhere: Elsewhere::of(kvm, header)?, files, tick_hz: tick_hz(kvm)? };
    let mut replay =
        std::thread::scope(|scope| replay_in(scope, &place, trace, options, observer, progress))?;
    if let Outcome::Diverged(divergence) = &mut replay.outcome {
        if let Some(elsewhere) = &place.elsewhere {
            cause::explain(&place, elsewhere, trace, divergence)?;
        }
        if let Some(note) = hosts::note(&header.host, &describe_host(kvm)) {
            divergence.add_note(&note);
        }
    }
    Ok(replay)
}

/// What a user is to know where the TSC cannot be held.
const RUNS_ON: &str = "in the recording the guest's TSC stood still between exits; it does not here, for this host has no TSC scaling \
                       (KVM_CAP_TSC_CONTROL). What a process or unknown code reads of it is not what it was";

/// Where to replay.
pub(crate) struct Place<'k> {
    pub(crate) kvm: &'k Kvm,
    pub(crate) convention: Convention,
    pub(crate) elsewhere: Option<Elsewhere>,
    pub(crate) files: Files,
    pub(crate) tick_hz: u64,
}

pub(crate) fn replay_in<'t>(
    scope: &'t Scope<'t, '_>,
    place: &Place<'_>,
    trace: &'t Trace,
    options: &ReplayOptions,
    observer: &mut impl Observer,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Replay, ReplayError> {
    let start = match options.from {
        Some(exit) => Some(Start::before(place.kvm, place.convention, trace, exit)?),
        None => None,
    };
    let keyframe = start.as_ref().and_then(|start| start.keyframe.as_ref());
    let mut source = Source::start(scope, trace, keyframe);
    if source.is_last() {
        let reason = why_no_more(trace, source.take_lost(), 0);
        return Err(ReplayError::Nothing { reason: reason.unwrap_or_else(|| "the guest made none".into()) });
    }
    let start = match start {
        Some(start) => start,
        None => Start::of_recording(place.kvm, place.convention, trace)?,
    };
    let Start { mut machine, contents, keyframe, unusable } = start;
    let next = keyframe.map_or(0, |keyframe| keyframe.number + 1);
    let memory = MemoryCheck::start(&machine, logs_writes(place.kvm)?, trace.keyframes(), contents, next)?;
    let is_held = match source.held_tsc() {
        Some(value) => can_hold_tsc(place.kvm)? && machine.hold_tsc(value)?,
        None => false,
    };
    let runs_on = source.held_tsc().is_some() && !is_held;
    let clock = if is_held { None } else { Some(HardwareClock::watch(&mut machine, clock_read::CANARY)?) };
    let first_exit = source.first_exit();
    let mut handler = ReplayHandler::new(source, trace, place, memory, options, observer, progress);
    let start = trace.start_state()?;
    let entry = Gva(start.system.segments[0].base.wrapping_add(start.registers.rip));
    let watchdog = Watchdog::start(WATCHDOG_INTERVAL);
    let result = handler.apply_events(&mut machine).and_then(|()| machine.run(&mut handler));
    drop(watchdog);
    match result {
        Ok(()) => {}
        Err(ReplayError::Machine(why @ MachineError::GaveUp(_))) => handler.gave_up(&why),
        Err(error) => return Err(error),
    }
    let finished = handler.finish();
    let exits = finished.exits;
    let outcome = if let Some(mut divergence) = finished.divergence {
        if let Some(clock) = &clock {
            divergence.clock = clock_read::place(&machine, clock, trace)?;
        }
        if runs_on {
            divergence.add_note(RUNS_ON);
        }
        divergence.leads = suspicion::leads(&machine, &divergence, entry);
        Outcome::Diverged(Box::new(divergence))
    } else {
        let is_enough = options.until.is_some_and(|asked| exits > asked);
        match why_no_more(trace, finished.lost, exits) {
            Some(reason) if !is_enough => {
                return Err(ReplayError::Truncated { last: exits.saturating_sub(1), reason });
            }
            _ => Outcome::Faithful,
        }
    };
    let notes = unusable.into_iter().map(|why| format!("a keyframe could not be used: {why}"));
    let notes = notes.chain(finished.notes).chain(runs_on.then(|| RUNS_ON.to_owned())).collect();
    Ok(Replay {
        outcome,
        first_exit,
        exits,
        notes,
        accessed: finished.accessed,
        executed: finished.executed,
        carried: finished.carried,
        machine,
    })
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
