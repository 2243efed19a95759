//! One row per exit, as many at a time as memory is to hold.

use super::sites::sites;
use crate::error::AnalyzerError;
use crate::stacks::Stacks;
use crate::stream::{Batch, batches_while};
use crate::symbols::Symbols;
use crate::tally::scalar;
use crate::ticks::{Apportion, Ticks};
use polars::prelude::{Column, DataFrame, IdxCa, IdxSize, NamedFrom, NewChunkedArray, PolarsResult, Series};
use std::ops::ControlFlow;
use trapline_formats::{Damage, Event, ExitKind, Site, Timing, Trace};

/// Columns that the site of an exit tells.
const OF_SITE: [&str; 13] = [
    "kind",
    "space",
    "address",
    "size",
    "instruction_address",
    "symbol",
    "symbol_offset",
    "disassembly",
    "mode",
    "cpl",
    "device",
    "register",
    "is_input",
];

/// Gives all exits to `each`, in frames of `rows` rows or a few thousand more, as long as it wants more. There is always
/// a first frame, for its columns. Returns what is wrong with the tail of the trace: the rows end before it.
pub fn exits(
    trace: &Trace,
    symbols: &Symbols,
    rows: usize,
    each: &mut dyn FnMut(DataFrame) -> Result<ControlFlow<()>, AnalyzerError>,
) -> Result<Option<Damage>, AnalyzerError> {
    let sites = sites(trace, symbols)?.select(OF_SITE).map_err(AnalyzerError::table("describe the sites"))?;
    let mut waiting = Rows::new(trace, symbols.stacks().is_some());
    let mut wanted = ControlFlow::Continue(());
    let mut is_first = true;
    let mut give = |waiting: &mut Rows| {
        each(waiting.take(&sites).map_err(AnalyzerError::table("build the table of exits"))?)
    };
    let cut = batches_while(trace, |batch| {
        waiting.events_before(batch);
        if waiting.len() >= rows {
            wanted = give(&mut waiting)?;
            is_first = false;
        }
        waiting.add(batch, trace.sites(), symbols.stacks());
        Ok(wanted)
    })?;
    if wanted.is_continue() && (waiting.len() > 0 || is_first) {
        // Nothing comes after it, wanted or not.
        let _ = give(&mut waiting)?;
    }
    Ok(cut.inputs.or_else(|| trace.damage().cloned()))
}

/// Rows that wait to be taken.
struct Rows {
    exit: Vec<u64>,
    site: Vec<IdxSize>,
    /// The call stacks, where they are known.
    stack: Option<Vec<Option<u32>>>,
    value: Vec<Option<u64>>,
    data_bytes: Vec<u32>,
    fault: Vec<bool>,
    start_ns: Vec<Option<u64>>,
    guest_ns: Vec<Option<u64>>,
    vmm_ns: Vec<Option<u64>>,
    interrupt: Vec<Option<u8>>,
    nmi: Vec<bool>,
    clock: Option<Apportion>,
}

impl Rows {
    fn new(trace: &Trace, has_stacks: bool) -> Self {
        Self {
            exit: Vec::new(),
            site: Vec::new(),
            stack: has_stacks.then(Vec::new),
            value: Vec::new(),
            data_bytes: Vec::new(),
            fault: Vec::new(),
            start_ns: Vec::new(),
            guest_ns: Vec::new(),
            vmm_ns: Vec::new(),
            interrupt: Vec::new(),
            nmi: Vec::new(),
            clock: Ticks::new(trace.header().tick_hz).map(Apportion::new),
        }
    }

    fn len(&self) -> usize {
        self.exit.len()
    }

    /// Events at the head of a chunk follow the last exit of the chunk before.
    fn events_before(&mut self, batch: &Batch) {
        let first = batch.inputs.first_exit;
        batch
            .inputs
            .events()
            .take_while(|&(exit, _)| exit < first)
            .for_each(|(exit, event)| self.event(exit, event));
    }

