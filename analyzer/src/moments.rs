//! The exits of a trace in time.

use crate::error::AnalyzerError;
use crate::pricing::Pricing;
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
    /// Of the VMM time, what recording added; none of HLT.
    pub(crate) recorder_ns: u64,
}

impl Moment {
    /// What it cost; of HLT, waiting.
    pub(crate) fn cost_ns(&self) -> u64 {
        (self.path_ns + self.vmm_ns).saturating_sub(self.recorder_ns)
    }

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
    pricing: &Pricing,
    mut each: impl FnMut(Step) -> Result<(), AnalyzerError>,
) -> Result<(), AnalyzerError> {
    let Some(ticks) = Ticks::new(trace.header().tick_hz) else { return Ok(()) };
    let mut clock =
        Clock { ticks: Apportion::new(ticks), recorder: Apportion::new(ticks), pricing, ends: Vec::new() };
    batches(trace, |batch| clock.add(trace, batch, &mut each))?;
    Ok(())
}

struct Clock<'a> {
    ticks: Apportion,
    recorder: Apportion,
    pricing: &'a Pricing,
    /// Where the exits of the batch end.
    ends: Vec<u64>,
}

impl Clock<'_> {
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
            let is_idle = site.kind == ExitKind::Halt;
            let path = if is_idle { 0 } else { self.pricing.path(site.kind).ticks.min(timing.guest) };
            let recorder = if is_idle { 0 } else { self.pricing.recorder.min(timing.vmm) };
            let moment = Moment {
                exit: exit.index,
                site: exit.site,
                start_ns: self.ticks.total(),
                guest_ns: self.ticks.next((timing.guest - path).into()),
                path_ns: self.ticks.next(path.into()),
                vmm_ns: self.ticks.next(timing.vmm.into()),
                recorder_ns: self.recorder.next(recorder.into()),
            };
            self.ends.push(moment.end_ns());
            each(Step::Exit(moment))?;
        }
        for (exit, event) in batch.inputs.events() {
            let vector = match event {
                Event::Interrupt { vector } => Some(*vector),
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
