//! The report for programs.

use crate::by::By;
use crate::cells::Cells;
use crate::error::AnalyzerError;
use crate::histograms::Step;
use crate::names::space_name;
use crate::report::Report;
use crate::schema::{REPORT, SCHEMA_VERSION};
use crate::stack_costs::StackCost;
use crate::stacks::{Caller, Stacks};
use crate::suggestions::Suggestion;
use crate::ticks::Ticks;
use crate::totals::Totals;
use polars::prelude::{AnyValue, Column, DataFrame};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use trapline_formats::{ClockMode, Estimate, ExitKind, printable};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    schema_version: u32,
    by: &'static str,
    whole: bool,
    trace: TraceFacts,
    end: Option<EndFacts>,
    damage: Option<DamageFacts>,
    timing_damage: Option<DamageFacts>,
    totals: &'a Totals,
    symbol_sources: &'a [String],
    path_floors: Vec<FloorFacts>,
    paths: Vec<PathFacts>,
    prices: Option<ListSummary<'a>>,
    suggestions: &'a [Suggestion],
    stacks: Option<Vec<StackFacts>>,
    histograms: Option<Vec<HistogramFacts>>,
    unclaimed: Vec<UnclaimedFacts>,
    unclosed: Vec<UnclosedFacts>,
    rows_in_all: usize,
    groups_that_share_a_row: u64,
    rows: Rows,
}

#[derive(Serialize)]
struct TraceFacts {
    path: String,
    bytes: u64,
    recorder: String,
    engine: String,
    kernel: String,
    cpu_vendor: String,
    cpu_brand: String,
    cpu_signature: u32,
    microcode: u32,
    clock: &'static str,
    entry: String,
    tick_hz: u64,
    tick_source: String,
    files: Vec<FileFacts>,
}

#[derive(Serialize)]
struct FileFacts {
    role: String,
    name: String,
    bytes: u64,
    xxh3: String,
}

#[derive(Serialize)]
struct EndFacts {
    reason: &'static str,
    text: String,
    exits: u64,
}

#[derive(Serialize)]
struct DamageFacts {
    offset: u64,
    reason: String,
}

#[derive(Serialize)]
struct FloorFacts {
    kind: &'static str,
    ns: Option<f64>,
    samples: u64,
    own_kind: bool,
}

#[derive(Serialize)]
struct PathFacts {
    kind: &'static str,
    source: &'static str,
    ns: f64,
    low_ns: Option<f64>,
    high_ns: Option<f64>,
}

#[derive(Serialize)]
struct ListSummary<'a> {
    made: String,
    rounds: u32,
    recorder_ns: Option<&'a Estimate>,
}

#[derive(Serialize)]
struct StackFacts {
    site: u32,
    stack: Option<u32>,
    idle: bool,
    count: u64,
    vmm_ns: u64,
    path_ns: u64,
    cost_ns: u64,
    callers: Vec<CallerFacts>,
}

#[derive(Serialize)]
struct CallerFacts {
    address: String,
    symbol: Option<String>,
    symbol_offset: Option<String>,
    source_line: Option<String>,
    method: &'static str,
}

impl CallerFacts {
    fn of(caller: &Caller) -> Self {
        let symbol = caller.symbol.as_ref();
        Self {
            address: format!("{:#x}", caller.address),
            symbol: symbol.map(|s| s.name.clone()),
            symbol_offset: caller.offset().map(|o| format!("{o:#x}")),
            source_line: symbol.and_then(|s| s.line.clone()),
            method: caller.method.name(),
        }
    }
}

/// The histograms of a row.
#[derive(Serialize)]
struct HistogramFacts {
    vmm: Vec<Step>,
    guest: Vec<Step>,
}

#[derive(Serialize)]
struct UnclaimedFacts {
    space: &'static str,
    address: String,
    device: Option<String>,
    register: Option<String>,
    reads: u64,
    writes: u64,
}

#[derive(Serialize)]
struct UnclosedFacts {
    source: String,
    exit: u64,
    evidence: String,
}

fn safe(text: &str) -> String {
    printable(text.as_bytes(), false)
}

impl Report {
    /// The report as JSON, with at most `top` rows of costs. SCHEMA.md describes it.
    pub fn to_json(&self, top: Option<usize>) -> Result<String, AnalyzerError> {
        let damage = |d: &Option<trapline_formats::Damage>| {
            d.as_ref().map(|d| DamageFacts { offset: d.offset, reason: safe(&d.reason) })
        };
        let end = self.end.as_ref();
        let rows = self.rows_as_text(top)?;
        let document = Document {
            schema: REPORT,
            schema_version: SCHEMA_VERSION,
            by: self.by.name(),
            whole: self.is_whole(),
            trace: self.trace_facts(),
            end: end.map(|end| EndFacts {
                reason: end.reason.name(),
                text: safe(&end.reason.to_string()),
                exits: end.exits,
            }),
            damage: damage(&self.damage),
            timing_damage: damage(&self.timing_damage),
            totals: &self.totals,
            symbol_sources: self.symbols.notes(),
            path_floors: self.floor_facts(),
            paths: self.path_facts(),
            prices: self.pricing.list.as_ref().map(|list| ListSummary {
                made: safe(&list.made),
                rounds: list.rounds,
                recorder_ns: list.recorder_ns.as_ref(),
            }),
            suggestions: &self.suggestions,
            stacks: self.symbols.stacks().filter(|_| self.by == By::Site).map(|s| self.stack_facts(s, &rows)),
            histograms: (!self.times.is_empty()).then(|| self.histogram_facts(top)),
            unclaimed: end
                .map_or(Vec::new(), |end| end.unclaimed.iter().map(|u| self.unclaimed_facts(u)).collect()),
            unclosed: end.map_or(Vec::new(), |end| {
                let facts = |u: &trapline_formats::Unclosed| UnclosedFacts {
                    source: safe(&u.source),
                    exit: u.exit,
                    evidence: safe(&u.evidence),
                };
                end.unclosed.iter().map(facts).collect()
            }),
            rows_in_all: self.table.height(),
            groups_that_share_a_row: self.shared.costs + self.shared.idle,
            rows: Rows(rows),
        };
        let mut text = serde_json::to_string_pretty(&document)?;
        text.push('\n');
        Ok(text)
    }