    fn add(&mut self, batch: &Batch, sites: &[Site], stacks: Option<&Stacks>) {
        let mut timings = batch.timings.iter();
        for exit in batch.inputs.exits() {
            let Some(site) = sites.get(exit.site as usize) else { continue };
            let is_scalar =
                site.kind.has_data() && !site.rep && !(exit.fault && site.kind == ExitKind::MsrRead);
            self.exit.push(exit.index);
            self.site.push(exit.site);
            if let Some((column, stacks)) = self.stack.as_mut().zip(stacks) {
                column.push(stacks.of(exit.index));
            }
            self.value.push(is_scalar.then(|| scalar(exit.data)));
            self.data_bytes.push(exit.data.len() as u32);
            self.fault.push(exit.fault);
            self.interrupt.push(None);
            self.nmi.push(false);
            self.time(timings.next());
        }
        let first = batch.inputs.first_exit;
        batch
            .inputs
            .events()
            .filter(|&(exit, _)| exit >= first)
            .for_each(|(exit, event)| self.event(exit, event));
    }

    /// Times are differences of converted running totals, so that they add up: start + guest + VMM is the next start.
    fn time(&mut self, timing: Option<&Timing>) {
        let converted = self.clock.as_mut().zip(timing).map(|(clock, timing)| {
            (clock.total(), clock.next(timing.guest.into()), clock.next(timing.vmm.into()))
        });
        self.start_ns.push(converted.map(|c| c.0));
        self.guest_ns.push(converted.map(|c| c.1));
        self.vmm_ns.push(converted.map(|c| c.2));
    }

    fn event(&mut self, exit: u64, event: &Event) {
        let Some(row) = self.exit.first().and_then(|first| usize::try_from(exit.checked_sub(*first)?).ok())
        else {
            return;
        };
        match event {
            Event::Interrupt { vector } => {
                if let Some(interrupt) = self.interrupt.get_mut(row) {
                    *interrupt = Some(*vector);
                }
            }
            Event::Nmi => {
                if let Some(nmi) = self.nmi.get_mut(row) {
                    *nmi = true;
                }
            }
            Event::WindowRequested
            | Event::WindowCancelled
            | Event::Checkpoint
            | Event::TaskPriority { .. }
            | Event::MemoryWrite { .. }
            | Event::Jump { .. }
            | Event::FileRead { .. }
            | Event::Keyframe { .. } => {}
        }
    }

    /// The rows as a data frame.
    fn take(&mut self, sites: &DataFrame) -> PolarsResult<DataFrame> {
        let height = self.exit.len();
        let numbers = std::mem::take(&mut self.site);
        let mut of_site = sites.take(&IdxCa::from_slice("site".into(), &numbers))?.into_columns();
        let is_input = of_site.pop();
        let mut columns: Vec<Column> = vec![
            Series::new("exit".into(), std::mem::take(&mut self.exit)).into(),
            Series::new("site".into(), numbers).into(),
        ];
        columns.append(&mut of_site);
        columns.push(Series::new("value".into(), std::mem::take(&mut self.value)).into());
        columns.push(Series::new("data_bytes".into(), std::mem::take(&mut self.data_bytes)).into());
        columns.extend(is_input);
        columns.push(Series::new("fault".into(), std::mem::take(&mut self.fault)).into());
        columns.push(Series::new("start_ns".into(), std::mem::take(&mut self.start_ns)).into());
        columns.push(Series::new("guest_ns".into(), std::mem::take(&mut self.guest_ns)).into());
        columns.push(Series::new("vmm_ns".into(), std::mem::take(&mut self.vmm_ns)).into());
        columns.push(Series::new("interrupt".into(), std::mem::take(&mut self.interrupt)).into());
        columns.push(Series::new("nmi".into(), std::mem::take(&mut self.nmi)).into());
        if let Some(stacks) = &mut self.stack {
            columns.push(Series::new("stack".into(), std::mem::take(stacks)).into());
        }
        DataFrame::new(height, columns)
    }
}
