//! `trapline replay`

use crate::args;
use crate::interrupt::on_interrupt;
use crate::progress::{self, ConsoleOut};
use crate::record::what_to_try;
use crate::{DIVERGED, INTERRUPTED, safe};
use anyhow::Result;
use std::time::Instant;
use trapline_formats::{Trace, Unclosed};
use trapline_machine::{Kvm, open_and_probe};
use trapline_replayer::{Divergence, Outcome, Progress, Replay, ReplayOptions, lacking, replay};

/// Runs the verb.
#[expect(clippy::disallowed_methods, reason = "elapsed time for the user's eyes only")]
pub fn run(args: &args::Replay) -> Result<u8> {
    let trace = Trace::open(&args.trace)?;
    let (kvm, convention) = open_and_probe()?;
    if !args.quiet {
        note_lacking(&kvm, &trace)?;
    }
    on_interrupt(|| std::process::exit(INTERRUPTED.into()))?;
    let total = trace.end().map(|e| args.until.map_or(e.exits, |u| u.saturating_add(1).min(e.exits)));
    let options = ReplayOptions {
        from: args.from,
        until: args.until,
        disks: args.disk.clone(),
        ..ReplayOptions::default()
    };
    let mut last = None;
    let started = Instant::now();
    for round in 1..=args.repeat {
        let bar = progress::bar(total, progress::REPLAY, args.quiet);
        let mut console = ConsoleOut::beside(bar.clone(), false);
        let result = replay(&kvm, convention, &trace, &options, &mut |progress| match progress {
            Progress::Console(channel, bytes) if args.console && round == 1 => console.print(channel, bytes),
            Progress::Console(..) => {}
            Progress::Exits(exits) => bar.set_position(exits),
        });
        console.finish();
        bar.finish_and_clear();
        let replay = result?;
        if let Outcome::Diverged(divergence) = replay.outcome {
            if args.repeat > 1 {
                say!("replay {round} of {}:", args.repeat);
            }
            say!("{}", told(&trace, &divergence));
            return Ok(DIVERGED);
        }
        last = Some(replay);
    }
    let Some(replay) = last else { return Ok(0) };
    let seconds = started.elapsed().as_secs_f64() / args.repeat as f64;
    let times = if args.repeat == 1 { String::new() } else { format!("{} replays, each ", args.repeat) };
    let exits = replay.exits.saturating_sub(replay.first_exit);
    let from = match (args.from, replay.first_exit) {
        (None, _) => String::new(),
        (Some(_), 0) => " from the start".to_owned(),
        (Some(_), first) => format!(" from the keyframe after exit {}", first - 1),
    };
    say!("faithful: {times}{exits} exits{from}, all identical to the recording ({seconds:.2} s)");
    remarks(&replay);
    Ok(0)
}

/// What else there is to know of a replay that was faithful.
pub fn remarks(replay: &Replay) {
    let (executed, carried) = (replay.executed.count, replay.carried.count);
    if executed > 0 {
        eprintln!("trapline: note: {executed} positions between exits were executed and compared");
    }
    if carried > 0 {
        eprintln!(
            "trapline: note: {carried} positions between exits were taken from the trace: what the guest computed from the exit before \
             up to each was not compared"
        );
    }
    for note in &replay.notes {
        eprintln!("trapline: note: {}", safe::text(note));
    }
    if let Some((exit, page)) = replay.accessed.first() {
        let n = replay.accessed.len();
        eprintln!(
            "trapline: note: {n} page tables differ from the recording in accessed bits alone (the first after exit {exit}: page \
             {:#x}): a processor may set those before anything is accessed, so this is no divergence",
            page << 12
        );
    }
}

/// Says what the recording's host had and this one lacks, before anything can diverge for it.
fn note_lacking(kvm: &Kvm, trace: &Trace) -> Result<()> {
    let lacking = lacking(kvm, trace.header())?;
    if !lacking.is_empty() {
        eprintln!(
            "trapline: note: recorded with {}, which this host lacks: a replay stops where the guest needs it",
            lacking.join(", ")
        );
    }
    Ok(())
}

/// A divergence, what is known to be open, and what may close it.
pub fn told(trace: &Trace, divergence: &Divergence) -> String {
    let known = trace.end().map(|end| end.unclosed.as_slice()).unwrap_or_default();
    let before: Vec<_> = known.iter().filter(|u| u.exit <= divergence.exit).collect();
    let cause = |unclosed: &&Unclosed| {
        let (source, evidence) = (safe::text(&unclosed.source), safe::text(&unclosed.evidence));
        format!(
            "likely cause: {source} executed unclosed in the recording (exit {}: {evidence})",
            unclosed.exit
        )
    };
    let advice = (!before.is_empty() || !divergence.leads.is_empty())
        .then(|| format!("what to try: {}", what_to_try(trace.header().suspects.len())));
    let parts = std::iter::once(divergence.to_string()).chain(before.iter().map(cause)).chain(advice);
    parts.collect::<Vec<_>>().join("\n\n")
}
