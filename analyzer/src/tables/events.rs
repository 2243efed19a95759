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
            Ok(chunk) => events.extend(chunk.events().map(|(exit, event)| Row::of(exit, event))),
            Err(error) => {
                cut = Some(damage(error)?);
                break;
            }
        }
    }
    Ok(Table { frame: frame(trace, &events)?, damage: cut.or_else(|| trace.damage().cloned()) })
}

fn frame(trace: &Trace, rows: &[Row]) -> Result<DataFrame, AnalyzerError> {
    let mut clock = Clock::new(trace);
    let times =
        rows.iter().map(|r| clock.start_of(r.exit.saturating_add(1))).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<_> = rows.iter().map(|r| Some(r.name)).collect();
    let built = categories("event", &names).and_then(|names| {
        let columns = vec![
            column("exit", rows.iter().map(|r| r.exit).collect()),
            column("at_ns", times),
            names,
            column("vector", rows.iter().map(|r| r.vector).collect()),
            column("address", rows.iter().map(|r| r.address).collect()),
            column("size", rows.iter().map(|r| r.size).collect()),
            column("value", rows.iter().map(|r| r.value).collect()),
        ];
        DataFrame::new(rows.len(), columns)
    });
    built.map_err(AnalyzerError::table("build the table of events"))
}

/// An event, and what it is about.
#[derive(Debug, Default)]
struct Row {
    exit: u64,
    name: &'static str,
    vector: Option<u8>,
    address: Option<u64>,
    size: Option<u32>,
    value: Option<u64>,
}

impl Row {
    fn of(exit: u64, event: &Event) -> Self {
        let plain = Self { exit, name: event.name(), ..Self::default() };
        match event {
            Event::Interrupt { vector } => Self { vector: Some(*vector), ..plain },
            Event::TaskPriority { cr8 } => Self { value: Some((*cr8).into()), ..plain },
            Event::MemoryWrite { gpa, bytes } => {
                let value =
                    (bytes.len() <= 8).then(|| bytes.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b)));
                Self { address: Some(*gpa), size: Some(bytes.len() as u32), value, ..plain }
            }
            Event::FileRead { gpa, length, .. } => Self { address: Some(*gpa), size: Some(*length), ..plain },
            Event::Keyframe { number, .. } => Self { value: Some((*number).into()), ..plain },
            Event::Jump { rip } => Self { address: Some(*rip), ..plain },
            Event::Nmi | Event::WindowRequested | Event::WindowCancelled | Event::Checkpoint => plain,
        }
    }
}
