//! Accesses that no device answered.

use super::Page;
use super::layout::{self, Column};
use super::numbers::count;
use trapline_formats::{Space, Unclaimed};

impl Page<'_> {
    pub(super) fn unclaimed(&mut self) {
        let report = self.report;
        let Some(end) = report.end.as_ref().filter(|end| !end.unclaimed.is_empty()) else { return };
        let mut all: Vec<&Unclaimed> = end.unclaimed.iter().collect();
        all.sort_by_key(|u| (std::cmp::Reverse(u.reads.saturating_add(u.writes)), u.space, u.address));
        let shown = &all[..self.top.unwrap_or(all.len()).min(all.len())];
        let name = |u: &Unclaimed| {
            report
                .names
                .of(u.space, u.address)
                .map_or(String::new(), |n| format!("{} {}", n.device, n.register))
        };
        let space = |u: &Unclaimed| match u.space {
            Space::Port => "port",
            Space::Mmio => "memory",
            Space::Msr => "MSR",
        };
        let each = |cell: &dyn Fn(&Unclaimed) -> String| shown.iter().map(|u| cell(u)).collect::<Vec<_>>();
        let columns = vec![
            Column::number("reads", each(&|u| count(u.reads))),
            Column::number("writes", each(&|u| count(u.writes))),
            Column::text("", each(&|u| space(u).into())),
            Column::number("address", each(&|u| format!("{:#x}", u.address))),
            Column::text("known as", each(&|u| name(u).trim_end().into())),
        ];
        self.blank();
        let title = if shown.len() < all.len() {
            format!(
                "No device answered: the busiest {} of {} addresses",
                count(shown.len() as u64),
                count(all.len() as u64)
            )
        } else {
            "No device answered".into()
        };
        self.line(&title);
        self.blank();
        self.lines.extend(layout::table(columns, self.width, &[]));
    }
}
