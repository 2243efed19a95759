//! The tables of costs and of idleness.

use super::Page;
use super::layout::{self, Column};
use super::numbers::{Unit, bar, count, counted, percent};
use crate::by::By;
use crate::cells::Cells;

/// What stands for a number that does not exist.
const NONE: &str = "–";
/// Characters of a bar at 100 percent.
const BAR: usize = 20;

impl Page<'_> {
    pub(super) fn costs(&mut self) {
        let report = self.report;
        let cells = Cells(&report.table);
        let all: Vec<_> =
            (0..report.table.height()).filter(|&r| cells.bool("idle", r) == Some(false)).collect();
        if all.is_empty() {
            return;
        }
        let (shown, others) = all.split_at(self.top.unwrap_or(all.len()).min(all.len()));
        // Groups that share a row are one row.
        let more = report.shared.costs.saturating_sub(1);
        self.blank();
        let title = match others {
            [] => format!("Cost by {}", report.by),
            _ => format!(
                "Cost by {}: the dearest {} of {}",
                report.by,
                count(shown.len() as u64),
                count(all.len() as u64 + more)
            ),
        };
        self.line(&title);
        self.blank();
        let table = CostTable { cells, shown, others, more, timed: report.totals.timed_exits > 0 };
        let mut columns = table.sums(report.totals.cost_ns);
        if table.timed {
            columns.extend(durations(cells, shown, "vmm", "VMM", table.last_rows(), [0, 2, 5, 4, 8]));
            columns.extend(durations(cells, shown, "guest", "KVM_RUN", table.last_rows(), [1, 3, 6, 7, 9]));
        }
        columns.extend(table.who(report.by));
        self.lines.extend(layout::table(columns, self.width, &[shown.len()]));
    }

    pub(super) fn idle(&mut self) {
        let cells = Cells(&self.report.table);
        let all: Vec<_> =
            (0..self.report.table.height()).filter(|&r| cells.bool("idle", r) == Some(true)).collect();
        let shown = &all[..self.top.unwrap_or(all.len()).min(all.len())];
        if shown.is_empty() {
            return;
        }
        self.blank();
        self.line(&format!("Idle: {}, not a cost", counted(self.report.totals.idle_exits, "HLT exit")));
        self.blank();
        let each = |cell: &dyn Fn(usize) -> String| shown.iter().map(|&r| cell(r)).collect::<Vec<_>>();
        let mut columns =
            vec![Column::number("exits", each(&|r| cells.u64("count", r).map_or(NONE.into(), count)))];
        if self.report.totals.timed_exits > 0 {
            let unit = Unit::fitting(self.report.totals.idle_ns as f64);
            let waited = |r| cells.u64("vmm_ns", r).map_or(NONE.into(), |ns| unit.number(ns as f64));
            columns.push(Column::number(format!("waiting {}", unit.name), each(&waited)));
            columns.extend(durations(cells, shown, "vmm", "each, ", 0, [0, 1, 2, 3, 9]));
        }
        columns.extend(instruction(cells, shown, 0));
        self.lines.extend(layout::table(columns, self.width, &[]));
    }

    pub(super) fn legend(&mut self) {
        let mut text = String::new();
        if self.report.totals.timed_exits > 0 {
            text.push_str(&self.report.cost_in_words());
        }
        if self.lines.iter().any(|l| l.contains(NONE)) {
            text.push_str(" –: too few exits for this number (p50 needs 20, p90 100, p99 1,000).");
        }
        if !text.is_empty() {
            self.blank();
            self.paragraph(text.trim());
        }
    }
}

struct CostTable<'a> {
    cells: Cells<'a>,
    shown: &'a [usize],
    others: &'a [usize],
    /// Groups without a row of their own.
    more: u64,
    timed: bool,
}

