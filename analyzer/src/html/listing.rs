//! The code around the instructions that trapped.

use crate::disassembly::{Disassembler, hex};
use crate::symbols::{Function, Symbols};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use trapline_formats::{CpuMode, Trace, disassemble};

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
    let code = Code::of(function, trapped, trace, disassembler);
    let lines = decode(function.start, &code.bytes, mode, trapped);
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
    json!({
        "function": function.name,
        "start": format!("{:#x}", function.start),
        "lines": shown,
        "patched": code.is_patched,
    })
}

/// The code of a function as its author has it, and where something trapped, as it was then.
struct Code {
    bytes: Vec<u8>,
    /// Whether something else trapped than the image holds: the guest patches itself, as Linux does.
    is_patched: bool,
}

impl Code {
    fn of(
        function: &Function,
        trapped: &BTreeMap<u64, Vec<u32>>,
        trace: &Trace,
        disassembler: &Disassembler<'_>,
    ) -> Self {
        let mut code = Self { bytes: function.bytes.clone(), is_patched: false };
        // Instructions that the recorder rewrote, whether they were executed or not.
        for at in 0..code.bytes.len() {
            let address = function.start.wrapping_add(at as u64);
            if let Some(original) = disassembler.rewritten(address, &code.bytes[at..]) {
                code.lay(at, original);
            }
        }
        let end = function.start.saturating_add(code.bytes.len() as u64);
        for (&address, sites) in trapped.range(function.start..end) {
            let Some(site) = sites.first().and_then(|&s| trace.sites().get(s as usize)) else { continue };
            let at = (address - function.start) as usize;
            code.is_patched |= code.lay(at, &disassembler.code(site));
        }
        code
    }

    /// Lays an instruction over the code; whether it is another one than stands there.
    fn lay(&mut self, at: usize, instruction: &[u8]) -> bool {
        let there = self.bytes.iter_mut().skip(at);
        there.zip(instruction).fold(false, |differs, (byte, new)| {
            let old = std::mem::replace(byte, *new);
            differs || old != *new
        })
    }
}

fn decode(start: u64, code: &[u8], mode: CpuMode, trapped: &BTreeMap<u64, Vec<u32>>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = code;
    let mut at = start;
    while !rest.is_empty() {
        // An instruction begins where something trapped; what would reach into it is what the guest patched.
        let next = trapped.range(at.saturating_add(1)..).next().map_or(u64::MAX, |(next, _)| *next);
        let most = usize::try_from(next - at).unwrap_or(usize::MAX).min(rest.len());
        let (length, text) = disassemble(rest, mode, at)
            .filter(|(length, _)| *length <= most)
            .unwrap_or_else(|| (1, "(no instruction)".into()));
        let (bytes, after) = rest.split_at(length.clamp(1, most));
        let sites = trapped.get(&at).cloned().unwrap_or_default();
        lines.push(Line { at, bytes: hex(bytes), text, sites });
        rest = after;
        at = at.wrapping_add(bytes.len() as u64);
    }
    lines
}
