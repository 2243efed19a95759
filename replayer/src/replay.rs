//! Replaying a trace.

use crate::divergence::Divergence;
use crate::error::ReplayError;
use crate::handler::ReplayHandler;
use crate::source::Source;
use crate::watchdog::Watchdog;
use std::time::Duration;
use trapline_formats::{Gpa, Trace};
use trapline_machine::{Convention, Kvm, Machine, MachineConfig, MachineError, available_memory};

/// How to replay.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// Stop after this exit.
    pub until: Option<u64>,
    /// A guest that makes no exit for so long has diverged. A guest may compute for a long time: be generous.
    pub silence: Duration,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self { until: None, silence: Duration::from_mins(2) }
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

const WATCHDOG_INTERVAL: Duration = Duration::from_millis(500);

/// Replays a trace on a fresh machine.
pub fn replay(
    kvm: &Kvm,
    convention: Convention,
    trace: &Trace,
    options: &ReplayOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Replay, ReplayError> {
    let (whole, lost) = readable_exits(trace);
    let until = match options.until {
        Some(asked) if asked >= whole && lost.is_none() => {
            return Err(ReplayError::NoSuchExit { asked, exits: whole });
        }
        Some(asked) => asked,
        None => whole.saturating_sub(1),
    };
    if whole == 0 {
        let reason = lost.unwrap_or_else(|| "the guest made none".into());
        return Err(ReplayError::Nothing { reason });
    }
    let mut machine = machine_at_start(kvm, convention, trace)?;
    let silence_limit = (options.silence.as_millis() / WATCHDOG_INTERVAL.as_millis()).max(1) as u32;
    let mut handler = ReplayHandler::new(
        Source::new(trace),
        trace.sites(),
        Box::new(trace.console().flat_map(|chunk| match chunk {
            Ok(texts) => texts.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })),
        until.min(whole - 1),
        silence_limit,
        progress,
    );
    let watchdog = Watchdog::start(WATCHDOG_INTERVAL);
    let result = machine.run(&mut handler);
    drop(watchdog);
    match result {
        Ok(()) => {}
        Err(ReplayError::Machine(why @ MachineError::GaveUp(_))) => handler.gave_up(&why),
        Err(error) => return Err(error),
    }
    let (exits, divergence, failed) = handler.finish();
    if let Some(error) = failed {
        return Err(error);
    }
    let outcome = match divergence {
        Some(divergence) => Outcome::Diverged(Box::new(divergence)),
        None => Outcome::Faithful,
    };
    let wanted_more = options.until.is_none_or(|asked| asked >= whole);
    match (&outcome, lost) {
        (Outcome::Faithful, Some(reason)) if wanted_more => {
            Err(ReplayError::Truncated { last: whole - 1, reason })
        }
        _ => Ok(Replay { outcome, exits, machine }),
    }
}

/// How many exits can be read, and why not more.
fn readable_exits(trace: &Trace) -> (u64, Option<String>) {
    let mut exits = 0;
    for chunk in trace.inputs_with_digests() {
        match chunk {
            Ok((inputs, _)) => exits += inputs.len() as u64,
            Err(error) => return (exits, Some(error.to_string())),
        }
    }
    let lost = match (trace.damage(), trace.end()) {
        (Some(damage), _) => Some(format!("{} at byte {:#x}", damage.reason, damage.offset)),
        (None, None) => Some("its end is missing (was the recorder killed?)".to_owned()),
        (None, Some(end)) if end.exits != exits => {
            Some(format!("it says that it has {} exits, and {exits} are there", end.exits))
        }
        _ => None,
    };
    (exits, lost)
}

/// A machine as the recording started.
fn machine_at_start(kvm: &Kvm, convention: Convention, trace: &Trace) -> Result<Machine, ReplayError> {
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
        clock_port: header.rewrites.first().and_then(|r| r.replacement.get(1).copied()),
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
