//! The call stacks of a recording, as a replay finds them.

use super::host::Host;
use std::path::Path;
use trapline_analyzer::{Method, Sources, Stacks, Standing, SymbolFile, Unwinder};
use trapline_formats::{Site, Trace};
use trapline_machine::{Machine, MachineError};
use trapline_replayer::{Divergence, Observer, Outcome, ReplayOptions, replay_observed};

struct Watcher<'a> {
    sites: &'a [Site],
    unwinder: Unwinder<'a>,
}

impl Observer for Watcher<'_> {
    fn exit(&mut self, index: u64, site: u32, machine: &Machine) -> Result<(), MachineError> {
        let view = machine.view()?;
        let guest = Standing {
            registers: view.registers,
            system: &view.system,
            read: &mut |address, bytes| view.read(address, bytes),
        };
        self.unwinder.exit(index, &self.sites[site as usize], guest);
        Ok(())
    }
}

/// Replays a trace faithfully, and unwinds at every exit with what these files say.
pub fn stacks(host: &Host, path: &Path, files: &[SymbolFile]) -> Stacks {
    try_stacks(host, path, files).unwrap_or_else(|divergence| panic!("{divergence}"))
}

/// The same, or how the replay diverged.
pub fn try_stacks(host: &Host, path: &Path, files: &[SymbolFile]) -> Result<Stacks, Box<Divergence>> {
    let trace = Trace::open(path).unwrap();
    let sources = Sources::load(&trace, files).unwrap();
    let mut watcher = Watcher { sites: trace.sites(), unwinder: Unwinder::new(&sources) };
    let options = ReplayOptions::default();
    let replay =
        replay_observed(host.kvm, host.convention, &trace, &options, &mut watcher, &mut |_| {}).unwrap();
    match replay.outcome {
        Outcome::Faithful => Ok(watcher.unwinder.finish()),
        Outcome::Diverged(divergence) => Err(divergence),
    }
}

/// The callers of an exit: address and how it was found, the innermost first.
pub fn callers(stacks: &Stacks, exit: u64) -> Vec<(u64, Method)> {
    stacks.callers(stacks.of(exit).unwrap()).map(|c| (c.address, c.method)).collect()
}
