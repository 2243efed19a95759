//! Two recordings, exit by exit: where they part first, and what else differs.
//!
//! The dictionaries of two traces number sites differently; here a site is its instruction, the address of it, and what it does to
//! which address. Exits are aligned by site and order, in memory that does not grow with the recordings.

mod align;
mod dictionary;
mod exits;
mod facts;
mod first;
mod shown;
mod sites;
mod tally;
mod walk;

use crate::error::AnalyzerError;
use crate::labels::Labeler;
use crate::names::Names;
use crate::pci::ConfigAccesses;
use crate::schema::{DIFF, SCHEMA_VERSION};
use crate::symbols::Symbols;
use align::Side;
use dictionary::Dictionary;
use exits::Exits;
pub use facts::{Fact, Start};
use first::Finder;
pub use first::{ConsolePosition, First};
use serde::Serialize;
pub use shown::{ShownExit, SiteFacts};
pub use sites::SiteDifference;
use trapline_formats::{ClockMode, Damage, PriceList, Trace, printable};
pub use walk::ExitCounts;
use walk::Walk;

/// What one of the two traces is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// Its file name.
    pub name: String,
    /// Exits that can be read.
    pub exits: u64,
    /// How it ended, in words.
    pub ended: String,
    /// What moved the time of its devices: `host` or `virtual`.
    pub clock: &'static str,
    /// Whether it goes on behind its last exit, as far as one can know: host time ended it, or its end is missing.
    pub is_cut: bool,
    /// What is wrong with its tail.
    pub damage: Option<DamageFacts>,
}

/// Where a trace stops being readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamageFacts {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

/// A stretch of exits without their like in the other trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Exits of the first trace: the first, and the one behind the last.
    pub a: [u64; 2],
    /// Exits of the second.
    pub b: [u64; 2],
    /// Iterations of a loop that these exits are; null where they are none.
    pub iterations: Option<u64>,
    /// The sites of one iteration, or of the first few of these exits.
    pub sites: Vec<SiteFacts>,
}

/// A loop that ran longer on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoopDifference {
    /// Places at which it did.
    pub places: u64,
    /// Iterations more in the first trace.
    pub more_in_a: u64,
    /// Iterations more in the second.
    pub more_in_b: u64,
    /// The sites of one iteration.
    pub sites: Vec<SiteFacts>,
}

/// What differs between two recordings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    schema: &'static str,
    schema_version: u32,
    /// Whether anything differs but headers.
    pub different: bool,
    /// The two traces.
    pub traces: [Recorded; 2],
    /// What their headers say differently: host, clock, files, memory, CPUID … None of it alone makes two recordings different.
    pub headers: Vec<Fact>,
    /// How the guests differed before their first exits.
    pub start: Start,
    /// The first difference.
    pub first: Option<First>,
    /// How many exits are equal, and how many are not.
    pub exits: ExitCounts,
    /// Whether they ended for the same reason; null where a cut leaves it open.
    pub same_end: Option<bool>,
    /// Loops that ran longer on one side, the largest differences first.
    pub loops: Vec<LoopDifference>,
    /// Places at which they part, in order; the first thousand.
    pub places: Vec<Place>,
    /// Places in all.
    pub places_in_all: u64,
    /// Whether the times of the two can be compared: they are of one host.
    pub one_host: bool,
    /// Sites whose exits differ, the largest differences first.
    pub sites: Vec<SiteDifference>,
}

/// Pages of memory that are named.
const FEW_PAGES: usize = 8;
/// Loops that are told at most.
const LOOPS: usize = 1000;

