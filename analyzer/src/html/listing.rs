//! The code around the instructions that trapped.

use crate::disassembly::{Disassembler, hex};
use crate::symbols::{Function, Symbols};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use trapline_formats::{CpuMode, ExitKind, Trace, disassemble};

/// Functions that are listed: those of the dearest sites.
const FUNCTIONS: usize = 40;
/// Lines shown before and after an instruction that trapped.
const AROUND: usize = 12;

/// A line of code.
struct Line {
    at: u64,
    bytes: String,
    text: String,
    sites: Vec<u32>,
}

/// Listings of the functions in which these sites stand, the dearest site's first.
pub(super) fn listings(trace: &Trace, symbols: &Symbols, sites: &[u32]) -> Vec<Value> {
    let mut trapped: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for &site in sites {
        if let Some(found) = trace.sites().get(site as usize) {
            trapped.entry(found.instruction.address.0).or_default().push(site);
        }
    }
    let disassembler = Disassembler::new(&trace.header().rewrites);
    let mut listed = BTreeSet::new();
    let mut listings = Vec::new();
    for &site in sites {
        let Some(symbol) = symbols.of(site).filter(|s| listed.insert(s.start)) else { continue };
        let Some(function) = symbols.functions().iter().find(|f| f.start == symbol.start) else { continue };
        let mode = trace.sites()[site as usize].instruction.mode;
        listings.push(listing(function, mode, &trapped, trace, &disassembler));
        if listings.len() == FUNCTIONS {
            break;
        }
    }
    listings
}

fn listing(
    function: &Function,
    mode: CpuMode,
    trapped: &BTreeMap<u64, Vec<u32>>,
    trace: &Trace,
    disassembler: &Disassembler<'_>,
) -> Value {
    let mut lines = decode(function, mode, trapped);
    // A kernel in memory holds its rewritten instructions; who reads its code wants to see it as it was.
    for line in &mut lines {
        let clock_read =
            line.sites.iter().map(|&s| &trace.sites()[s as usize]).find(|s| s.kind == ExitKind::ClockRead);
        line.text =
            clock_read.and_then(|site| disassembler.of(site).text).unwrap_or(std::mem::take(&mut line.text));
    }
    let hot: Vec<_> = (0..lines.len()).filter(|&i| !lines[i].sites.is_empty()).collect();
    let is_near = |i: usize| hot.iter().any(|&h| i.abs_diff(h) <= AROUND);
    let mut shown = Vec::new();
    let mut left_out = 0;
    for (i, line) in lines.iter().enumerate() {
        if !is_near(i) {
            left_out += 1;
            continue;
        }
        if left_out > 0 {
            shown.push(json!({"left_out": left_out}));
            left_out = 0;
        }
        let offset = line.at.wrapping_sub(function.start);
        shown.push(json!({"offset": offset, "bytes": line.bytes, "text": line.text, "sites": line.sites}));
    }
    if left_out > 0 {
        shown.push(json!({"left_out": left_out}));
    }
    json!({"function": function.name, "start": format!("{:#x}", function.start), "lines": shown})
}

fn decode(function: &Function, mode: CpuMode, trapped: &BTreeMap<u64, Vec<u32>>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = function.bytes.as_slice();
    let mut at = function.start;
    while !rest.is_empty() {
        let (length, text) = disassemble(rest, mode, at).unwrap_or_else(|| (1, "(no instruction)".into()));
        let (bytes, after) = rest.split_at(length.clamp(1, rest.len()));
        let sites = trapped.get(&at).cloned().unwrap_or_default();
        lines.push(Line { at, bytes: hex(bytes), text, sites });
        rest = after;
        at = at.wrapping_add(bytes.len() as u64);
    }
    lines
}
