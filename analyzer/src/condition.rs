//! Conditions for builds of others: `count(COM1) > 1000`.

use crate::by::By;
use crate::cells::Cells;
use crate::report::{Report, Shared};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// What is measured of the sites that a condition names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    Count,
    CostMs,
    CostPercent,
    VmmMs,
}

const METRICS: [(&str, Metric); 4] = [
    ("count", Metric::Count),
    ("cost_ms", Metric::CostMs),
    ("cost_percent", Metric::CostPercent),
    ("vmm_ms", Metric::VmmMs),
];

/// Compares what was measured with a limit.
type Operator = fn(f64, f64) -> bool;

/// Longer ones first: `>=` is no `>`.
const OPERATORS: [(&str, Operator); 4] =
    [(">=", |a, b| a >= b), ("<=", |a, b| a <= b), (">", |a, b| a > b), ("<", |a, b| a < b)];

/// A condition on a report by site: `METRIC(NAME) OPERATOR NUMBER`.
///
/// NAME is a kind of exit, a device, a device and its register, a function, a function and an offset, or the address of an
/// instruction, port, MSR or memory; `*` in it stands for anything, and case does not matter. HLT counts for `count` alone.
#[derive(Debug, Clone)]
pub struct Condition {
    text: String,
    metric: Metric,
    name: String,
    holds: Operator,
    limit: f64,
}

/// What a condition found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Whether the condition holds.
    pub holds: bool,
    /// What was measured.
    pub value: f64,
    /// Sites that the name stands for.
    pub sites: u64,
}

/// Why a condition could not be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unmeasured {
    /// A row is no site.
    #[error("is on sites, and the report is not by site")]
    NotBySite,
    /// The trace has no times.
    #[error("asks for times, and the trace has none")]
    NoTimes,
    /// Not every site has a row, so nobody knows which ones have the name.
    #[error(
        "names some sites, and the trace has so many that not all are told apart: only `*` can be asked for"
    )]
    SitesShareARow,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let metrics: Vec<_> = METRICS.iter().map(|m| m.0).collect();
        let error = || {
            format!(
                "`{}` is no condition: it is like `count(COM1) > 1000`, with one of {} and one of > >= < <=",
                text.escape_debug(),
                metrics.join(", ")
            )
        };
        let (metric, rest) = text.trim().split_once('(').ok_or_else(error)?;
        // A name may hold parentheses: "COM2 (absent)".
        let (name, rest) = rest.rsplit_once(')').ok_or_else(error)?;
        let metric = METRICS.iter().find(|m| m.0 == metric.trim()).ok_or_else(error)?.1;
        let rest = rest.trim();
        let (number, holds) =
            OPERATORS.iter().find_map(|(o, f)| Some((rest.strip_prefix(o)?, *f))).ok_or_else(error)?;
        let limit: f64 = number.trim().replace('_', "").parse().map_err(|_| error())?;
        if !limit.is_finite() || name.trim().is_empty() {
            return Err(error());
        }
        Ok(Self { text: text.trim().to_owned(), metric, name: name.trim().to_lowercase(), holds, limit })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    /// Measures a report by site.
    pub fn measure(&self, report: &Report) -> Result<Measured, Unmeasured> {
        let is_timed = report.totals.timed_exits > 0 || report.totals.exits == 0;
        let is_all = self.name.bytes().all(|b| b == b'*');
        if report.by != By::Site {
            return Err(Unmeasured::NotBySite);
        }
        if self.metric != Metric::Count && !is_timed {
            return Err(Unmeasured::NoTimes);
        }
        if report.shared != Shared::default() && !is_all {
            return Err(Unmeasured::SitesShareARow);
        }
        let cells = Cells(&report.table);
        let is_named = |row: &usize| is_all || self.names(cells, *row);
        let rows: Vec<_> = (0..report.table.height()).filter(is_named).collect();
        let value = rows.iter().map(|&row| self.value(cells, row)).sum();
        let sites: u64 = rows.iter().map(|&row| cells.u32("sites", row).map_or(0, u64::from)).sum();
        Ok(Measured { holds: (self.holds)(value, self.limit), value, sites })
    }

    fn value(&self, cells: Cells<'_>, row: usize) -> f64 {
        let number = |name| cells.u64(name, row).unwrap_or(0) as f64;
        let idle = cells.bool("idle", row) == Some(true);
        match self.metric {
            Metric::Count => number("count"),
            Metric::CostMs => number("cost_ns") / 1e6,
            Metric::CostPercent => cells.f64("cost_percent", row).unwrap_or(0.0),
            Metric::VmmMs if idle => 0.0,
            Metric::VmmMs => number("vmm_ns") / 1e6,
        }
    }

    fn names(&self, cells: Cells<'_>, row: usize) -> bool {
        let text = |name| cells.str(name, row).unwrap_or_default();
        let hex = |name| cells.u64(name, row).map_or(String::new(), |v| format!("{v:#x}"));
        let place = format!("{}+{}", text("symbol"), hex("symbol_offset"));
        let register = format!("{} {}", text("device"), text("register"));
        // "probe [virtio_blk]" is `probe`, too.
        let function = text("symbol").split_once(" [").map_or("", |(function, _)| function);
        let words = [text("kind"), text("device"), text("symbol"), function, &register, &place];
        let addresses = [hex("instruction_address"), hex("address")];
        let mut all = words.into_iter().chain(addresses.iter().map(String::as_str));
        all.any(|word| !word.is_empty() && matches(&self.name, &word.to_lowercase()))
    }
}

/// Whether a pattern, in which `*` stands for anything, is a text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The earliest place leaves the most for what follows.
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_nonsense_is_not() {
        for good in
            ["count(COM1) > 1000", " cost_ms( * )>=1.5", "vmm_ms(COM2 (absent))<1_000", "cost_percent(a)<= 5"]
        {
            assert!(good.parse::<Condition>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "count > 3",
            "count() > 3",
            "size(a) > 3",
            "count(a) = 3",
            "count(a) > many",
            "count(a) > inf",
            "count(a > 3",
        ] {
            assert!(bad.parse::<Condition>().unwrap_err().contains("is no condition"), "{bad}");
        }
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, is) in [
            ("com1", "com1", true),
            ("com", "com1", false),
            ("com*", "com1", true),
            ("*", "", true),
            ("*1", "com1", true),
            ("c*m*1", "com1", true),
            ("c*x*1", "com1", false),
            ("a*a", "a", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
    }
}
