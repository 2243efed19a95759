//! The first difference, with what stands around it.

use super::align::Side;
use super::exits::{Exits, View};
use super::facts::Fact;
use super::shown::{self, ShownExit, SiteFacts};
use super::walk::{Differs, Witness, pages};
use super::{FEW_PAGES, safe};
use crate::error::AnalyzerError;
use serde::Serialize;
use std::collections::BTreeMap;
use trapline_formats::{Trace, printable};

/// The first exit at which two recordings are not alike. Before it they are equal, so both number it alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct First {
    /// Its number.
    pub exit: u64,
    /// In what it differs: `site`, or any of `data`, `fault`, `events`, `registers`, `state`.
    pub what: Vec<&'static str>,
    /// The exits before it, in both, the oldest first.
    pub before: Vec<ShownExit>,
    /// This exit and what follows it in the first trace.
    pub a: Vec<ShownExit>,
    /// The same in the second.
    pub b: Vec<ShownExit>,
    /// Registers that differ there, where both traces have them and the site is one.
    pub registers: Vec<Fact>,
    /// What else of the complete state differs, at a checkpoint.
    pub state: Vec<Fact>,
    /// Pages of memory that differ there: guest-physical addresses in hexadecimal, the first few.
    pub pages: Vec<String>,
    /// What the guest had printed by then, by console.
    pub console: Vec<ConsolePosition>,
}

/// Where the output of a console stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsolePosition {
    /// The name of the console.
    pub channel: String,
    /// Bytes before this exit.
    pub bytes: u64,
    /// The line that it stands in, or the last one that has text.
    pub line: String,
}

/// Exits shown before.
const BEFORE: u64 = 6;
/// Exits shown from the first difference on, on each side.
const FROM: u64 = 4;
/// Bytes kept of a line.
const LONG: usize = 120;

/// Waits for the first difference.
pub(super) struct Finder<'t> {
    traces: [&'t Trace; 2],
    describe: &'t dyn Fn(Side, u32) -> Option<SiteFacts>,
    found: Option<First>,
}

impl<'t> Finder<'t> {
    pub(super) fn new(traces: [&'t Trace; 2], describe: &'t dyn Fn(Side, u32) -> Option<SiteFacts>) -> Self {
        Self { traces, describe, found: None }
    }

    pub(super) fn into_first(self) -> Option<First> {
        self.found
    }

    fn show(&self, side: Side, view: &View<'_>) -> Option<ShownExit> {
        let site = self.traces[side as usize].sites().get(view.site as usize)?;
        Some(ShownExit::of(view, site, (self.describe)(side, view.site)?))
    }

    /// The exits of a side from one on.
    fn from(
        &self,
        side: Side,
        exits: &mut Exits,
        at: u64,
        most: u64,
    ) -> Result<Vec<ShownExit>, AnalyzerError> {
        let mut shown = Vec::new();
        for at in at..at + most {
            if !exits.reach(at)? {
                break;
            }
            shown.extend(exits.get(at).and_then(|view| self.show(side, &view)));
        }
        Ok(shown)
    }
}

impl Witness for Finder<'_> {
    fn first(
        &mut self,
        at: [u64; 2],
        differs: Option<Differs>,
        exits: &mut [Exits; 2],
    ) -> Result<(), AnalyzerError> {
        let [a, b] = at;
        let start = a.saturating_sub(BEFORE);
        let [left, right] = exits;
        let before = self.from(Side::A, left, start, a - start)?;
        let shown = [self.from(Side::A, left, a, FROM)?, self.from(Side::B, right, b, FROM)?];
        let (mut registers, mut state, mut differing) = (Vec::new(), Vec::new(), Vec::new());
        if let (Some(_), Some(left), Some(right)) = (differs, left.get(a), right.get(b)) {
            if let Some((a, b)) = left.registers.zip(right.registers) {
                registers = shown::registers(a, b);
            }
            if let Some((a, b)) = left.checkpoint.zip(right.checkpoint) {
                state = a.cpu.differences(&b.cpu).into_iter().map(Fact::from).collect();
            }
            differing = pages(&left, &right);
        }
        let [left, right] = shown;
        self.found = Some(First {
            exit: a,
            what: differs.map_or(vec!["site"], Differs::names),
            before,
            a: left,
            b: right,
            registers,
            state,
            pages: differing
                .iter()
                .take(FEW_PAGES)
                .map(|n| format!("{:#x}", n.saturating_mul(4096)))
                .collect(),
            console: console(self.traces[0], a),
        });
        Ok(())
    }
}

/// What the consoles of a trace show before an exit. Damage there costs the position and nothing else.
fn console(trace: &Trace, exit: u64) -> Vec<ConsolePosition> {
    let mut channels: BTreeMap<u8, (u64, Vec<u8>, Vec<u8>)> = BTreeMap::new();
    for text in trace.console().map_while(Result::ok).flatten().take_while(|text| text.exit < exit) {
        let (bytes, line, last) = channels.entry(text.channel).or_default();
        *bytes += text.bytes.len() as u64;
        for byte in text.bytes {
            if byte != b'\n' {
                if line.len() < LONG {
                    line.push(byte);
                }
            } else if line.iter().all(u8::is_ascii_whitespace) {
                line.clear();
            } else {
                *last = std::mem::take(line);
            }
        }
    }
    let names = &trace.header().console_channels;
    let position = |(channel, (bytes, line, last)): (u8, (u64, Vec<u8>, Vec<u8>))| ConsolePosition {
        channel: names.get(usize::from(channel)).map_or_else(|| channel.to_string(), safe),
        bytes,
        line: printable(if line.trim_ascii().is_empty() { &last } else { &line }.trim_ascii(), false),
    };
    channels.into_iter().map(position).collect()
}
