//! `trapline inspect`: what a trace holds.

use crate::args::{ExitRange, Inspect};
use crate::{hex, preemption, safe, state};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use trapline_formats::envelope::BlockType;
use trapline_formats::{Damage, Event, Exit, InputChunk, Preempt, Rewrite, Site, Trace};

/// Version of the JSON output.
const SCHEMA_VERSION: u32 = 0;

/// Runs the verb.
pub fn run(args: &Inspect, verbose: u8) -> Result<u8> {
    let trace = Trace::open(&args.trace)?;
    if let Some(exit) = args.state {
        return state::run(&trace, exit, args);
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    // The overview reads all of the file, whatever its index says.
    let damage = if args.exits.is_some() { trace.damage().cloned() } else { trace.check()? };
    match (args.exits, args.json) {
        (Some(range), json) => list(&trace, range, json, &mut out)?,
        (None, true) => writeln!(out, "{}", safe::json(&overview_json(&trace, damage.as_ref()), true))?,
        (None, false) => overview(&trace, damage.as_ref(), verbose, &mut out)?,
    }
    out.flush()?;
    // What is readable has been shown; that something is missing still has to be told.
    Ok(if damage.is_some() { crate::FAILED } else { 0 })
}

/// What has to be counted by reading the streams.
#[derive(Default)]
struct Counts {
    exits: u64,
    events: BTreeMap<&'static str, u64>,
    by_kind: BTreeMap<&'static str, u64>,
    /// So often the guest's TSC was moved on, where it was held.
    held_tsc: Option<u64>,
    error: Option<String>,
}

impl Counts {
    fn of(trace: &Trace) -> Self {
        let mut counts = Self::default();
        for chunk in trace.inputs() {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    counts.error = Some(error.to_string());
                    break;
                }
            };
            counts.exits += chunk.len() as u64;
            if let Some(held) = &chunk.held {
                *counts.held_tsc.get_or_insert(0) += held.values.len() as u64;
            }
            for exit in chunk.exits() {
                *counts.by_kind.entry(trace.sites()[exit.site as usize].kind.name()).or_default() += 1;
            }
            for (_, event) in chunk.events() {
                *counts.events.entry(event.name()).or_default() += 1;
            }
        }
        counts
    }
}

/// Bytes in the file by type of block.
fn sizes(trace: &Trace) -> BTreeMap<u16, (u64, u64, u64)> {
    let mut sizes = BTreeMap::new();
    for block in trace.blocks() {
        let (count, raw, stored) = sizes.entry(block.header.kind).or_insert((0, 0, 0));
        *count += 1;
        *raw += u64::from(block.header.raw);
        *stored += u64::from(block.header.stored);
    }
    sizes
}

fn block_name(kind: u16) -> String {
    BlockType::from_number(kind)
        .map_or_else(|| format!("unknown ({kind})"), |t| t.name().replace(" block", ""))
}

fn overview(trace: &Trace, damage: Option<&Damage>, verbose: u8, out: &mut impl Write) -> Result<()> {
    let header = trace.header();
    let counts = Counts::of(trace);
    writeln!(out, "{}", safe::text(trace.path().display()))?;
    if let Some(damage) = damage {
        writeln!(
            out,
            "  DAMAGED       at byte {:#x}: {}; everything before it is shown",
            damage.offset, damage.reason
        )?;
    }
    if let Some(error) = counts.error.as_ref().filter(|_| damage.is_none()) {
        writeln!(out, "  DAMAGED       {}; exits before it are counted", safe::text(error))?;
    }
    let host = &header.host;
    writeln!(
        out,
        "  recorded by   trapline {} on {} ({})",
        safe::text(&header.recorder),
        safe::text(&host.engine),
        safe::text(&host.kernel)
    )?;
    writeln!(
        out,
        "  processor     {} (signature {:#x}, microcode {:#x})",
        safe::text(&host.cpu_brand),
        host.cpu_signature,
        host.microcode
    )?;
    host_details(trace, verbose, out)?;
    writeln!(out, "  entered as    {}, clock {:?}", safe::text(&header.entry), header.clock)?;
    if header.preempt == Preempt::Positions {
        writeln!(out, "  interrupts    after exits, and at positions between them")?;
    }
    if let Some(moved) = counts.held_tsc {
        writeln!(out, "  TSC           held, and moved on {moved} times")?;
    }
    for file in &header.files {
        writeln!(
            out,
            "  {:<13} {} ({} bytes, xxh3 {:016x})",
            safe::text(&file.role),
            safe::text(&file.name),
            file.bytes,
            file.xxh3
        )?;
    }
    for region in &header.memory {
        let kind = if region.readonly { "ROM" } else { "RAM" };
        writeln!(out, "  {kind:<13} {:#x}..{:#x}", region.gpa, region.gpa + region.bytes)?;
    }
    match trace.end() {
        Some(end) => writeln!(out, "  ended         {}", end.reason)?,
        None => writeln!(out, "  ended         unknown: the end is missing")?,
    }
    writeln!(out, "  exits         {} at {} sites", counts.exits, trace.sites().len())?;
    for (kind, count) in &counts.by_kind {
        writeln!(out, "    {count:>12}  {kind}")?;
    }
    if !counts.events.is_empty() {
        writeln!(out, "  events")?;
    }
    for (kind, count) in &counts.events {
        writeln!(out, "    {count:>12}  {kind}")?;
    }
    for line in trace.end().iter().flat_map(|end| preemption::lines(header.preempt, &end.preemption)) {
        writeln!(out, "    {line}")?;
    }
    writeln!(out, "  streams       blocks        raw     stored  bytes per exit raw, stored")?;
    for (kind, (count, raw, stored)) in sizes(trace) {
        let each = |n: u64| n as f64 / counts.exits.max(1) as f64;
        writeln!(
            out,
            "    {:<12} {count:>5} {raw:>10} {stored:>10}  {:>8.2} {:>8.2}",
            block_name(kind),
            each(raw),
            each(stored)
        )?;
    }
    clocks(trace, out)
}

