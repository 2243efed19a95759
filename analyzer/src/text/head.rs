//! What the trace is, and where its time went.

use super::Page;
use super::layout::{self, Column};
use super::numbers::{bar, count, counted, duration, percent, percentages, size};
use crate::report::Report;
use std::fmt::Display;
use trapline_formats::{ClockMode, Damage, printable};

/// Files and warnings of one sort that are shown; JSON has all.
const FEW: usize = 8;
/// Characters of a bar at 100 percent.
const BAR: usize = 30;

impl Page<'_> {
    pub(super) fn title(&mut self) {
        let name = self.report.path.file_name().unwrap_or(self.report.path.as_os_str());
        let totals = &self.report.totals;
        let mut title = format!("{}: {}", safe(name.to_string_lossy()), counted(totals.exits, "exit"));
        if totals.timed_exits > 0 {
            title = format!("{title} in {}", duration(totals.total_ns));
        }
        self.line(&title);
        self.line(&"═".repeat(layout::width(&title).min(self.width)));
    }

    pub(super) fn warnings(&mut self) {
        let warnings = self.report.warnings();
        if !warnings.is_empty() {
            self.blank();
        }
        for warning in warnings {
            self.paragraph(&warning);
        }
    }

    pub(super) fn about(&mut self) {
        self.blank();
        for (name, value) in self.report.facts() {
            self.line(&format!("  {name:<7}{value}"));
        }
    }

    /// The four parts of the recording, which add up to 100 %.
    pub(super) fn time(&mut self) {
        let t = &self.report.totals;
        if t.timed_exits == 0 {
            return;
        }
        let parts = [
            ("VMM", "measured", t.vmm_ns, "our process, after exits"),
            ("exit path", self.report.pricing.certainty(), t.path_ns, "kernel and hardware"),
            ("guest", "estimated", t.guest_ns, "its own computing"),
            ("idle", "measured", t.idle_ns, "waiting in HLT"),
        ];
        let percents = percentages(&parts.map(|p| p.2));
        let each =
            |cell: &dyn Fn(usize) -> String, last: String| (0..parts.len()).map(cell).chain([last]).collect();
        let columns = vec![
            Column::text("time", each(&|i| parts[i].0.into(), "recording".into())),
            Column::number("", each(&|i| duration(parts[i].2), duration(t.total_ns))),
            Column::number("%", each(&|i| format!("{:.1}", percents[i]), "100.0".into())),
            Column::text("", each(&|i| parts[i].1.into(), "measured".into())),
            Column::text("", each(&|i| parts[i].3.into(), String::new())),
            Column::text("", each(&|i| bar(percents[i], BAR), String::new())).spare(1),
        ];
        self.blank();
        self.lines.extend(layout::table(columns, self.width, &[parts.len()]));
        if let Some(note) = self.report.recorder_note() {
            self.blank();
            self.paragraph(&note);
        }
    }
}

impl Report {
    /// What the reader must know before believing anything; safe for a terminal.
    pub fn warnings(&self) -> Vec<String> {
        let report = self;
        let exits = count(report.totals.exits);
        let mut warnings = Vec::new();
        match (&report.damage, &report.end) {
            (Some(damage), _) => warnings.push(truncated(report.totals.exits, damage)),
            (None, None) => warnings.push(format!(
                "NO END: the recorder was stopped before it could say how the guest ended. {exits} exits are here."
            )),
            (None, Some(end)) if end.exits != report.totals.exits => {
                warnings.push(format!("INCOMPLETE: {} exits were recorded, {exits} are here.", count(end.exits)));
            }
            _ => {}
        }
        let missing = report.totals.exits.saturating_sub(report.totals.timed_exits);
        // A recorder that was killed in the VMM time of its last exit could not time it.
        if missing > 1 || missing == 1 && report.totals.timed_exits == 0 {
            let timed = match report.totals.timed_exits {
                0 => "no exit has a time".into(),
                n => format!("only the first {} exits have a time", count(n)),
            };
            let why =
                report.timing_damage.as_ref().map_or(String::new(), |d| format!(": {}", safe(&d.reason)));
            warnings.push(format!("TIMES MISSING: {timed}{why}."));
        }
        let bounded = report.totals.bounded_sites;
        if bounded > 0 {
            warnings.push(format!(
                "PRICES BOUNDED: at {} the price list asks more for the exit path than KVM_RUN took in all; their path is \
                 what it took.",
                counted(bounded, "site")
            ));
        }
        let shared = report.shared.costs + report.shared.idle;
        if shared > 0 {
            warnings.push(format!(
                "MANY ROWS: {} {} share a row, the cheapest ones; the others have one each.",
                count(shared),
                report.by.plural()
            ));
        }
        for unclosed in report.end.iter().flat_map(|end| &end.unclosed).take(FEW) {
            warnings.push(format!(
                "UNCLOSED: {}, first seen at exit {}: {}. A replay may diverge.",
                safe(&unclosed.source),
                count(unclosed.exit),
                safe(&unclosed.evidence)
            ));
        }
        let more = report.end.as_ref().map_or(0, |end| end.unclosed.len().saturating_sub(FEW));
        if more > 0 {
            warnings.push(format!("UNCLOSED: {} more, the JSON report has them all.", count(more as u64)));
        }
        warnings
    }