/// How exits are named and priced.
#[derive(Debug, Clone, Copy)]
pub struct DiffOptions<'o> {
    /// Names for the functions of each trace.
    pub symbols: [&'o Symbols; 2],
    /// Price lists of the hosts of each trace.
    pub prices: [Option<&'o PriceList>; 2],
}

impl Diff {
    /// Compares two traces. `progress` is told now and then how many exits are behind.
    pub fn of(
        a: &Trace,
        b: &Trace,
        options: DiffOptions<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, AnalyzerError> {
        let traces = [a, b];
        let start = Start::of(a, b)?;
        let dictionary = Dictionary::new(traces, options.symbols);
        let names = traces.map(|trace| Names::new(&trace.header().names));
        let pci = ConfigAccesses::default();
        let labelers = [0, 1].map(|i| Labeler::new(traces[i], &names[i], options.symbols[i], &pci));
        let describe = |side: Side, number: u32| {
            let site = traces[side as usize].sites().get(number as usize)?;
            Some(SiteFacts::of(&labelers[side as usize], number, site))
        };
        let common = |site: &u32| dictionary.owner(*site).and_then(|(side, number)| describe(side, number));
        std::thread::scope(|scope| {
            let exits = traces.map(|trace| Exits::start(scope, trace));
            let cut = traces.map(is_cut);
            let mut finder = Finder::new(traces, &describe);
            let mut walk = Walk::new(traces, &dictionary, exits, cut, &mut finder, progress);
            align::align(&mut walk)?;
            walk.finish();
            let counts = walk.counts;
            let damage = walk.exits.each_ref().map(|exits| exits.damage.clone());
            let one_host = is_one_host(traces);
            let sites = sites::differences(&walk, traces, options.prices, one_host, &common);
            let facts = |sites: &[u32]| sites.iter().filter_map(common).collect::<Vec<_>>();
            let places = walk.places.iter().map(|place| place_facts(place, &facts)).collect();
            let mut loops: Vec<_> = walk.loops.iter().collect();
            loops.sort_by_key(|(sites, (_, more))| (std::cmp::Reverse(more[0] + more[1]), *sites));
            let loops = loops.into_iter().take(LOOPS).map(|(sites, (places, more))| {
                let [more_in_a, more_in_b] = more.map(|exits| exits / sites.len().max(1) as u64);
                LoopDifference { places: *places, more_in_a, more_in_b, sites: facts(sites) }
            });
            let loops = loops.collect();
            let places_in_all = walk.places_in_all;
            let first = finder.into_first().filter(|_| !counts.is_same());
            let same_end = same_end(traces, &damage);
            Ok(Self {
                schema: DIFF,
                schema_version: SCHEMA_VERSION,
                different: !counts.is_same() || !start.is_same() || same_end == Some(false),
                traces: [0, 1].map(|i| recorded(traces[i], &counts, i, damage[i].as_ref())),
                headers: facts::headers(a.header(), b.header()),
                start,
                first,
                exits: counts,
                same_end,
                loops,
                places,
                places_in_all,
                one_host,
                sites,
            })
        })
    }

    /// Whether one of them cannot be read to its end.
    pub fn is_damaged(&self) -> bool {
        self.traces.iter().any(|trace| trace.damage.is_some())
    }

    /// The comparison as JSON. SCHEMA.md describes it.
    pub fn to_json(&self) -> Result<String, AnalyzerError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// Whether what follows the last exit is unknown.
fn is_cut(trace: &Trace) -> bool {
    trace.damage().is_some() || trace.end().is_none_or(|end| end.reason.is_by_host_time())
}

fn is_one_host(traces: [&Trace; 2]) -> bool {
    let [a, b] = traces.map(Trace::header);
    a.host == b.host && a.tick_hz != 0 && b.tick_hz != 0
}

/// Whether they ended alike, where both were left to end by themselves.
fn same_end(traces: [&Trace; 2], damage: &[Option<Damage>; 2]) -> Option<bool> {
    if damage.iter().any(Option::is_some) || traces.iter().any(|trace| is_cut(trace)) {
        return None;
    }
    let [a, b] = traces.map(Trace::end);
    Some(a?.reason == b?.reason)
}

fn recorded(trace: &Trace, counts: &ExitCounts, side: usize, damage: Option<&Damage>) -> Recorded {
    let only = [counts.only_in_a, counts.only_in_b][side];
    let name = trace.path().file_name().unwrap_or_default();
    Recorded {
        name: printable(name.as_encoded_bytes(), false),
        exits: counts.equal + counts.changed + only + counts.behind_the_end[side],
        ended: match trace.end() {
            Some(end) => safe(end.reason.to_string()),
            None => "unknown, the end of the trace is missing".into(),
        },
        clock: match trace.header().clock {
            ClockMode::Host => "host",
            ClockMode::Virtual => "virtual",
        },
        is_cut: is_cut(trace) || damage.is_some(),
        damage: damage.map(|d| DamageFacts { offset: d.offset, reason: safe(&d.reason) }),
    }
}

fn place_facts(place: &walk::Place, facts: &dyn Fn(&[u32]) -> Vec<SiteFacts>) -> Place {
    let [a, b] = place.exits.each_ref().map(|exits| [exits.start, exits.end]);
    let exits = a[1] - a[0] + b[1] - b[0];
    Place {
        a,
        b,
        iterations: place.cycle.as_ref().map(|cycle| exits / cycle.len().max(1) as u64),
        sites: facts(place.cycle.as_ref().unwrap_or(&place.sites)),
    }
}

/// Text of a trace, safe for a terminal.
fn safe(text: impl AsRef<str>) -> String {
    printable(text.as_ref().as_bytes(), false)
}
