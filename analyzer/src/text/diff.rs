//! Two recordings, exit by exit, for people.

use super::layout::{self, Column};
use super::numbers::{Unit, count, counted};
use crate::diff::{Diff, ExitCounts, Fact, First, Place, ShownExit, SiteFacts};

/// What stands for a number that does not exist.
const NONE: &str = "–";
/// Bytes of data that a line shows.
const DATA: usize = 8;

/// Lines in the making.
struct Page {
    lines: Vec<String>,
    width: usize,
    top: usize,
}

impl Diff {
    /// The comparison as text, at most `width` columns wide and with at most `top` rows per table.
    pub fn to_text(&self, top: Option<usize>, width: usize) -> String {
        let mut page = Page { lines: Vec::new(), width, top: top.unwrap_or(usize::MAX) };
        page.verdict(self);
        page.ends(self);
        page.facts("Headers that differ", "They alone make no two recordings different.", &self.headers);
        page.start(self);
        if let Some(first) = &self.first {
            page.first(first);
        }
        page.exits(&self.exits);
        page.loops(self);
        page.places(self);
        page.sites(self);
        let lines: Vec<_> = page.lines.iter().map(|l| layout::fit(l.trim_end(), width)).collect();
        lines.join("\n") + "\n"
    }
}

impl Page {
    fn line(&mut self, text: impl Into<String>) {
        self.lines.push(text.into());
    }

    fn heading(&mut self, text: impl Into<String>) {
        self.lines.extend([String::new(), text.into(), String::new()]);
    }

    fn table(&mut self, columns: Vec<Column>) {
        self.lines.extend(layout::table(columns, self.width, &[]));
    }

    fn more(&mut self, shown: usize, all: u64) {
        if all > shown as u64 {
            self.line(format!("({} more)", count(all - shown as u64)));
        }
    }

    fn verdict(&mut self, diff: &Diff) {
        let [a, b] = &diff.traces;
        let verdict = match &diff.first {
            Some(first) => format!("different from exit {} on", count(first.exit)),
            None if !diff.start.is_same() => "the guests are not the same, their exits are".into(),
            None if diff.different => "all exits are equal, how they end is not".into(),
            None if diff.exits.behind_the_end != [0; 2] => "equal up to where the shorter one was cut".into(),
            None => "equal".into(),
        };
        self.line(format!("{} (a) and {} (b): {verdict}", a.name, b.name));
        for (name, trace) in [("a", a), ("b", b)] {
            if let Some(damage) = &trace.damage {
                self.line(format!("DAMAGED: {name} at byte {:#x}: {}", damage.offset, damage.reason));
            }
        }
    }

    fn ends(&mut self, diff: &Diff) {
        let each =
            |of: &dyn Fn(&crate::diff::Recorded) -> String| diff.traces.iter().map(of).collect::<Vec<_>>();
        self.line("");
        self.table(vec![
            Column::text("", vec!["a".into(), "b".into()]),
            Column::number("exits", each(&|t| count(t.exits))),
            Column::text("clock", each(&|t| t.clock.into())),
            Column::text("ended", each(&|t| t.ended.clone())),
        ]);
    }

    fn facts(&mut self, title: &str, note: &str, facts: &[Fact]) {
        if facts.is_empty() {
            return;
        }
        self.heading(format!("{title}: {}. {note}", count(facts.len() as u64)));
        let shown = &facts[..facts.len().min(self.top)];
        let each = |of: &dyn Fn(&Fact) -> &String| shown.iter().map(|f| of(f).clone()).collect::<Vec<_>>();
        self.table(vec![
            Column::text("", each(&|f| &f.name)).content_with(20),
            Column::text("a", each(&|f| &f.a)),
            Column::text("b", each(&|f| &f.b)),
        ]);
        self.more(shown.len(), facts.len() as u64);
    }

    fn start(&mut self, diff: &Diff) {
        let start = &diff.start;
        self.facts("Registers that differ before the first exit", "", &start.state);
        if start.pages > 0 {
            let dots = if start.pages > start.first_pages.len() as u64 { ", …" } else { "" };
            self.line("");
            self.line(format!(
                "Memory that differs before the first exit: {}, at {}{dots}",
                counted(start.pages, "page"),
                start.first_pages.join(", ")
            ));
        }
    }

