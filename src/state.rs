//! `trapline inspect --state`: the guest behind an exit.

mod text;

use crate::args::Inspect;
use crate::{DIVERGED, hex, replay, safe};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::io::Write;
use trapline_formats::{
    CONTROL_NAMES, CpuMode, CpuState, GENERAL_NAMES, Gpa, Gva, SEGMENT_NAMES, Trace, disassemble,
};
use trapline_machine::paging::Entry;
use trapline_machine::{Machine, View, open_and_probe};
use trapline_replayer::{Outcome, Replay, ReplayOptions};

/// Version of the JSON output.
const SCHEMA_VERSION: u32 = 0;
/// Instructions shown.
const INSTRUCTIONS: usize = 8;
/// No instruction is longer (SDM vol. 2, 2.3.11).
const LONGEST: usize = 15;

/// Runs the verb.
pub fn run(trace: &Trace, exit: u64, args: &Inspect) -> Result<u8> {
    if let Some(end) = trace.end().filter(|end| exit >= end.exits) {
        bail!("--state {exit}: the trace has {} exits, numbered from 0", end.exits);
    }
    let (kvm, convention) = open_and_probe()?;
    let options = ReplayOptions {
        from: Some(exit),
        until: Some(exit),
        disks: args.disk.clone(),
        ..ReplayOptions::default()
    };
    let replay = trapline_replayer::replay(&kvm, convention, trace, &options, &mut |_| {})?;
    if let Outcome::Diverged(divergence) = &replay.outcome {
        say!("{}", replay::told(trace, divergence));
        return Ok(DIVERGED);
    }
    replay::remarks(&replay);
    let found = Found::of(exit, &replay, args)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if args.json {
        writeln!(out, "{}", safe::json(&found.json(), true))?;
    } else {
        text::write(&found, &mut out)?;
    }
    out.flush()?;
    Ok(0)
}

/// What there is to show.
struct Found {
    exit: u64,
    /// The exit that the keyframe follows; `None`: replayed from the start.
    keyframe: Option<u64>,
    cpu: CpuState,
    mode: CpuMode,
    code: Vec<Line>,
    place: Option<Looked>,
}

/// An instruction.
struct Line {
    address: u64,
    bytes: Vec<u8>,
    text: String,
}

/// What was found at the address that was asked for.
struct Looked {
    address: u64,
    is_physical: bool,
    entries: Vec<Entry>,
    gpa: Option<Gpa>,
    /// As many as are memory.
    bytes: Vec<u8>,
}

impl Found {
    fn of(exit: u64, replay: &Replay, args: &Inspect) -> Result<Self> {
        let machine = &replay.machine;
        let (cpu, view) = (machine.save()?, machine.view()?);
        let mode = cpu.system.mode();
        let code = code(&view, mode, cpu.system.code_address(cpu.registers.rip));
        let place = args.address.map(|address| Looked::at(machine, &view, address, args));
        Ok(Self { exit, keyframe: replay.first_exit.checked_sub(1), cpu, mode, code, place })
    }

    fn json(&self) -> Value {
        let cpu = &self.cpu;
        let system = &cpu.system;
        let map = |names: &[&str], values: &[u64]| -> Value {
            names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
        };
        let segments: Value = SEGMENT_NAMES
            .iter()
            .zip(&system.segments)
            .map(|(name, segment)| ((*name).to_owned(), json!(segment)))
            .collect();
        let xsave: Value =
            cpu.xsave_registers().into_iter().map(|(name, value)| (name, json!(value))).collect();
        let code: Vec<_> = self
            .code
            .iter()
            .map(
                |line| json!({"address": line.address, "bytes": hex::digits(&line.bytes), "text": line.text}),
            )
            .collect();
        json!({
            "schema_version": SCHEMA_VERSION,
            "exit": self.exit,
            "keyframe_after_exit": self.keyframe,
            "mode": self.mode.name(),
            "general": map(&GENERAL_NAMES, &cpu.registers.general),
            "rip": cpu.registers.rip,
            "rflags": cpu.registers.rflags,
            "segments": segments,
            "gdt": {"base": system.gdt.0, "limit": system.gdt.1},
            "idt": {"base": system.idt.0, "limit": system.idt.1},
            "control": map(&CONTROL_NAMES, &system.control),
            "efer": system.efer,
            "apic_base": system.apic_base,
            "pdptes": system.pdptrs,
            "xcr0": cpu.xcr0,
            "debug": cpu.debug,
            "msrs": cpu.msrs.iter().map(|(i, v)| json!({"index": i, "value": v})).collect::<Vec<_>>(),
            "xsave": xsave,
            "events": cpu.events,
            "mp_state": cpu.mp_state,
            "code": code,
            "address": self.place.as_ref().map(Looked::json),
        })
    }
}

impl Looked {
    fn at(machine: &Machine, view: &View<'_>, address: u64, args: &Inspect) -> Self {
        let mut bytes = vec![0; args.length as usize];
        if args.physical {
            let there = physical(machine, Gpa(address), &mut bytes);
            bytes.truncate(there);
            return Self { address, is_physical: true, entries: Vec::new(), gpa: Some(Gpa(address)), bytes };
        }
        let there = view.read(Gva(address), &mut bytes);
        bytes.truncate(there);
        let (entries, gpa) = (view.entries(Gva(address)), view.locate(Gva(address)));
        Self { address, is_physical: false, entries, gpa, bytes }
    }

    fn json(&self) -> Value {
        let entries: Vec<_> = self
            .entries
            .iter()
            .map(|e| {
                json!({
                    "level": e.level, "gpa": e.gpa, "value": e.value, "leaf": e.is_leaf, "reserved": e.is_reserved,
                    "bits": text::bits(e),
                })
            })
            .collect();
        json!({
            "address": self.address, "physical": self.is_physical, "gpa": self.gpa, "walk": entries,
            "bytes": hex::digits(&self.bytes),
        })
    }
}

/// Reads bytes at a guest-physical address, as many as are memory.
fn physical(machine: &Machine, gpa: Gpa, bytes: &mut [u8]) -> usize {
    const PAGE: u64 = 4096;
    let mut done = 0;
    while done < bytes.len() {
        let Some(at) = gpa.0.checked_add(done as u64) else { break };
        let in_page = ((PAGE - at % PAGE) as usize).min(bytes.len() - done);
        if machine.memory().read(Gpa(at), &mut bytes[done..done + in_page]).is_err() {
            break;
        }
        done += in_page;
    }
    done
}

/// The instructions that come next.
fn code(view: &View<'_>, mode: CpuMode, mut address: Gva) -> Vec<Line> {
    let mut lines = Vec::new();
    for _ in 0..INSTRUCTIONS {
        let mut bytes = [0; LONGEST];
        let there = view.read(address, &mut bytes);
        let Some((length, text)) = disassemble(&bytes[..there], mode, address.0) else { break };
        lines.push(Line { address: address.0, bytes: bytes[..length].to_vec(), text });
        address = Gva(address.0.wrapping_add(length as u64));
    }
    lines
}
