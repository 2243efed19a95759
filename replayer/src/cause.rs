//! Why a replay elsewhere diverged: the first missing feature that the guest used after the last exit that was equal.

use crate::divergence::{Divergence, PastExit};
use crate::elsewhere::Elsewhere;
use crate::error::ReplayError;
use crate::replay::{Outcome, Place, ReplayOptions, WATCHDOG_INTERVAL, replay_in};
use crate::start::Start;
use crate::watchdog::Watchdog;
use trapline_formats::{ExitKind, Trace};
use trapline_machine::doctor::window_is_prompt;
use trapline_machine::{FeatureUse, Machine};

/// Refuses the trace where a missing feature is found in use; otherwise says beside the divergence what is missing.
pub(crate) fn explain(
    place: &Place<'_>,
    elsewhere: &Elsewhere,
    trace: &Trace,
    divergence: &mut Divergence,
) -> Result<(), ReplayError> {
    if !elsewhere.missing.is_empty()
        && let Some(used) = find_use(place, elsewhere, trace, divergence.exit)?
    {
        return Err(elsewhere.refusal(&used, divergence.exit));
    }
    if let Some(index) = msr(divergence) {
        return Err(elsewhere.msr_refusal(index, divergence.exit));
    }
    if waits_for_window(divergence) && !window_is_prompt(place.kvm)? {
        return Err(elsewhere.window_refusal(divergence.exit));
    }
    divergence.add_note(&elsewhere.note());
    Ok(())
}

/// The recording has an interrupt window, and the guest went on.
fn waits_for_window(divergence: &Divergence) -> bool {
    let is_window =
        |exit: &Option<PastExit>| exit.as_ref().is_some_and(|e| e.site.kind == ExitKind::InterruptWindow);
    is_window(&divergence.expected) && !is_window(&divergence.actual)
}

/// An MSR access that is an exit on one side alone.
fn msr(divergence: &Divergence) -> Option<u64> {
    let of = |exit: &Option<PastExit>| {
        exit.as_ref()
            .filter(|e| matches!(e.site.kind, ExitKind::MsrRead | ExitKind::MsrWrite))
            .map(|e| e.site.address)
    };
    match (of(&divergence.expected), of(&divergence.actual)) {
        (recorded, replayed) if recorded == replayed => None,
        (recorded, replayed) => replayed.or(recorded),
    }
}

/// Goes to the last exit that was equal once more, and on from there step by step.
fn find_use(
    place: &Place<'_>,
    elsewhere: &Elsewhere,
    trace: &Trace,
    diverged: u64,
) -> Result<Option<FeatureUse>, ReplayError> {
    let Some(mut machine) = machine_before(place, trace, diverged)? else { return Ok(None) };
    let watchdog = Watchdog::start(WATCHDOG_INTERVAL);
    let found = machine.find_use(&elsewhere.missing);
    drop(watchdog);
    Ok(found?)
}

/// A machine after the exit before this one, with its events; `None` if it diverges on the way this time.
fn machine_before(place: &Place<'_>, trace: &Trace, exit: u64) -> Result<Option<Machine>, ReplayError> {
    let Some(last) = exit.checked_sub(1) else {
        return Ok(Some(Start::of_recording(place.kvm, place.convention, trace)?.machine));
    };
    let options = ReplayOptions { until: Some(last), ..ReplayOptions::default() };
    let replay = std::thread::scope(|scope| replay_in(scope, place, trace, &options, &mut (), &mut |_| {}))?;
    Ok(matches!(replay.outcome, Outcome::Faithful).then_some(replay.machine))
}
