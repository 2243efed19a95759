//! Two recordings, for people.

use super::layout::{self, Column};
use super::numbers::{Unit, count, counted, duration, percent};
use crate::comparison::{Comparison, Pair, Verdict};

/// What stands for a number that does not exist.
const NONE: &str = "–";

impl Comparison {
    /// The comparison as text, at most `width` columns wide and with at most `top` sites.
    pub fn to_text(&self, top: Option<usize>, width: usize) -> String {
        let mut lines = vec![format!("{} against {}", self.now, self.before), String::new()];
        let [before, now] = self.exits;
        lines.push(format!(
            "  exits  {} before, {} now ({})",
            count(before),
            count(now),
            change(before, now)
        ));
        lines.push(match self.cost_ns {
            Some([before, now]) => {
                format!(
                    "  cost   {} before, {} now ({})",
                    duration(before),
                    duration(now),
                    change(before, now)
                )
            }
            None => "  cost   not compared: the recordings are of two hosts, or have no times".into(),
        });
        let changed: Vec<_> = self.pairs.iter().filter(|p| is_change(p)).collect();
        lines.push(String::new());
        let same = self.pairs.len() - changed.len();
        lines.push(format!(
            "{} of {} changed by {} % or more",
            changed.len(),
            counted(self.pairs.len() as u64, "site"),
            percent(self.least_percent)
        ));
        let shown = &changed[..top.unwrap_or(changed.len()).min(changed.len())];
        if !shown.is_empty() {
            lines.push(String::new());
            lines.extend(layout::table(self.columns(shown), width, &[]));
        }
        if changed.len() > shown.len() {
            lines.push(format!("({} more)", count((changed.len() - shown.len()) as u64)));
        }
        lines.push(String::new());
        lines.push(format!("{} as before.", counted(same as u64, "site")));
        lines.push(if self.exact_counts {
            "Both ran in virtual time: every difference in exits is the guest's.".into()
        } else {
            "?: chance explains it, too. VMM: median of an exit; * where 95 % confidence intervals do not meet.".into()
        });
        let lines: Vec<_> = lines.iter().map(|l| layout::fit(l.trim_end(), width)).collect();
        lines.join("\n") + "\n"
    }

    fn columns(&self, shown: &[&Pair]) -> Vec<Column> {
        let each = |cell: &dyn Fn(&Pair) -> String| shown.iter().map(|p| cell(p)).collect::<Vec<_>>();
        let mut columns = vec![
            Column::number("before", each(&|p| count(p.exits_before))).in_group("exits"),
            Column::number("now", each(&|p| count(p.exits_now))).in_group("exits"),
            Column::text("", each(&|p| said(p))),
        ];
        if self.one_host {
            let median = |m: Option<[f64; 3]>| m.map_or(NONE.into(), |m| Unit::fitting(10.0).number(m[1]));
            let mark = |p: &Pair| if matches!(p.vmm, Verdict::More | Verdict::Less) { " *" } else { "" };
            let both =
                |p: &Pair| format!("{} → {}{}", median(p.vmm_before_ns), median(p.vmm_now_ns), mark(p));
            columns.push(Column::text("VMM p50, ns", each(&both)));
        }
        columns.push(Column::text("at", each(&|p| p.place.clone())));
        columns.push(Column::text("instruction", each(&|p| p.instruction.clone())).content_with(14));
        columns.push(Column::text("device", each(&|p| p.target.clone())));
        columns
    }
}

/// Whether a reader has to see it.
fn is_change(pair: &Pair) -> bool {
    pair.exits != Verdict::Same || matches!(pair.vmm, Verdict::More | Verdict::Less)
}

fn said(pair: &Pair) -> String {
    match (pair.site_before, pair.site_now, pair.exits) {
        (None, ..) => "new".into(),
        (_, None, _) => "gone".into(),
        (_, _, Verdict::Unclear) => format!("{} ?", change(pair.exits_before, pair.exits_now)),
        _ => change(pair.exits_before, pair.exits_now),
    }
}

/// "+12.5 %".
fn change(before: u64, now: u64) -> String {
    if before == 0 {
        return if now == 0 { "same".into() } else { "from nothing".into() };
    }
    let part = (now as f64 - before as f64) * 100.0 / before as f64;
    format!("{part:+.1} %")
}