    fn trace_facts(&self) -> TraceFacts {
        let header = &self.header;
        TraceFacts {
            path: safe(&self.path.to_string_lossy()),
            bytes: self.file_bytes,
            recorder: safe(&header.recorder),
            engine: safe(&header.host.engine),
            kernel: safe(&header.host.kernel),
            cpu_vendor: safe(&header.host.cpu_vendor),
            cpu_brand: safe(&header.host.cpu_brand),
            cpu_signature: header.host.cpu_signature,
            microcode: header.host.microcode,
            clock: match header.clock {
                ClockMode::Host => "host",
                ClockMode::Virtual => "virtual",
            },
            entry: safe(&header.entry),
            tick_hz: header.tick_hz,
            tick_source: safe(&header.tick_source),
            files: header
                .files
                .iter()
                .map(|f| FileFacts {
                    role: safe(&f.role),
                    name: safe(&f.name),
                    bytes: f.bytes,
                    xxh3: format!("{:016x}", f.xxh3),
                })
                .collect(),
        }
    }

    fn floor_facts(&self) -> Vec<FloorFacts> {
        let ticks = Ticks::new(self.header.tick_hz);
        let facts = |f: &crate::floor::PathFloor| FloorFacts {
            kind: f.kind.name(),
            ns: ticks.map(|t| t.tenths(f.ticks as f64)),
            samples: f.samples,
            own_kind: f.own,
        };
        self.floors.iter().map(facts).collect()
    }

    /// The prices of what has one.
    fn path_facts(&self) -> Vec<PathFacts> {
        let Some(ticks) = Ticks::new(self.header.tick_hz) else { return Vec::new() };
        let ns = |t: u64| ticks.tenths(t as f64);
        let facts = |path: &crate::pricing::ExitPath| PathFacts {
            kind: path.kind.name(),
            source: path.source.name(),
            ns: ns(path.ticks),
            low_ns: path.interval.map(|i| ns(i[0])),
            high_ns: path.interval.map(|i| ns(i[1])),
        };
        self.pricing.paths.iter().filter(|p| p.occurs && p.kind != ExitKind::Halt).map(facts).collect()
    }

    /// The stacks of the sites in these rows.
    fn stack_facts(&self, stacks: &Stacks, rows: &DataFrame) -> Vec<StackFacts> {
        let sites: BTreeSet<_> = (0..rows.height()).filter_map(|row| Cells(rows).u32("site", row)).collect();
        let facts = |s: &StackCost| StackFacts {
            site: s.site,
            stack: s.stack,
            idle: s.idle,
            count: s.count,
            vmm_ns: s.vmm_ns,
            path_ns: s.path_ns,
            cost_ns: s.cost_ns,
            callers: s.stack.into_iter().flat_map(|n| stacks.callers(n)).map(CallerFacts::of).collect(),
        };
        self.stacks.iter().filter(|s| sites.contains(&s.site)).map(facts).collect()
    }

    /// The histograms of the rows, in their order.
    fn histogram_facts(&self, top: Option<usize>) -> Vec<HistogramFacts> {
        let facts = |(_, times)| {
            let [vmm, guest] = self.row_steps(times);
            HistogramFacts { vmm, guest }
        };
        self.row_times(top).map(facts).collect()
    }

    fn unclaimed_facts(&self, unclaimed: &trapline_formats::Unclaimed) -> UnclaimedFacts {
        let name = self.names.of(unclaimed.space, unclaimed.address);
        UnclaimedFacts {
            space: space_name(unclaimed.space),
            address: format!("{:#x}", unclaimed.address),
            device: name.as_ref().map(|n| n.device.clone().into_owned()),
            register: name.map(|n| n.register.into_owned()).filter(|r| !r.is_empty()),
            reads: unclaimed.reads,
            writes: unclaimed.writes,
        }
    }
}

/// The rows of a table: an array of objects, their keys the columns in their order.
struct Rows(DataFrame);

struct Row<'a>(&'a [Column], usize);

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.0.height()))?;
        for row in 0..self.0.height() {
            rows.serialize_element(&Row(self.0.columns(), row))?;
        }
        rows.end()
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(Some(self.0.len()))?;
        for column in self.0 {
            let name = column.name().as_str();
            match column.get(self.1).map_err(serde::ser::Error::custom)? {
                AnyValue::Null => row.serialize_entry(name, &None::<()>)?,
                AnyValue::Boolean(value) => row.serialize_entry(name, &value)?,
                AnyValue::String(value) => row.serialize_entry(name, value)?,
                // A column of one row owns its text.
                AnyValue::StringOwned(value) => row.serialize_entry(name, value.as_str())?,
                AnyValue::UInt8(value) => row.serialize_entry(name, &value)?,
                AnyValue::UInt32(value) => row.serialize_entry(name, &value)?,
                AnyValue::UInt64(value) => row.serialize_entry(name, &value)?,
                AnyValue::Float64(value) => row.serialize_entry(name, &value)?,
                other => row.serialize_entry(name, &other.to_string())?,
            }
        }
        row.end()
    }
}