    fn first(&mut self, first: &First) {
        let what = if first.what == ["site"] { "another site".to_owned() } else { first.what.join(", ") };
        self.heading(format!("First difference: exit {}, {what}", count(first.exit)));
        let mut rows = Rows::default();
        first.before.iter().for_each(|exit| rows.add("", exit));
        first.a.iter().for_each(|exit| rows.add("a", exit));
        first.b.iter().for_each(|exit| rows.add("b", exit));
        self.table(rows.columns());
        for (title, facts) in
            [("Registers that differ there", &first.registers), ("State that differs there", &first.state)]
        {
            self.facts(title, "", facts);
        }
        if !first.pages.is_empty() {
            self.line("");
            self.line(format!("Memory that differs there: {}", first.pages.join(", ")));
        }
        if !first.console.is_empty() {
            self.line("");
        }
        for console in &first.console {
            let text =
                if console.line.is_empty() { String::new() } else { format!(", at: {}", console.line) };
            self.line(format!("{} has printed {}{text}", console.channel, counted(console.bytes, "byte")));
        }
    }

    fn exits(&mut self, counts: &ExitCounts) {
        self.heading("Exits");
        let kinds = [
            (counts.changed_data, "in data"),
            (counts.changed_fault, "in #GP or not"),
            (counts.changed_events, "in what the host did after them"),
            (counts.changed_registers_only, "in registers only"),
            (counts.changed_state, "in the state at a checkpoint"),
        ];
        let kinds: Vec<_> =
            kinds.iter().filter(|k| k.0 > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
        let changed =
            if kinds.is_empty() { "changed".into() } else { format!("changed: {}", kinds.join(", ")) };
        let [a, b] = counts.behind_the_end;
        let rows = [
            (counts.equal, "equal".to_owned()),
            (counts.changed, changed),
            (counts.only_in_a, "only in a".into()),
            (counts.only_in_b, "only in b".into()),
            (a, "of a behind the end of b, which was cut: not compared".into()),
            (b, "of b behind the end of a, which was cut: not compared".into()),
        ];
        let width = rows.iter().map(|r| count(r.0).len()).max().unwrap_or(0) + 2;
        for (i, (number, what)) in rows.into_iter().enumerate() {
            if number > 0 || i == 0 {
                self.line(format!("{:>width$}  {what}", count(number)));
            }
        }
    }

    fn loops(&mut self, diff: &Diff) {
        if diff.loops.is_empty() {
            return;
        }
        self.heading("Loops that ran longer on one side");
        let shown = &diff.loops[..diff.loops.len().min(self.top)];
        let number = |n: u64| if n == 0 { String::new() } else { count(n) };
        self.table(vec![
            Column::number("a", shown.iter().map(|l| number(l.more_in_a)).collect())
                .in_group("iterations more"),
            Column::number("b", shown.iter().map(|l| number(l.more_in_b)).collect())
                .in_group("iterations more"),
            Column::number("places", shown.iter().map(|l| count(l.places)).collect()),
            Column::text("iteration", shown.iter().map(|l| sites(&l.sites)).collect()),
        ]);
        self.more(shown.len(), diff.loops.len() as u64);
    }

    fn places(&mut self, diff: &Diff) {
        if diff.places.is_empty() {
            return;
        }
        self.heading(format!("Where they part: {}", counted(diff.places_in_all, "place")));
        let shown = &diff.places[..diff.places.len().min(self.top)];
        let range = |[start, end]: [u64; 2]| match end - start {
            0 => format!("before #{start}"),
            1 => format!("#{start}"),
            _ => format!("#{start} to #{}", end - 1),
        };
        self.table(vec![
            Column::text("a", shown.iter().map(|p| range(p.a)).collect()),
            Column::text("b", shown.iter().map(|p| range(p.b)).collect()),
            Column::text("", shown.iter().map(place).collect()).content_with(50),
        ]);
        self.more(shown.len(), diff.places_in_all);
    }

    fn sites(&mut self, diff: &Diff) {
        if diff.sites.is_empty() {
            return;
        }
        self.heading(format!("Sites whose exits differ: {}", count(diff.sites.len() as u64)));
        let shown = &diff.sites[..diff.sites.len().min(self.top)];
        let mut columns = vec![
            Column::number("a", shown.iter().map(|s| count(s.exits_a)).collect()).in_group("exits"),
            Column::number("b", shown.iter().map(|s| count(s.exits_b)).collect()).in_group("exits"),
            Column::number("changed", shown.iter().map(|s| count(s.changed)).collect()),
        ];
        let costs = shown.iter().flat_map(|s| [s.cost_a_ns, s.cost_b_ns]).flatten();
        if let Some(largest) = costs.max().filter(|_| diff.one_host) {
            let unit = Unit::fitting(largest as f64);
            let cell = |ns: Option<u64>| ns.map_or(NONE.to_owned(), |ns| unit.number(ns as f64));
            let group = format!("cost, {}", unit.name);
            columns.push(
                Column::number("a", shown.iter().map(|s| cell(s.cost_a_ns)).collect()).in_group(&group),
            );
            columns.push(
                Column::number("b", shown.iter().map(|s| cell(s.cost_b_ns)).collect()).in_group(&group),
            );
        }
        columns.push(Column::text("instruction", shown.iter().map(|s| s.site.instruction.clone()).collect()));
        columns.push(Column::text("does", shown.iter().map(|s| s.site.target.clone()).collect()));
        self.table(columns);
        self.more(shown.len(), diff.sites.len() as u64);
    }
}

/// What a place is.
fn place(place: &Place) -> String {
    let more = |[start, end]: [u64; 2]| end - start;
    let (a, b) = (more(place.a), more(place.b));
    let side = if a > 0 { "a" } else { "b" };
    match place.iterations {
        Some(n) => {
            let noun = if n == 1 { "iteration" } else { "iterations" };
            format!("{} more {noun} in {side} of {}", count(n), sites(&place.sites))
        }
        None if a > 0 && b > 0 => {
            format!("{} in a, {} in b: {} …", counted(a, "exit"), counted(b, "exit"), sites(&place.sites))
        }
        None => format!("{} only in {side}: {} …", counted(a + b, "exit"), sites(&place.sites)),
    }
}

fn sites(sites: &[SiteFacts]) -> String {
    let short: Vec<_> = sites.iter().map(|s| s.instruction.as_str()).collect();
    short.join("; ")
}

/// Exits, one below the other, with the events that follow each.
#[derive(Default)]
struct Rows {
    sides: Vec<String>,
    exits: Vec<String>,
    what: Vec<String>,
    data: Vec<String>,
    instruction: Vec<String>,
}

impl Rows {
    fn add(&mut self, side: &str, exit: &ShownExit) {
        let mut row = |number: String, what: String, data: String, instruction: String| {
            self.sides.push(side.into());
            self.exits.push(number);
            self.what.push(what);
            self.data.push(data);
            self.instruction.push(instruction);
        };
        row(format!("#{}", exit.exit), exit.site.target.clone(), data(exit), exit.site.instruction.clone());
        for event in &exit.events {
            row(String::new(), format!("→ {event}"), String::new(), String::new());
        }
    }

    fn columns(self) -> Vec<Column> {
        vec![
            Column::text("", self.sides),
            Column::number("exit", self.exits),
            Column::text("does", self.what).content_with(34),
            Column::text("data", self.data),
            Column::text("instruction", self.instruction),
        ]
    }
}

/// Data as the number it is: elements are little-endian.
fn data(exit: &ShownExit) -> String {
    let fault = if exit.fault { " #GP" } else { "" };
    let Some(hex) = &exit.data else { return fault.trim_start().into() };
    let bytes: Vec<_> = (0..hex.len() / 2).filter_map(|i| hex.get(2 * i..2 * i + 2)).take(DATA).collect();
    let number: String = bytes.iter().rev().copied().collect();
    let more = if exit.data_bytes > DATA { format!(" ({} bytes)", exit.data_bytes) } else { String::new() };
    format!("0x{number}{more}{fault}")
}