/// What KVM could do there, and what the guest was told of the processor.
fn host_details(trace: &Trace, verbose: u8, out: &mut impl Write) -> Result<()> {
    let header = trace.header();
    let capabilities = &header.host.capabilities;
    let missing = capabilities.iter().filter(|(_, value)| *value <= 0).count();
    let (rows, present) = (header.cpuid.len(), capabilities.len() - missing);
    let more = if verbose == 0 { "; -v lists them" } else { "" };
    writeln!(
        out,
        "  KVM           {present} of {} capabilities, {rows} rows of CPUID{more}",
        capabilities.len()
    )?;
    if verbose == 0 {
        return Ok(());
    }
    for (name, value) in capabilities {
        writeln!(out, "    {:<36} {value}", safe::text(name))?;
    }
    writeln!(out, "    CPUID leaf, subleaf         EAX        EBX        ECX        EDX")?;
    for entry in &header.cpuid {
        let registers: Vec<_> = entry.registers.iter().map(|r| format!("{r:#010x}")).collect();
        writeln!(out, "    {:#010x} {:>4}      {}", entry.leaf, entry.subleaf, registers.join(" "))?;
    }
    Ok(())
}

/// Clock reads: closed, suspected, open.
fn clocks(trace: &Trace, out: &mut impl Write) -> Result<()> {
    let header = trace.header();
    let rewrite = |out: &mut dyn Write, r: &Rewrite| {
        let by = safe::text(&r.found_by);
        writeln!(
            out,
            "    {:#012x}  {} -> {}  found by {by}",
            r.gpa,
            hex::spaced(&r.original),
            hex::spaced(&r.replacement)
        )
    };
    writeln!(out, "  rewritten     {} instructions before the start", header.rewrites.len())?;
    for r in &header.rewrites {
        rewrite(out, r)?;
    }
    for s in &header.suspects {
        let why =
            if s.bytes == [0x0f, 0x31] { "not proved to be an instruction" } else { "hidden in CPUID only" };
        writeln!(out, "    {:#012x}  {}  not rewritten: {why}", s.gpa, hex::spaced(&s.bytes))?;
    }
    for late in trace.end().iter().flat_map(|end| &end.rewrites) {
        write!(out, "    after exit {}:", late.exit)?;
        rewrite(out, &late.rewrite)?;
    }
    let Some(end) = trace.end() else { return Ok(()) };
    for u in &end.unclosed {
        let (source, evidence) = (safe::text(&u.source), safe::text(&u.evidence));
        writeln!(out, "    UNCLOSED: {source} executed, first seen at exit {}: {evidence}", u.exit)?;
    }
    if !end.unclaimed.is_empty() {
        writeln!(out, "  no device at")?;
    }
    for u in &end.unclaimed {
        writeln!(
            out,
            "    {:>12}  {:?}: {} reads, {} writes",
            format!("{:#x}", u.address),
            u.space,
            u.reads,
            u.writes
        )?;
    }
    Ok(())
}

fn overview_json(trace: &Trace, damage: Option<&Damage>) -> Value {
    let counts = Counts::of(trace);
    let blocks: Vec<_> = sizes(trace)
        .into_iter()
        .map(|(kind, (count, raw, stored))| {
            json!({"type": block_name(kind), "blocks": count, "raw_bytes": raw, "stored_bytes": stored})
        })
        .collect();
    json!({
        "schema_version": SCHEMA_VERSION,
        "path": trace.path().to_string_lossy(),
        "bytes": trace.bytes(),
        "damage": damage.map(|d| json!({"offset": d.offset, "reason": d.reason})).or_else(|| counts.error.map(|e| json!({"reason": e}))),
        "header": trace.header(),
        "end": trace.end(),
        "exits": counts.exits,
        "sites": trace.sites().len(),
        "exits_by_kind": counts.by_kind,
        "events": counts.events,
        "held_tsc_moves": counts.held_tsc,
        "blocks": blocks,
    })
}

