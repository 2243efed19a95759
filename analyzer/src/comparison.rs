//! Two recordings, site by site: did it get better?
//!
//! Counts are compared always, times only between recordings of one host. A difference is one only where it exceeds what
//! chance explains, and is as large as the reader cares about.

use crate::cells::Cells;
use crate::report::Report;
use crate::schema::{COMPARISON, SCHEMA_VERSION};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use trapline_formats::ClockMode;

/// What is said of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Larger than before.
    More,
    /// Smaller than before.
    Less,
    /// No difference, or one too small to care about.
    Same,
    /// A difference that chance explains, too.
    Unclear,
    /// The recordings cannot be compared in this.
    NotComparable,
}

/// A site in both recordings, or in one of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// Site in the other recording; none where it is new.
    pub site_before: Option<u32>,
    /// Site in this recording; none where it is gone.
    pub site_now: Option<u32>,
    /// How the two were found to be one: `address`, `symbol`, `bytes`; none for a single one.
    pub paired_by: Option<&'static str>,
    /// What it does.
    pub kind: String,
    /// The instruction.
    pub instruction: String,
    /// The function, with offset; or the address.
    pub place: String,
    /// The device, or the address.
    pub target: String,
    /// Exits before.
    pub exits_before: u64,
    /// Exits now.
    pub exits_now: u64,
    /// What is said of the exits.
    pub exits: Verdict,
    /// Cost before, in nanoseconds. Estimated in part; none where times are not comparable.
    pub cost_before_ns: Option<u64>,
    /// Cost now.
    pub cost_now_ns: Option<u64>,
    /// Median VMM time before: lower bound, median, upper bound of 95 % confidence, in nanoseconds.
    pub vmm_before_ns: Option<[f64; 3]>,
    /// Median VMM time now.
    pub vmm_now_ns: Option<[f64; 3]>,
    /// What is said of the VMM time of an exit.
    pub vmm: Verdict,
}

/// Two recordings side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    schema: &'static str,
    schema_version: u32,
    /// The trace that is compared with.
    pub before: String,
    /// The trace that is looked at.
    pub now: String,
    /// Whether both are of one host, so that times mean the same.
    pub one_host: bool,
    /// Whether the guest's devices ran in virtual time both times: counts have no chance in them then.
    pub exact_counts: bool,
    /// Differences below this many percent are none.
    pub least_percent: f64,
    /// Exits before and now.
    pub exits: [u64; 2],
    /// Cost before and now, in nanoseconds; none where times are not comparable.
    pub cost_ns: Option<[u64; 2]>,
    /// The sites, the largest differences first.
    pub pairs: Vec<Pair>,
}

/// Whether times of one mean the same as those of the other: both are of one host, and have times.
pub(crate) fn have_same_clock(now: &Report, before: &Report) -> bool {
    now.header.host == before.header.host && now.header.tick_hz != 0 && before.header.tick_hz != 0
}

impl Comparison {
    /// Compares a report by site with another one.
    pub fn of(now: &Report, before: &Report, least_percent: f64) -> Self {
        let one_host = have_same_clock(now, before);
        let is_virtual = |report: &Report| report.header.clock == ClockMode::Virtual;
        let rules = Rules { one_host, exact_counts: is_virtual(now) && is_virtual(before), least_percent };
        let sides = Sides { before: Side::new(before), now: Side::new(now) };
        let mut pairs: Vec<_> =
            sides.pairs().into_iter().map(|(b, n, how)| rules.pair(&sides, b, n, how)).collect();
        let size = |p: &Pair| {
            let cost = p.cost_now_ns.unwrap_or(0).abs_diff(p.cost_before_ns.unwrap_or(0));
            (cost, p.exits_now.abs_diff(p.exits_before))
        };
        pairs.sort_by_key(|p| std::cmp::Reverse(size(p)));
        let name = |report: &Report| {
            trapline_formats::printable(report.path.file_name().unwrap_or_default().as_encoded_bytes(), false)
        };
        Self {
            schema: COMPARISON,
            schema_version: SCHEMA_VERSION,
            before: name(before),
            now: name(now),
            one_host,
            exact_counts: rules.exact_counts,
            least_percent,
            exits: [before.totals.exits, now.totals.exits],
            cost_ns: one_host.then_some([before.totals.cost_ns, now.totals.cost_ns]),
            pairs,
        }
    }

    /// The comparison as JSON. SCHEMA.md describes it.
    pub fn to_json(&self) -> Result<String, crate::AnalyzerError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// One recording: its rows, and how each can be found.
struct Side<'a> {
    report: &'a Report,
    cells: Cells<'a>,
}

/// What identifies a site, from the strictest to the loosest way.
type Key = Vec<Option<String>>;

const WAYS: [&str; 3] = ["address", "symbol", "bytes"];

impl<'a> Side<'a> {
    fn new(report: &'a Report) -> Self {
        Self { report, cells: Cells(&report.table) }
    }

    /// The rows of one site each.
    fn rows(&self) -> Vec<usize> {
        (0..self.report.table.height()).filter(|&row| self.cells.u32("site", row).is_some()).collect()
    }

    /// The key of a row; `None` where it has none of this way.
    fn key(&self, way: &str, row: usize) -> Option<Key> {
        let text = |name: &str| self.cells.str(name, row).map(str::to_owned);
        let number = |name: &str| self.cells.u64(name, row).map(|v| format!("{v:#x}"));
        let mut key = vec![text("kind"), number("address"), text("bytes"), text("mode")];
        match way {
            "address" => key.push(number("instruction_address")),
            "symbol" => key.extend([Some(text("symbol")?), number("symbol_offset")]),
            _ => {}
        }
        Some(key)
    }

