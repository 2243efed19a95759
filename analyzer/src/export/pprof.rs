//! pprof (google/pprof, proto/profile.proto): a sample per site, with its exits and the parts of its cost.

use super::profile::Source;
use super::proto::Message;
use crate::cells::Cells;
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
/// What a viewer shows first.
const DEFAULT: &str = "cost";

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
    let mut functions = BTreeMap::new();
    let mut locations = Vec::new();
    let cells = Cells(source.report.table());
    for row in 0..source.report.table().height() {
        let Some(label) = cells.u32("site", row).and_then(|s| source.labels.get(s as usize)) else {
            continue;
        };
        let line = cells.str("source_line", row).unwrap_or_default();
        // The leaf comes first; only the function has a source line.
        let frames = [(&label.target, ""), (&label.instruction, ""), (&label.function, line)];
        let address = cells.u64("instruction_address", row).unwrap_or(0);
        let stack = frames.map(|(name, line)| {
            let next = functions.len() as u64 + 1;
            let function = *functions.entry((name.clone(), line.to_owned())).or_insert(next);
            locations.push((
                function,
                address,
                line.rsplit_once(':').and_then(|(_, n)| n.parse().ok()).unwrap_or(0),
            ));
            locations.len() as u64
        });
        let sample = Message::default().numbers(1, stack).numbers(2, values(cells, row));
        profile = profile.message(2, &sample);
    }
    for (id, (function, address, line)) in (1..).zip(locations) {
        let line = Message::default().number(1, function).number(2, line);
        profile = profile.message(4, &Message::default().number(1, id).number(3, address).message(4, &line));
    }
    for ((name, line), id) in functions {
        let file = line.rsplit_once(':').map_or("", |(file, _)| file);
        let function = Message::default().number(1, id).number(2, texts.of(&name)).number(4, texts.of(file));
        profile = profile.message(5, &function);
    }
    let default = texts.of(DEFAULT);
    let duration = source.report.totals().total_ns;
    let profile = profile.number(10, duration).number(14, default);
    texts.in_order().into_iter().fold(profile, |profile, text| profile.text(6, text))
}

/// VMM time of a HLT is idleness, and of anything else cost.
fn values(cells: Cells<'_>, row: usize) -> [u64; VALUES.len()] {
    let idle = cells.bool("idle", row) == Some(true);
    VALUES.map(|(kind, _, column)| match (kind, idle) {
        ("idle", false) | ("vmm", true) => 0,
        _ => cells.u64(column, row).unwrap_or(0),
    })
}