    /// What the trace is: names and values.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let report = self;
        let mut facts = Vec::new();
        let mut fact = |name, value: &str| {
            if !value.is_empty() {
                facts.push((name, value.to_owned()));
            }
        };
        let header = &report.header;
        let host = &header.host;
        let brand = if host.cpu_brand.trim().is_empty() { &host.cpu_vendor } else { &host.cpu_brand };
        fact("host", &list([safe(&host.engine), named("Linux", &host.kernel), safe(brand.trim())]));
        for file in header.files.iter().take(FEW) {
            let text = format!(
                "{} {} ({}, xxh3 {:016x})",
                safe(&file.role),
                safe(&file.name),
                size(file.bytes),
                file.xxh3
            );
            fact("guest", &text);
        }
        for note in report.symbols.notes() {
            fact("names", note);
        }
        let memory = header.memory.iter().fold(0, |sum: u64, region| sum.saturating_add(region.bytes));
        let memory = if memory > 0 { format!("{} of memory", size(memory)) } else { String::new() };
        fact("entry", &list([safe(&header.entry), memory]));
        let devices = match header.clock {
            ClockMode::Host => "devices in host time",
            ClockMode::Virtual => "devices in virtual time",
        };
        let hz = header.tick_hz as f64;
        let measured = match header.tick_hz {
            0 => "exits were not timed".into(),
            1_000_000_000 => format!("exits timed by {}", safe(&header.tick_source)),
            _ => format!("exits timed by {} at {:.3} MHz", safe(&header.tick_source), hz / 1e6),
        };
        fact("clock", &list([devices.into(), measured]));
        if report.totals.timed_exits > 0 {
            fact("path", &safe(report.pricing.source_in_words()));
        }
        let ended = match &report.end {
            Some(end) => safe(end.reason.to_string()),
            None => "unknown, the end of the trace is missing".into(),
        };
        fact("ended", &ended);
        let per_exit = report.file_bytes as f64 / report.totals.exits.max(1) as f64;
        let per_exit =
            if report.totals.exits > 0 { format!("{per_exit:.1} bytes an exit") } else { String::new() };
        fact(
            "file",
            &list([size(report.file_bytes), per_exit, named("recorded by trapline", &header.recorder)]),
        );
        facts
    }
}

impl Report {
    /// What the recorder had of the VMM time.
    pub(crate) fn recorder_note(&self) -> Option<String> {
        let share = self.pricing.list.as_ref()?.recorder_ns?;
        let totals = &self.totals;
        (totals.timed_exits > 0).then(|| {
            format!(
                "Of the VMM time, {} ({} %) are the recorder's own and no cost: {:.0} ns an exit (95 % confidence: {:.0} to \
                 {:.0}), measured by the price list, estimated here.",
                duration(totals.recorder_ns),
                percent(totals.recorder_ns as f64 * 100.0 / totals.vmm_ns.max(1) as f64),
                share.median,
                share.low,
                share.high
            )
        })
    }

    /// What cost is.
    pub(crate) fn cost_in_words(&self) -> String {
        let recorder = if self.pricing.recorder > 0 { ", less the recorder's share of it" } else { "" };
        let path = match self.pricing.list {
            Some(_) => "by the price list of the host",
            None => "estimated from the shortest KVM_RUN intervals of its kind of exit",
        };
        format!(
            "Cost is VMM time, measured{recorder}, and the exit path, {path}. VMM: from the return of KVM_RUN to its next \
             entry. KVM_RUN: from its entry to its return, which is the guest's own computing and the exit path together."
        )
    }
}

/// That a trace is damaged behind so many exits.
pub(crate) fn truncated(exits: u64, damage: &Damage) -> String {
    let (exits, reason) = (count(exits), safe(&damage.reason));
    format!("TRUNCATED: only the first {exits} exits can be read. At byte {:#x}: {reason}.", damage.offset)
}

/// Text of the trace on a terminal.
pub(super) fn safe(text: impl Display) -> String {
    printable(text.to_string().as_bytes(), false)
}

fn named(what: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("{what} {}", safe(value)) }
}

fn list<const N: usize>(parts: [String; N]) -> String {
    let parts: Vec<_> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    parts.join(", ")
}