    /// Rows by key, where no two rows share it.
    fn unique(&self, way: &str, rows: &[usize]) -> BTreeMap<Key, usize> {
        let mut found: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        for &row in rows {
            if let Some(key) = self.key(way, row) {
                found.entry(key).or_default().push(row);
            }
        }
        found
            .into_iter()
            .filter_map(|(key, rows)| rows.first().copied().filter(|_| rows.len() == 1).map(|r| (key, r)))
            .collect()
    }
}

struct Sides<'a> {
    before: Side<'a>,
    now: Side<'a>,
}

/// A row before, a row now, and how they were found to be one.
type Paired = (Option<usize>, Option<usize>, Option<&'static str>);

impl Sides<'_> {
    fn pairs(&self) -> Vec<Paired> {
        let (mut before, mut now) = (self.before.rows(), self.now.rows());
        let mut pairs = Vec::new();
        for way in WAYS {
            let theirs = self.before.unique(way, &before);
            for (key, row) in self.now.unique(way, &now) {
                if let Some(&other) = theirs.get(&key) {
                    pairs.push((Some(other), Some(row), Some(way)));
                }
            }
            let taken: BTreeSet<_> = pairs.iter().map(|p: &Paired| p.0).collect();
            before.retain(|b| !taken.contains(&Some(*b)));
            let taken: BTreeSet<_> = pairs.iter().map(|p: &Paired| p.1).collect();
            now.retain(|n| !taken.contains(&Some(*n)));
        }
        pairs.extend(before.into_iter().map(|b| (Some(b), None, None)));
        pairs.extend(now.into_iter().map(|n| (None, Some(n), None)));
        pairs
    }
}

/// What counts as a difference.
struct Rules {
    one_host: bool,
    exact_counts: bool,
    least_percent: f64,
}

impl Rules {
    fn pair(
        &self,
        sides: &Sides<'_>,
        before: Option<usize>,
        now: Option<usize>,
        how: Option<&'static str>,
    ) -> Pair {
        let (side, row) = match now {
            Some(row) => (&sides.now, row),
            None => (&sides.before, before.unwrap_or(0)),
        };
        let count =
            |side: &Side<'_>, row: Option<usize>| row.and_then(|r| side.cells.u64("count", r)).unwrap_or(0);
        let (exits_before, exits_now) = (count(&sides.before, before), count(&sides.now, now));
        let site = |side: &Side<'_>, row: Option<usize>| row.and_then(|r| side.cells.u32("site", r));
        let (site_before, site_now) = (site(&sides.before, before), site(&sides.now, now));
        let cost = |side: &Side<'_>, row: Option<usize>| {
            let row = row.filter(|_| self.one_host)?;
            side.cells.u64("cost_ns", row)
        };
        let median = |side: &Side<'_>, site: Option<u32>| {
            side.report.medians.get(&site.filter(|_| self.one_host)?).copied()
        };
        let (vmm_before_ns, vmm_now_ns) = (median(&sides.before, site_before), median(&sides.now, site_now));
        let (cells, text) =
            (side.cells, |name: &str| side.cells.str(name, row).unwrap_or_default().to_owned());
        let at = cells.u64("instruction_address", row).unwrap_or(0);
        let place = match (cells.str("symbol", row), cells.u64("symbol_offset", row)) {
            (Some(symbol), Some(offset)) => format!("{symbol}+{offset:#x}"),
            _ => format!("{at:#x}"),
        };
        let address = cells.u64("address", row).map_or(String::new(), |a| format!("{a:#x} "));
        let target = format!("{address}{} {}", text("device"), text("register"));
        Pair {
            site_before,
            site_now,
            paired_by: how,
            kind: text("kind"),
            instruction: text("disassembly"),
            place,
            target: target.trim().to_owned(),
            exits_before,
            exits_now,
            exits: self.counts(exits_before, exits_now),
            cost_before_ns: cost(&sides.before, before),
            cost_now_ns: cost(&sides.now, now),
            vmm_before_ns,
            vmm_now_ns,
            vmm: self.times(vmm_before_ns, vmm_now_ns),
        }
    }

    fn is_small(&self, before: f64, now: f64) -> bool {
        (now - before).abs() * 100.0 < self.least_percent * before.max(f64::MIN_POSITIVE)
    }

    /// Counts that the host's time had a hand in vary by chance: about as the square root of their sum.
    fn counts(&self, before: u64, now: u64) -> Verdict {
        let chance = 2.0 * ((before + now) as f64).sqrt();
        if before == now || self.is_small(before as f64, now as f64) {
            Verdict::Same
        } else if !self.exact_counts && (before.abs_diff(now) as f64) < chance {
            Verdict::Unclear
        } else if now > before {
            Verdict::More
        } else {
            Verdict::Less
        }
    }

    /// Medians differ where their confidence intervals do not meet.
    fn times(&self, before: Option<[f64; 3]>, now: Option<[f64; 3]>) -> Verdict {
        let (Some(before), Some(now)) = (before, now) else { return Verdict::NotComparable };
        if self.is_small(before[1], now[1]) {
            Verdict::Same
        } else if now[0] > before[2] {
            Verdict::More
        } else if now[2] < before[0] {
            Verdict::Less
        } else {
            Verdict::Unclear
        }
    }
}