/// Lists exits, with the events that follow each.
fn list(trace: &Trace, range: ExitRange, as_json: bool, out: &mut impl Write) -> Result<()> {
    // Events behind the last exit of a chunk may stand in the one after it: so each waits for the next.
    let mut waits = InputChunk::default();
    let mut events: Vec<(u64, Event)> = Vec::new();
    for chunk in trace.inputs() {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                list_chunk(trace, &waits, &events, range, as_json, out)?;
                return Err(error.into());
            }
        };
        let first = chunk.first_exit;
        let (early, own): (Vec<_>, Vec<_>) =
            chunk.events().map(|(exit, event)| (exit, event.clone())).partition(|(exit, _)| *exit < first);
        events.extend(early);
        if chunk.is_empty() {
            continue;
        }
        list_chunk(trace, &waits, &events, range, as_json, out)?;
        (waits, events) = (chunk, own);
        if first >= range.end {
            return Ok(());
        }
    }
    list_chunk(trace, &waits, &events, range, as_json, out)
}

fn list_chunk(
    trace: &Trace,
    chunk: &InputChunk,
    events: &[(u64, Event)],
    range: ExitRange,
    as_json: bool,
    out: &mut impl Write,
) -> Result<()> {
    for exit in chunk.exits().filter(|exit| (range.start..range.end).contains(&exit.index)) {
        let start = events.partition_point(|(at, _)| *at < exit.index);
        let after: Vec<_> =
            events[start..].iter().take_while(|(at, _)| *at == exit.index).map(|(_, event)| event).collect();
        let site = &trace.sites()[exit.site as usize];
        if as_json {
            json_line(&exit, site, &after, out)?;
        } else {
            text_line(&exit, site, &after, out)?;
        }
    }
    Ok(())
}

fn text_line(exit: &Exit<'_>, site: &Site, events: &[&Event], out: &mut impl Write) -> Result<()> {
    let address = if site.kind.space().is_some() { format!("{:#x}", site.address) } else { String::new() };
    let data = hex::digits(exit.data.iter().rev().take(8));
    let data = if data.is_empty() { data } else { format!("0x{data}") };
    let more = if exit.data.len() > 8 { format!(" ({} bytes)", exit.data.len()) } else { String::new() };
    let fault = if exit.fault { " #GP" } else { "" };
    writeln!(
        out,
        "{:>10}  {:<16} {address:>10}  {data:<18}{more}{fault} {:#x}  {}",
        exit.index,
        site.kind.name(),
        site.instruction.address.0,
        site.instruction.text()
    )?;
    for event in events {
        writeln!(out, "{:>10}  {}", "", event_text(event))?;
    }
    Ok(())
}

/// Of what was written into memory, the text shows so many bytes.
const SHOWN_BYTES: usize = 16;

fn event_text(event: &Event) -> String {
    match event {
        Event::Interrupt { vector } => format!("-> interrupt, vector {vector:#x}"),
        Event::TaskPriority { cr8 } => format!("-> task-priority, CR8 {cr8}"),
        Event::MemoryWrite { gpa, bytes } => {
            let shown = hex::digits(bytes.iter().take(SHOWN_BYTES));
            let dots = if bytes.len() > SHOWN_BYTES { " ..." } else { "" };
            format!("-> memory write at {gpa:#x}, {} bytes: {shown}{dots}", bytes.len())
        }
        Event::FileRead { gpa, file, offset, length, .. } => {
            format!("-> memory write at {gpa:#x}, {length} bytes: file {file} from {offset:#x} on")
        }
        Event::Jump { rip } => format!("-> jump to {rip:#x}"),
        Event::Keyframe { number, .. } => format!("-> {} {number}", event.name()),
        other => format!("-> {}", other.name()),
    }
}

fn json_line(exit: &Exit<'_>, site: &Site, events: &[&Event], out: &mut impl Write) -> Result<()> {
    let events: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Interrupt { vector } => json!({"event": "interrupt", "vector": vector}),
            Event::TaskPriority { cr8 } => json!({"event": "task-priority", "cr8": cr8}),
            Event::MemoryWrite { gpa, bytes } => {
                json!({"event": "memory-write", "gpa": gpa, "bytes": hex::digits(bytes.iter())})
            }
            Event::FileRead { gpa, file, offset, length, xxh3 } => json!({
                "event": "file-read", "gpa": gpa, "file": file, "offset": offset, "length": length,
                "xxh3": format!("{xxh3:016x}"),
            }),
            Event::Jump { rip } => json!({"event": "jump", "rip": rip}),
            Event::Keyframe { number, carried } => {
                json!({"event": "keyframe", "number": number, "carried": carried})
            }
            other => json!({"event": other.name()}),
        })
        .collect();
    let line = json!({
        "exit": exit.index,
        "site": exit.site,
        "kind": site.kind.name(),
        "address": site.kind.space().map(|_| site.address),
        "size": site.size,
        "data": hex::digits(exit.data),
        "fault": exit.fault,
        "instruction_address": site.instruction.address.0,
        "mode": site.instruction.mode.name(),
        "cpl": site.instruction.cpl,
        "events": events,
    });
    writeln!(out, "{}", safe::json(&line, false))?;
    Ok(())
}
