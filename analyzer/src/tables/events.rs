//! One row per event: what the host did to the guest between two exits.

use super::clock::Clock;
use super::{Table, categories, column};
use crate::error::AnalyzerError;
use crate::stream::damage;
use polars::prelude::DataFrame;
use trapline_formats::{Event, Trace};

/// The interrupts, and whatever else the host did to the guest, in order.
pub fn events(trace: &Trace) -> Result<Table, AnalyzerError> {
    let mut events = Vec::new();
    let mut cut = None;
    for chunk in trace.inputs() {
        match chunk {
            Ok(chunk) => events.extend(chunk.events()),
            Err(error) => {
                cut = Some(damage(error)?);
                break;
            }
        }
    }
    Ok(Table { frame: frame(trace, &events)?, damage: cut.or_else(|| trace.damage().cloned()) })
}

fn frame(trace: &Trace, events: &[(u64, Event)]) -> Result<DataFrame, AnalyzerError> {
    let mut clock = Clock::new(trace);
    let times = events
        .iter()
        .map(|(exit, _)| clock.start_of(exit.saturating_add(1)))
        .collect::<Result<Vec<_>, _>>()?;
    let facts: Vec<_> = events.iter().map(|&(_, event)| Facts::of(event)).collect();
    let names: Vec<_> = events.iter().map(|(_, event)| Some(event.name())).collect();
    let built = categories("event", &names).and_then(|names| {
        let columns = vec![
            column("exit", events.iter().map(|(exit, _)| *exit).collect()),
            column("at_ns", times),
            names,
            column("vector", facts.iter().map(|f| f.vector).collect()),
            column("address", facts.iter().map(|f| f.address).collect()),
            column("size", facts.iter().map(|f| f.size).collect()),
            column("value", facts.iter().map(|f| f.value).collect()),
        ];
        DataFrame::new(events.len(), columns)
    });
    built.map_err(AnalyzerError::table("build the table of events"))
}

/// What an event is about.
#[derive(Debug, Default)]
struct Facts {
    vector: Option<u8>,
    address: Option<u64>,
    size: Option<u8>,
    value: Option<u64>,
}

impl Facts {
    fn of(event: Event) -> Self {
        let none = Self::default();
        match event {
            Event::Interrupt { vector } => Self { vector: Some(vector), ..none },
            Event::TaskPriority { cr8 } => Self { value: Some(cr8.into()), ..none },
            Event::MemoryWrite { gpa, size, value } => {
                Self { address: Some(gpa), size: Some(size), value: Some(value), ..none }
            }
            Event::Jump { rip } => Self { address: Some(rip), ..none },
            Event::Nmi | Event::WindowRequested | Event::WindowCancelled | Event::Checkpoint => none,
        }
    }
}
