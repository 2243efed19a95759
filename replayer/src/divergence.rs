//! A divergence: where replay and recording part, both sides shown.

use std::fmt;
use trapline_formats::{Difference, Instruction, Site};

/// What differed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The guest exited at another place, or for another reason.
    Site,
    /// The guest wrote other data.
    Data,
    /// Registers differ at the exit.
    Registers,
    /// The complete state differs at a checkpoint.
    State,
    /// Guest memory differs.
    Memory,
    /// The guest cannot take an interrupt where it took one.
    Interrupt,
    /// Completing the instruction led to another exit, where the recording has an event.
    Completion,
    /// The guest made no further exit.
    Silence,
    /// KVM gave up on the guest.
    GaveUp,
}

/// One exit before the divergence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastExit {
    /// Its number.
    pub index: u64,
    /// Its site.
    pub site: Site,
    /// Its data.
    pub data: Vec<u8>,
}

/// The first difference between recording and replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The exit at which it shows.
    pub exit: u64,
    /// What differed.
    pub what: What,
    /// Recorded: site and data.
    pub expected: Option<PastExit>,
    /// Replayed: site and data.
    pub actual: Option<PastExit>,
    /// Registers, state fields or pages that differ, by name.
    pub differences: Vec<Difference>,
    /// In words, what else there is to say.
    pub note: String,
    /// The last exits before it, oldest first.
    pub history: Vec<PastExit>,
    /// Where the replayed guest holds its hardware clock, which nothing in the log lets it read: that it did is certain.
    pub clock: Option<String>,
    /// Instructions whose result the host decides, that make no exit, and that may have been executed since the last of them.
    pub leads: Vec<Instruction>,
}

impl Divergence {
    /// Says one thing more.
    pub(crate) fn add_note(&mut self, note: &str) {
        let separator = if self.note.is_empty() { "" } else { "\n  " };
        self.note = format!("{}{separator}{note}", self.note);
    }
}

/// Differences listed at most.
const LISTED: usize = 24;

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Site => "the guest exited elsewhere",
            Self::Data => "the guest wrote other data",
            Self::Registers => "registers differ",
            Self::State => "the state of the processor differs",
            Self::Memory => "guest memory differs",
            Self::Interrupt => "the guest cannot take the recorded interrupt here",
            Self::Completion => "the instruction made another exit where the recording has an event",
            Self::Silence => "the guest makes no further exit",
            Self::GaveUp => "KVM gave up on the guest",
        })
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "DIVERGENCE at exit {}: {}", self.exit, self.what)?;
        for (title, side) in [("expected", &self.expected), ("actual", &self.actual)] {
            match side {
                Some(exit) => writeln!(f, "  {title:<9} {exit}")?,
                None if title == "actual" && self.expected.is_some() => writeln!(f, "  {title:<9} nothing")?,
                None => {}
            }
        }
        if !self.note.is_empty() {
            writeln!(f, "  {}", self.note)?;
        }
        if !self.differences.is_empty() {
            writeln!(f, "\n  {:<16} {:>20} {:>20}", "differs", "recorded", "replayed")?;
            for d in self.differences.iter().take(LISTED) {
                writeln!(f, "  {:<16} {:>20} {:>20}", d.name, d.expected, d.actual)?;
            }
            if self.differences.len() > LISTED {
                writeln!(f, "  ... and {} more", self.differences.len() - LISTED)?;
            }
        }
        if !self.history.is_empty() {
            writeln!(f, "\n  the exits before it:")?;
            for exit in &self.history {
                writeln!(f, "  {exit}")?;
            }
        }
        if let Some(place) = &self.clock {
            writeln!(
                f,
                "\n  the cause: {place} holds what the hardware clock showed in this replay: an RDTSC that nothing closed"
            )?;
        }
        if !self.leads.is_empty() {
            writeln!(
                f,
                "\n  a possible cause: these stand between it and the exit before, read what the host decides, and make no exit"
            )?;
            for lead in &self.leads {
                writeln!(f, "  {}: {}", lead.address, lead.text())?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for PastExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let site = &self.site;
        write!(f, "#{} {} ", self.index, site.kind.name())?;
        if site.kind.space().is_some() {
            write!(f, "{:#x}/{} ", site.address, site.size)?;
        }
        if site.kind.has_data() {
            // Elements are little-endian: shown as the number they are.
            let shown: Vec<_> = self.data.iter().rev().take(8).map(|b| format!("{b:02x}")).collect();
            let more =
                if self.data.len() > 8 { format!(" ({} bytes)", self.data.len()) } else { String::new() };
            write!(f, "data 0x{}{more} ", shown.concat())?;
        }
        write!(f, "at {}: {}", site.instruction.address, site.instruction.text())
    }
}
