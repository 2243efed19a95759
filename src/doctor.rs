//! `trapline doctor`: what this host's KVM can do, and what it means for recording.

use crate::{FAILED, progress};
use anyhow::Result;
use std::io::Write;
use trapline_machine::doctor::{
    Capability, Cost, Finding, InstructionFate, Report, Verdict, open_and_examine,
};

/// No line is longer.
const WIDTH: usize = 100;
/// Where values begin.
const VALUES: usize = 49;

/// Examines this host and prints the report. The exit status: 0 where Trapline can record, 2 where it cannot.
pub fn run(json: bool) -> Result<u8> {
    let bar = progress::bar(None, "{spinner} examining: {msg}", json);
    let report = open_and_examine(&mut |what| bar.set_message(what.to_owned()));
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        out.write_all(text(&report).as_bytes())?;
    }
    out.flush()?;
    Ok(if report.usable { 0 } else { FAILED })
}

/// The report as people read it.
fn text(report: &Report) -> String {
    let mut page = Page(String::new());
    for (i, line) in report.summary.iter().enumerate() {
        page.wrapped(if i == 0 { "" } else { "  " }, "    ", line);
    }
    if let Some(trouble) = &report.trouble {
        page.wrapped("", "    ", &format!("What to try: {}", trouble.remedy));
    }
    if report.usable {
        page.line("");
        page.line("+ as recording wants it   ! limits recording   (no mark) good to know");
    }
    for group in &report.groups {
        page.heading(&group.title);
        let mut last = "";
        for finding in &group.findings {
            page.finding(finding, finding.meaning != last);
            last = &finding.meaning;
        }
    }
    page.costs(&report.costs);
    page.instructions(&report.instructions);
    page.capabilities(&report.capabilities);
    page.0
}

fn mark(verdict: Verdict) -> char {
    match verdict {
        Verdict::Good => '+',
        Verdict::LimitsRecording => '!',
        Verdict::Informational => ' ',
    }
}

/// Text that grows line by line.
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn heading(&mut self, title: &str) {
        self.line("");
        self.line(title);
    }

    /// Words, broken at the width of the page.
    fn wrapped(&mut self, first: &str, next: &str, words: &str) {
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in words.split_whitespace() {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                next.clone_into(&mut line);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.line(&line);
    }

    fn finding(&mut self, finding: &Finding, with_meaning: bool) {
        let first = format!("{} {:<width$}", mark(finding.verdict), finding.title, width = VALUES - 2);
        let first = if first.ends_with(' ') { first } else { first + "  " };
        self.wrapped(&first, &" ".repeat(VALUES), &finding.value);
        if with_meaning && !finding.meaning.is_empty() {
            self.wrapped("      ", "      ", &finding.meaning);
        }
    }

    fn costs(&mut self, costs: &[Cost]) {
        if costs.is_empty() {
            return;
        }
        self.heading("What exits cost, from exit to exit (ticks are RDTSC's, at the frequency above)");
        self.line(&format!("  {:<40} {:>10} {:>22} {:>12}", "", "median", "p10 .. p90", "ticks"));
        for cost in costs {
            let us = |ns: f64| format!("{:.2}", ns / 1e3);
            let range = format!("{} .. {} us", us(cost.ns.p10), us(cost.ns.p90));
            let median = format!("{} us", us(cost.ns.median));
            self.line(&format!("  {:<40} {median:>10} {range:>22} {:>12.0}", cost.title, cost.ticks.median));
        }
    }

    fn instructions(&mut self, instructions: &[InstructionFate]) {
        const MODES: [&str; 4] = ["16-bit", "32-bit", "64-bit", "user"];
        if instructions.is_empty() {
            return;
        }
        self.heading(
            "Instructions that KVM may have to emulate (FAILS, HANGS: in KVM; #UD and so on: in the guest)",
        );
        let row = |first: &str, cells: [&str; 4]| {
            cells.iter().fold(format!("{first:<28}"), |line, cell| format!("{line}{cell:<13}"))
        };
        self.line(&row("", MODES));
        for fate in instructions {
            let cell =
                |mode: &str| fate.fates.iter().find(|f| f.mode == mode).map_or("-", |f| f.detail.as_str());
            self.line(&row(&format!("{} {}", mark(fate.verdict), fate.instruction), MODES.map(cell)));
        }
        if instructions.iter().any(|i| i.verdict == Verdict::LimitsRecording) {
            self.wrapped(
                "      ",
                "      ",
                "Trapline finishes some of those that fail for KVM; at others a recording stops and names the instruction.",
            );
        }
    }

    fn capabilities(&mut self, capabilities: &[Capability]) {
        if capabilities.is_empty() {
            return;
        }
        self.heading("Capabilities of KVM");
        for c in capabilities {
            let first = format!("{} {:<35} {:>8}  ", mark(c.verdict), c.name, c.value);
            self.wrapped(&first, &" ".repeat(48), &c.purpose);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_machine::doctor::{Group, Trouble};

    fn sample() -> Report {
        let trouble = Trouble { what: "it is not there".to_owned(), remedy: "make it ".repeat(40) };
        let mut report = Report::unusable(trouble);
        report.groups.push(Group {
            id: "g".to_owned(),
            title: "Group".to_owned(),
            findings: vec![Finding {
                id: "f".to_owned(),
                title: "A title".to_owned(),
                value: "a value ".repeat(30),
                verdict: Verdict::LimitsRecording,
                meaning: "it means ".repeat(30),
            }],
        });
        report
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        let text = text(&sample());
        assert!(text.lines().all(|l| l.chars().count() <= WIDTH && l.trim_end() == l), "{text}");
    }

    #[test]
    fn an_unusable_kvm_is_explained_with_its_remedy() {
        let text = text(&sample());
        assert!(text.starts_with("Trapline cannot record here: it is not there.\nWhat to try: make it"));
    }
}
