//! `--stacks`: a replay that looks at the guest's stack at every exit.

use crate::args::Naming;
use crate::{DIVERGED, progress};
use anyhow::{Context, Result};
use std::path::PathBuf;
use trapline_analyzer::{Sources, Stacks, Standing, Symbols, Unwinder};
use trapline_formats::{Site, Trace};
use trapline_machine::{Machine, MachineError, open_and_probe};
use trapline_replayer::{
    Divergence, Observer, Outcome, Progress, ReplayError, ReplayOptions, replay_observed,
};

/// Names for a trace, with the stacks of its exits; or how the replay diverged.
pub fn symbols(trace: &Trace, naming: &Naming, quiet: bool) -> Result<Result<Symbols, Box<Divergence>>> {
    let sources = if naming.no_symbols { Sources::default() } else { Sources::load(trace, &naming.symbols)? };
    let stacks =
        match collect(trace, &sources, &naming.disk, quiet).context("--stacks replays the recording")? {
            Ok(stacks) => stacks,
            Err(divergence) => return Ok(Err(divergence)),
        };
    Ok(Ok(Symbols::of_sources(trace, &sources).with_stacks(trace, stacks)))
}

/// Tells of a divergence where no report goes: stacks of an execution that was another one would be somebody else's.
pub fn diverged(trace: &Trace, divergence: &Divergence) -> u8 {
    eprintln!("{}", crate::replay::told(trace, divergence));
    DIVERGED
}

fn collect(
    trace: &Trace,
    sources: &Sources,
    disks: &[PathBuf],
    quiet: bool,
) -> Result<Result<Stacks, Box<Divergence>>> {
    let (kvm, convention) = open_and_probe()?;
    let bar = progress::bar(trace.end().map(|e| e.exits), progress::REPLAY, quiet);
    let mut watcher = Watcher { sites: trace.sites(), unwinder: Unwinder::new(sources) };
    let options = ReplayOptions { disks: disks.to_vec(), ..ReplayOptions::default() };
    let result = replay_observed(&kvm, convention, trace, &options, &mut watcher, &mut |progress| {
        if let Progress::Exits(exits) = progress {
            bar.set_position(exits);
        }
    });
    bar.finish_and_clear();
    match result {
        // A report of a damaged trace ends where its stacks do, and says so.
        Err(ReplayError::Truncated { .. }) => Ok(Ok(watcher.unwinder.finish())),
        Err(error) => Err(error.into()),
        Ok(replay) => Ok(match replay.outcome {
            Outcome::Faithful => Ok(watcher.unwinder.finish()),
            Outcome::Diverged(divergence) => Err(divergence),
        }),
    }
}

/// Unwinds at every exit.
struct Watcher<'a> {
    sites: &'a [Site],
    unwinder: Unwinder<'a>,
}

impl Observer for Watcher<'_> {
    fn exit(&mut self, index: u64, site: u32, machine: &Machine) -> Result<(), MachineError> {
        let view = machine.view()?;
        let Some(site) = self.sites.get(site as usize) else { return Ok(()) };
        let guest = Standing {
            registers: view.registers,
            system: &view.system,
            read: &mut |address, bytes| view.read(address, bytes),
        };
        self.unwinder.exit(index, site, guest);
        Ok(())
    }
}
