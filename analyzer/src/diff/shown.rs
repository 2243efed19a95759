//! Exits and sites as a reader of a comparison sees them. All of it is printable.

use super::exits::View;
use super::facts::Fact;
use super::safe;
use crate::disassembly::hex;
use crate::labels::Labeler;
use serde::Serialize;
use trapline_formats::digests::{self, COMPARED, Compared};
use trapline_formats::{Event, Site};

/// A site, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiteFacts {
    /// What it does: `port-read` …
    pub kind: &'static str,
    /// Port, guest-physical address or MSR, in hexadecimal; null for kinds without.
    pub address: Option<String>,
    /// Bytes of one element.
    pub size: u8,
    /// Where the instruction stands, in hexadecimal.
    pub instruction_address: String,
    /// The instruction, with the function that it stands in or its address.
    pub instruction: String,
    /// What it does to which device.
    pub target: String,
}

impl SiteFacts {
    pub(super) fn of(labeler: &Labeler<'_>, id: u32, site: &Site) -> Self {
        let label = labeler.of(id, site);
        Self {
            kind: site.kind.name(),
            address: site.kind.space().map(|_| format!("{:#x}", site.address)),
            size: site.size,
            instruction_address: format!("{:#x}", site.instruction.address.0),
            instruction: label.instruction,
            target: label.target,
        }
    }
}

/// An exit, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownExit {
    /// Its number in its own trace.
    pub exit: u64,
    /// Its site.
    pub site: SiteFacts,
    /// Its data in hexadecimal, in the order of memory, at most 64 bytes of it; null where the kind has none.
    pub data: Option<String>,
    /// Bytes of data.
    pub data_bytes: usize,
    /// Whether the access raised #GP.
    pub fault: bool,
    /// What the host did after it.
    pub events: Vec<String>,
}

/// Bytes of data that are shown.
const SHOWN: usize = 64;
/// Characters of an event that are shown.
const LONG: usize = 100;

impl ShownExit {
    pub(super) fn of(view: &View<'_>, site: &Site, facts: SiteFacts) -> Self {
        Self {
            exit: view.index,
            site: facts,
            data: site.kind.has_data().then(|| hex(&view.data[..view.data.len().min(SHOWN)])),
            data_bytes: view.data.len(),
            fault: view.fault,
            events: view.events.iter().map(|(_, event)| describe(event)).collect(),
        }
    }
}

/// An event in words.
fn describe(event: &Event) -> String {
    match event {
        Event::Interrupt { vector } => format!("interrupt, vector {vector:#x}"),
        Event::TaskPriority { cr8 } => format!("task-priority, CR8 {cr8}"),
        Event::MemoryWrite { gpa, bytes } => {
            let dots = if bytes.len() > 16 { "…" } else { "" };
            format!(
                "memory-write at {gpa:#x}, {} bytes: {}{dots}",
                bytes.len(),
                hex(&bytes[..bytes.len().min(16)])
            )
        }
        Event::FileRead { gpa, file, offset, length, .. } => {
            format!("file-read at {gpa:#x}, {length} bytes: file {file} from {offset:#x} on")
        }
        Event::Jump { rip } => format!("jump to {rip:#x}"),
        other => safe(format!("{other:?}").chars().take(LONG).collect::<String>()),
    }
}

/// The registers that differ.
pub(super) fn registers(a: &Compared, b: &Compared) -> Vec<Fact> {
    (0..COMPARED)
        .filter(|&r| a[r] != b[r])
        .map(|r| Fact::new(digests::name(r), format!("{:#x}", a[r]), format!("{:#x}", b[r])))
        .collect()
}
