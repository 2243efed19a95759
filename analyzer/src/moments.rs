//! The exits of a trace in time.

use crate::error::AnalyzerError;
use crate::floor::PathFloor;
use crate::stream::{Batch, batches};
use crate::ticks::{Apportion, Ticks};
use trapline_formats::{Event, ExitKind, Trace};

/// One exit in time. `start_ns + guest_ns + path_ns + vmm_ns` is the next one's `start_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Its number.
    pub(crate) exit: u64,
    /// Its site.
    pub(crate) site: u32,
    /// KVM_RUN entry before it, from the start of the recording.
    pub(crate) start_ns: u64,
    /// The guest's own computing. Estimated.
    pub(crate) guest_ns: u64,
    /// Exit path. Estimated; none for HLT.
    pub(crate) path_ns: u64,
    /// VMM time; of HLT, waiting.
    pub(crate) vmm_ns: u64,
}

impl Moment {
    /// Where the exit begins: the guest stops computing.
    pub(crate) fn exit_ns(&self) -> u64 {
        self.start_ns + self.guest_ns
    }

    /// Where our process gets it.
    pub(crate) fn vmm_start_ns(&self) -> u64 {
        self.exit_ns() + self.path_ns
    }

    /// Where the guest goes on.
    pub(crate) fn end_ns(&self) -> u64 {
        self.vmm_start_ns() + self.vmm_ns
    }
}

/// What happens in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// An exit.
    Exit(Moment),
    /// An interrupt was queued; no vector for an NMI.
    Interrupt { at_ns: u64, vector: Option<u8> },
}

/// Calls `each` with every exit that has a time, in order, and with the interrupts queued in its chunk after them. Where
/// the trace has no clock there are none.
pub(crate) fn moments(
    trace: &Trace,
    floors: &[PathFloor],
    mut each: impl FnMut(Step) -> Result<(), AnalyzerError>,
) -> Result<(), AnalyzerError> {
    let Some(ticks) = Ticks::new(trace.header().tick_hz) else { return Ok(()) };
    let mut path = [0; ExitKind::ALL.len()];
    for floor in floors {
        path[floor.kind as usize] = floor.ticks;
    }
    path[ExitKind::Halt as usize] = 0;
    let mut clock = Clock { ticks: Apportion::new(ticks), path, ends: Vec::new() };
    batches(trace, |batch| clock.add(trace, batch, &mut each))?;
    Ok(())
}

struct Clock {
    ticks: Apportion,
    /// The exit path by kind of exit, in ticks.
    path: [u64; ExitKind::ALL.len()],
    /// Where the exits of the batch end.
    ends: Vec<u64>,
}

impl Clock {
    fn add(
        &mut self,
        trace: &Trace,
        batch: &Batch,
        each: &mut impl FnMut(Step) -> Result<(), AnalyzerError>,
    ) -> Result<(), AnalyzerError> {
        self.ends.clear();
        let before = self.ticks.total();
        for (exit, timing) in batch.inputs.exits().zip(&batch.timings) {
            let Some(site) = trace.sites().get(exit.site as usize) else { continue };
            let path = self.path[site.kind as usize].min(timing.guest);
            let moment = Moment {
                exit: exit.index,
                site: exit.site,
                start_ns: self.ticks.total(),
                guest_ns: self.ticks.next((timing.guest - path).into()),
                path_ns: self.ticks.next(path.into()),
                vmm_ns: self.ticks.next(timing.vmm.into()),
            };
            self.ends.push(moment.end_ns());
            each(Step::Exit(moment))?;
        }
        for (exit, event) in batch.inputs.events() {
            let vector = match event {
                Event::Interrupt { vector } => Some(vector),
                Event::Nmi => None,
                _ => continue,
            };
            // Events at the head of a chunk follow the last exit of the chunk before.
            let place = exit.checked_sub(batch.inputs.first_exit).map(|i| i as usize);
            let at_ns = match place {
                None => Some(before),
                Some(i) => self.ends.get(i).copied(),
            };
            if let Some(at_ns) = at_ns {
                each(Step::Interrupt { at_ns, vector })?;
            }
        }
        Ok(())
    }
}
