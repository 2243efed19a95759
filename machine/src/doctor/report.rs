//! What the doctor says: the types of its report, which are also its JSON.
//!
//! Field names and ids are stable: within one [`SCHEMA_VERSION`] they are only added.

use super::trouble::Trouble;
use serde::{Deserialize, Serialize};

/// Version of the JSON form.
pub const SCHEMA_VERSION: u32 = 1;

/// The whole examination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// Whether Trapline can record here at all.
    pub usable: bool,
    /// What stands in the way, where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// What all of it means, in a few lines.
    pub summary: Vec<String>,
    /// Facts, in groups.
    pub groups: Vec<Group>,
    /// KVM's capabilities that matter.
    pub capabilities: Vec<Capability>,
    /// What exits cost.
    pub costs: Vec<Cost>,
    /// What becomes of instructions that KVM may have to emulate.
    pub instructions: Vec<InstructionFate>,
}

impl Report {
    /// The report on a host where nothing can be recorded.
    pub fn unusable(trouble: Trouble) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            usable: false,
            summary: vec![format!("Trapline cannot record here: {}.", trouble.what)],
            trouble: Some(trouble),
            groups: Vec::new(),
            capabilities: Vec::new(),
            costs: Vec::new(),
            instructions: Vec::new(),
        }
    }

    /// A finding by its id.
    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.groups.iter().flat_map(|g| &g.findings).find(|f| f.id == id)
    }
}

/// Findings about one matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Kebab-case name.
    pub id: String,
    /// For people.
    pub title: String,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What a fact means for recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As recording wants it.
    Good,
    /// Takes something away; [`Finding::meaning`] says what.
    LimitsRecording,
    /// Good to know.
    Informational,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Kebab-case name.
    pub id: String,
    /// What was looked at.
    pub title: String,
    /// What was found, in words.
    pub value: String,
    /// Whether that is good.
    pub verdict: Verdict,
    /// What it means for recording here; empty where the value says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub meaning: String,
}

/// One capability of KVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// By its name in the KVM API.
    pub name: String,
    /// What KVM_CHECK_EXTENSION returns.
    pub value: i64,
    /// What it is for.
    pub purpose: String,
    /// Good where it is there, limiting where it is missed, informational where Trapline does without.
    pub verdict: Verdict,
}

/// What one kind of exit costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Kebab-case name.
    pub id: String,
    /// For people.
    pub title: String,
    /// Nanoseconds, from `ticks` and the frequency of the time stamp counter.
    pub ns: Spread,
    /// Ticks of the host's time stamp counter (RDTSC).
    pub ticks: Spread,
    /// How many were measured.
    pub rounds: u32,
}

/// Median and the range of the middle 80 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// One in ten is below.
    pub p10: f64,
    /// Half are below.
    pub median: f64,
    /// One in ten is above.
    pub p90: f64,
}

impl Spread {
    /// The spread of some samples; zeros where there are none.
    pub(super) fn of(samples: &mut [f64]) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| round(samples.get(samples.len() * percent / 100).copied().unwrap_or(0.0));
        Self { p10: at(10), median: at(50), p90: at(90) }
    }

    pub(super) fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { p10: round(f(self.p10)), median: round(f(self.median)), p90: round(f(self.p90)) }
    }
}

/// To a tenth: more digits mean nothing, and few digits survive JSON exactly.
fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

/// What becomes of one instruction, in each mode it was tried in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionFate {
    /// Kebab-case name.
    pub id: String,
    /// In assembly.
    pub instruction: String,
    /// Mode by mode.
    pub fates: Vec<ModeFate>,
    /// Limiting where KVM cannot finish it in some mode.
    pub verdict: Verdict,
}

/// What becomes of an instruction in one mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeFate {
    /// `16-bit`, `32-bit`, `64-bit`, all at CPL 0, or `user`: 64-bit at CPL 3.
    pub mode: String,
    /// What happened.
    pub fate: Fate,
    /// In words.
    pub detail: String,
}

/// What becomes of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It does what it is meant to do.
    Executes,
    /// It raises an exception in the guest that a processor would not.
    Exception,
    /// KVM gives up on it, and so does Trapline.
    EmulationFailure,
    /// KVM gives up on it, and Trapline finishes it.
    Finished,
    /// KVM_RUN does not come back until it is kicked.
    Hangs,
    /// Something else.
    Other,
    /// This host does not offer it to guests.
    NotOffered,
}
