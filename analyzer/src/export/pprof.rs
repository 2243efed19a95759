//! pprof (google/pprof, proto/profile.proto): a sample per site, with its exits and the parts of its cost.

use super::profile::Source;
use super::proto::Message;
use crate::cells::Cells;
use crate::labels::Label;
use crate::stack_costs::StackCost;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::io::Write;

/// Types and units of a sample's values, in their order; columns of the report table.
const VALUES: [(&str, &str, &str); 5] = [
    ("exits", "count", "count"),
    ("vmm", "nanoseconds", "vmm_ns"),
    ("path", "nanoseconds", "path_ns"),
    ("cost", "nanoseconds", "cost_ns"),
    ("idle", "nanoseconds", "vmm_ns"),
];
/// What a viewer shows first; and where the trace has no times.
const DEFAULT: &str = "cost";
const UNTIMED: &str = "exits";

/// Texts by number; the first is empty.
struct Texts(BTreeMap<String, u64>);

impl Texts {
    fn of(&mut self, text: &str) -> u64 {
        let next = self.0.len() as u64;
        *self.0.entry(text.to_owned()).or_insert(next)
    }

    fn in_order(&self) -> Vec<&str> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(_, number)| **number);
        all.into_iter().map(|(text, _)| text.as_str()).collect()
    }
}

pub(super) fn write(source: &Source<'_>, out: &mut impl Write) -> std::io::Result<()> {
    let mut encoder = GzEncoder::new(out, Compression::default());
    encoder.write_all(profile(source).encoded())?;
    encoder.finish().map(|_| ())
}

fn profile(source: &Source<'_>) -> Message {
    let mut texts = Texts(BTreeMap::from([(String::new(), 0)]));
    let mut profile = VALUES.iter().fold(Message::default(), |profile, (kind, unit, _)| {
        profile.message(1, &Message::default().number(1, texts.of(kind)).number(2, texts.of(unit)))
    });
    let mut places = Places::default();
    for sample in samples(source) {
        profile = profile.message(2, &places.sample(source, &sample));
    }
    for ((function, address, line), id) in in_order(places.locations) {
        let line = Message::default().number(1, function).number(2, line);
        profile = profile.message(4, &Message::default().number(1, id).number(3, address).message(4, &line));
    }
    for ((name, file), id) in in_order(places.functions) {
        let function = Message::default().number(1, id).number(2, texts.of(&name)).number(4, texts.of(&file));
        profile = profile.message(5, &function);
    }
    let totals = source.report.totals();
    let default = texts.of(if totals.timed_exits > 0 { DEFAULT } else { UNTIMED });
    let profile = profile.number(10, totals.total_ns).number(14, default);
    texts.in_order().into_iter().fold(profile, |profile, text| profile.text(6, text))
}

/// Exits that share a stack.
struct Sample<'a> {
    label: &'a Label,
    /// The source line of the site.
    line: &'a str,
    address: u64,
    stack: Option<u32>,
    values: [u64; VALUES.len()],
}

/// A sample per site; where call stacks are known, per site and stack.
fn samples<'a>(source: &'a Source<'_>) -> Vec<Sample<'a>> {
    let cells = Cells(source.report.table());
    let mut stacks: BTreeMap<u32, Vec<&StackCost>> = BTreeMap::new();
    for stack in source.report.stacks() {
        stacks.entry(stack.site).or_default().push(stack);
    }
    let mut all = Vec::new();
    for row in 0..source.report.table().height() {
        let site = cells.u32("site", row);
        let label = site.map_or_else(|| source.labels.of_others(), |site| source.labels.of(site));
        let line = cells.str("source_line", row).unwrap_or_default();
        let address = cells.u64("instruction_address", row).unwrap_or(0);
        let of_site = site.and_then(|site| stacks.remove(&site)).unwrap_or_default();
        if of_site.is_empty() {
            all.push(Sample { label, line, address, stack: None, values: values(cells, row) });
        }
        for s in of_site {
            // In the order of `VALUES`.
            let values = if s.idle {
                [s.count, 0, s.path_ns, s.cost_ns, s.vmm_ns]
            } else {
                [s.count, s.vmm_ns, s.path_ns, s.cost_ns, 0]
            };
            all.push(Sample { label, line, address, stack: s.stack, values });
        }
    }
    all
}

/// Functions, by name and file, and places in them, by function, address and line; both with their numbers.
#[derive(Default)]
struct Places {
    functions: BTreeMap<(String, String), u64>,
    locations: BTreeMap<(u64, u64, u64), u64>,
}

impl Places {
    fn sample(&mut self, source: &Source<'_>, sample: &Sample<'_>) -> Message {
        // The leaf comes first; only functions have a source line.
        let Label { function, instruction, target } = sample.label;
        let leaves = [(target, ""), (instruction, ""), (function, sample.line)];
        let mut stack: Vec<_> =
            leaves.iter().map(|(name, line)| self.location(name, sample.address, line)).collect();
        let stacks = source.report.symbols().stacks();
        for caller in stacks.zip(sample.stack).into_iter().flat_map(|(all, stack)| all.callers(stack)) {
            let line = caller.symbol.as_ref().and_then(|s| s.line.as_deref()).unwrap_or_default();
            stack.push(self.location(&caller.function(), caller.address, line));
        }
        Message::default().numbers(1, stack).numbers(2, sample.values)
    }

    fn location(&mut self, name: &str, address: u64, line: &str) -> u64 {
        let (file, number) = line.rsplit_once(':').unwrap_or_default();
        let next = self.functions.len() as u64 + 1;
        let function = *self.functions.entry((name.to_owned(), file.to_owned())).or_insert(next);
        let next = self.locations.len() as u64 + 1;
        *self.locations.entry((function, address, number.parse().unwrap_or(0))).or_insert(next)
    }
}

/// By their numbers.
fn in_order<K>(numbered: BTreeMap<K, u64>) -> Vec<(K, u64)> {
    let mut all: Vec<_> = numbered.into_iter().collect();
    all.sort_by_key(|(_, number)| *number);
    all
}

/// VMM time of a HLT is idleness, and of anything else cost.
fn values(cells: Cells<'_>, row: usize) -> [u64; VALUES.len()] {
    let idle = cells.bool("idle", row) == Some(true);
    VALUES.map(|(kind, _, column)| match (kind, idle) {
        ("idle", false) | ("vmm", true) => 0,
        _ => cells.u64(column, row).unwrap_or(0),
    })
}