impl CostTable<'_> {
    /// Rows below the rule: the others, if any, and all together.
    fn last_rows(&self) -> usize {
        1 + usize::from(!self.others.is_empty())
    }

    fn column(&self, cell: impl Fn(usize) -> String, sum: impl Fn(&[usize]) -> String) -> Vec<String> {
        let mut all = self.shown.iter().map(|&r| cell(r)).collect::<Vec<_>>();
        if !self.others.is_empty() {
            all.push(sum(self.others));
        }
        all.push(sum(&[self.shown, self.others].concat()));
        all
    }

    fn sums(&self, cost_ns: u64) -> Vec<Column> {
        let share =
            |rows: &[usize]| rows.iter().filter_map(|&r| self.cells.f64("cost_percent", r)).sum::<f64>();
        let sum = |name, rows: &[usize]| {
            rows.iter().filter_map(|&r| self.cells.u64(name, r)).fold(0, |a: u64, b| a.saturating_add(b))
        };
        let mut columns = Vec::new();
        let unit = Unit::fitting(cost_ns as f64);
        if self.timed {
            let one = |r| self.cells.f64("cost_percent", r);
            columns.push(Column::number(
                "cost %",
                self.column(|r| one(r).map_or(NONE.into(), percent), |r| percent(share(r))),
            ));
            let bars = self.column(|r| bar(one(r).unwrap_or(0.0), BAR), |_| String::new());
            columns.push(Column::text("", bars).spare(10));
            let costs = |r| self.cells.u64("cost_ns", r).map_or(NONE.into(), |ns| unit.number(ns as f64));
            let costs = self.column(costs, |r| unit.number(sum("cost_ns", r) as f64));
            columns.push(Column::number(format!("cost {}", unit.name), costs));
        }
        let counts = self.column(|r| count(sum("count", &[r])), |r| count(sum("count", r)));
        columns.push(Column::number("exits", counts));
        columns
    }

    fn who(&self, by: By) -> Vec<Column> {
        let cells = self.cells;
        let last = |texts: Vec<String>| {
            let mut texts = texts;
            if !self.others.is_empty() {
                texts.push(format!(
                    "({} other {})",
                    count(self.others.len() as u64 + self.more),
                    by.plural()
                ));
            }
            texts.push("(all)".into());
            texts
        };
        let each = |cell: &dyn Fn(usize) -> String| self.shown.iter().map(|&r| cell(r)).collect::<Vec<_>>();
        let padded =
            |texts: Vec<String>| texts.into_iter().chain(vec![String::new(); self.last_rows()]).collect();
        let target = each(&|r| target(cells, r));
        match by {
            By::Site | By::Instruction => {
                let mut columns = instruction(cells, self.shown, self.last_rows());
                if let Some(function) = function(cells, self.shown, self.last_rows()) {
                    // A function and an offset say more than an address.
                    columns[0].spare = 9;
                    columns.push(function.content_with(28));
                }
                columns.push(Column::text("device", last(target)));
                columns
            }
            By::Symbol => vec![
                Column::text(
                    "function",
                    last(each(&|r| cells.str("symbol", r).unwrap_or("(no symbol)").into())),
                ),
                Column::number(
                    "sites",
                    padded(each(&|r| cells.u32("sites", r).map_or(NONE.into(), |n| count(n.into())))),
                ),
                Column::text("device", padded(target)),
            ],
            By::Reason => vec![
                Column::text("reason", last(each(&|r| cells.str("kind", r).unwrap_or(NONE).into()))),
                Column::number(
                    "sites",
                    padded(each(&|r| cells.u32("sites", r).map_or(NONE.into(), |n| count(n.into())))),
                ),
            ],
            By::Device => vec![
                Column::text("device", last(each(&|r| device(cells, r)))),
                Column::number(
                    "sites",
                    padded(each(&|r| cells.u32("sites", r).map_or(NONE.into(), |n| count(n.into())))),
                ),
            ],
            By::Address => vec![Column::text("address", last(target))],
        }
    }
}

/// The address and the text of an instruction.
fn instruction(cells: Cells<'_>, shown: &[usize], blank: usize) -> Vec<Column> {
    let address = |r: &usize| cells.u64("instruction_address", *r).map_or(NONE.into(), |a| format!("{a:#x}"));
    let text = |r: &usize| match (cells.str("disassembly", *r), cells.str("bytes", *r)) {
        (Some(text), _) => text.to_owned(),
        (None, None) if cells.u32("sites", *r).is_some_and(|n| n > 1) => "(several)".into(),
        (None, Some(bytes)) if !bytes.is_empty() => format!("(bytes {bytes})"),
        _ => "(unreadable)".into(),
    };
    let padded = |texts: Vec<String>| texts.into_iter().chain(vec![String::new(); blank]).collect();
    vec![
        Column::number("at", padded(shown.iter().map(address).collect())),
        Column::text("instruction", padded(shown.iter().map(text).collect())).content_with(16),
    ]
}

/// "serial_in+0x1e", where anything has a name.
fn function(cells: Cells<'_>, shown: &[usize], blank: usize) -> Option<Column> {
    let name = |&r: &usize| match (cells.str("symbol", r), cells.u64("symbol_offset", r)) {
        (Some(name), Some(offset)) => format!("{name}+{offset:#x}"),
        (name, _) => name.unwrap_or_default().to_owned(),
    };
    let names: Vec<_> = shown.iter().map(name).collect();
    let padded = || names.iter().cloned().chain(vec![String::new(); blank]).collect();
    names.iter().any(|n| !n.is_empty()).then(|| Column::text("function", padded()))
}

/// "0x3fd COM1 line status"; the kind of exit where it has no address, their number where a row has several.
pub(super) fn target(cells: Cells<'_>, row: usize) -> String {
    let space = cells.str("space", row);
    // Every MSR is the processor's: its name is enough.
    let is_msr = space == Some("msr") && cells.str("register", row).is_some();
    let device = cells.str("device", row).filter(|device| !(is_msr && *device == "CPU"));
    let name = [device, cells.str("register", row)];
    let name = name.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let names_address = |address: u64| name.to_lowercase().contains(&format!("{address:#x}"));
    match (cells.u64("address", row), space) {
        (Some(address), Some("port")) if name.is_empty() => format!("{address:#x} (port)"),
        (Some(address), Some("msr")) if name.is_empty() => format!("{address:#x} (MSR)"),
        (Some(address), _) if name.is_empty() => format!("{address:#x} (memory)"),
        // "debug port 0x402" says it all.
        (Some(address), _) if names_address(address) => name,
        (Some(address), _) => format!("{address:#x} {name}"),
        (None, _) if cells.u32("sites", row).unwrap_or(1) > 1 => {
            format!("{} {name}", counted(cells.u32("sites", row).unwrap_or(1).into(), "site"))
                .trim_end()
                .to_owned()
        }
        (None, _) => format!("({})", cells.str("kind", row).unwrap_or(NONE)),
    }
}

fn device(cells: Cells<'_>, row: usize) -> String {
    match (cells.str("device", row), cells.str("space", row)) {
        (Some(device), _) => device.to_owned(),
        (None, Some("port")) => "(unknown ports)".into(),
        (None, Some("msr")) => "(unknown MSRs)".into(),
        (None, Some(_)) => "(unknown memory)".into(),
        (None, None) => format!("({})", cells.str("kind", row).unwrap_or(NONE)),
    }
}

/// Columns of durations under one heading and in one unit: p50, p99, mean, max, p90, each with its place in giving way.
fn durations(
    cells: Cells<'_>,
    shown: &[usize],
    what: &str,
    title: &str,
    blank: usize,
    spare: [u8; 5],
) -> Vec<Column> {
    let of = |name: &str, r: usize| cells.f64(&format!("{what}_{name}_ns"), r);
    // The unit that suits the dearest row, where most of the time went.
    let typical = shown.iter().find_map(|&r| of("p50", r).or_else(|| of("mean", r))).unwrap_or(0.0);
    let unit = Unit::fitting(typical).with_decimals(2);
    let group = format!("{title}{}{}", if title.ends_with(' ') { "" } else { ", " }, unit.name);
    let column = |name: &str| {
        let cells = shown.iter().map(|&r| of(name, r).map_or(NONE.into(), |ns| unit.number(ns)));
        let cells = cells.chain(vec![String::new(); blank]).collect();
        let place = ["p50", "p99", "mean", "max", "p90"].iter().position(|n| *n == name).unwrap_or(0);
        Column::number(name, cells).in_group(group.clone()).spare(spare[place])
    };
    ["mean", "p50", "p90", "p99", "max"].map(column).into()
}
