//! The state as people read it.

use super::{Found, Looked};
use crate::hex;
use anyhow::Result;
use std::io::Write;
use trapline_analyzer::well_known;
use trapline_formats::{CONTROL_NAMES, GENERAL_NAMES, PendingEvents, SEGMENT_NAMES, Space};
use trapline_machine::paging::Entry;

/// Bits of RFLAGS (Intel SDM vol. 1, 3.4.3).
const FLAGS: [(u32, &str); 17] = [
    (0, "CF"),
    (2, "PF"),
    (4, "AF"),
    (6, "ZF"),
    (7, "SF"),
    (8, "TF"),
    (9, "IF"),
    (10, "DF"),
    (11, "OF"),
    (12, "IOPL.0"),
    (13, "IOPL.1"),
    (14, "NT"),
    (16, "RF"),
    (17, "VM"),
    (18, "AC"),
    (20, "VIP"),
    (21, "ID"),
];
/// Bits of paging-structure entries (SDM vol. 3, tables 4-15 to 4-20), but for PS, which is told as the size of the page.
const BITS: [(u32, &str); 8] = [
    (0, "present"),
    (1, "writable"),
    (2, "user"),
    (3, "PWT"),
    (4, "PCD"),
    (5, "accessed"),
    (6, "dirty"),
    (8, "global"),
];
const NO_EXECUTE: u32 = 63;
/// What holds the entries of a level.
const TABLES: [&str; 5] = ["PT", "PD", "PDPT", "PML4", "PML5"];
const ROW: usize = 16;

/// Writes all of it.
pub(super) fn write(found: &Found, out: &mut impl Write) -> Result<()> {
    let from = match found.keyframe {
        Some(exit) => format!("the keyframe after exit {exit}"),
        None => "the start".to_owned(),
    };
    writeln!(out, "after exit {}, in {} mode; replayed from {from}", found.exit, found.mode.name())?;
    registers(found, out)?;
    system(found, out)?;
    writeln!(out, "\npending")?;
    let pending = pending(&found.cpu.events);
    writeln!(out, "  {}", if pending.is_empty() { "nothing".to_owned() } else { pending.join(", ") })?;
    writeln!(out, "\nMSRs that are not zero")?;
    for (index, value) in found.cpu.msrs.iter().filter(|(_, value)| *value != 0) {
        let name =
            well_known(Space::Msr, u64::from(*index)).map_or_else(String::new, |n| n.register.into_owned());
        writeln!(out, "  {index:#010x}  {value:#018x}  {name}")?;
    }
    writeln!(out, "\nFPU and vector registers that are not zero")?;
    for (name, value) in found.cpu.xsave_registers() {
        writeln!(out, "  {name:<11} {value}")?;
    }
    writeln!(out, "\ncode")?;
    if found.code.is_empty() {
        writeln!(out, "  no memory, or no instruction, at {:#x}", found.cpu.registers.rip)?;
    }
    for line in &found.code {
        writeln!(out, "  {:#018x}  {:<22}  {}", line.address, hex::digits(&line.bytes), line.text)?;
    }
    found.place.as_ref().map_or(Ok(()), |place| looked(place, out))
}

fn registers(found: &Found, out: &mut impl Write) -> Result<()> {
    let registers = &found.cpu.registers;
    for row in (0..GENERAL_NAMES.len()).collect::<Vec<_>>().chunks(4) {
        let cells: Vec<_> =
            row.iter().map(|&i| format!("{:<3} {:016x}", GENERAL_NAMES[i], registers.general[i])).collect();
        writeln!(out, "  {}", cells.join("  "))?;
    }
    let flags: Vec<_> =
        FLAGS.iter().filter(|(bit, _)| registers.rflags >> bit & 1 != 0).map(|(_, name)| *name).collect();
    writeln!(out, "  RIP {:016x}  RFLAGS {:#x} {}", registers.rip, registers.rflags, flags.join(" "))?;
    Ok(())
}

fn system(found: &Found, out: &mut impl Write) -> Result<()> {
    let (cpu, system) = (&found.cpu, &found.cpu.system);
    writeln!(out, "\nsegments    selector  base              limit     rights")?;
    for (name, s) in SEGMENT_NAMES.iter().zip(&system.segments) {
        writeln!(
            out,
            "  {name:<9} {:04x}      {:016x}  {:08x}  {:#06x}",
            s.selector, s.base, s.limit, s.rights
        )?;
    }
    for (name, (base, limit)) in [("GDT", system.gdt), ("IDT", system.idt)] {
        writeln!(out, "  {name:<9}           {base:016x}  {limit:08x}")?;
    }
    writeln!(out, "\ncontrol")?;
    let control: Vec<_> =
        CONTROL_NAMES.iter().zip(system.control).map(|(name, value)| format!("{name} {value:#x}")).collect();
    writeln!(out, "  {}", control.join("  "))?;
    writeln!(out, "  EFER {:#x}  APIC_BASE {:#x}  XCR0 {:#x}", system.efer, system.apic_base, cpu.xcr0)?;
    if let Some(pdptes) = system.pdptrs {
        writeln!(out, "  PDPTEs {}", pdptes.map(|p| format!("{p:#x}")).join(" "))?;
    }
    let debug: Vec<_> =
        cpu.debug.addresses.iter().enumerate().map(|(i, a)| format!("DR{i} {a:#x}")).collect();
    writeln!(out, "  {}  DR6 {:#x}  DR7 {:#x}", debug.join("  "), cpu.debug.dr6, cpu.debug.dr7)?;
    Ok(())
}

/// What is in flight, in words.
fn pending(events: &PendingEvents) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |is: bool, what: String| {
        if is {
            all.push(what);
        }
    };
    let (is_pending, is_injected, vector, ..) = events.exception;
    add(is_pending || is_injected, format!("exception {vector:#x}"));
    let (is_injected, vector, is_soft) = events.interrupt;
    add(is_injected, format!("{} {vector:#x}", if is_soft { "software interrupt" } else { "interrupt" }));
    add(events.shadow & 1 != 0, "shadow of MOV SS".into());
    add(events.shadow & 2 != 0, "shadow of STI".into());
    let (is_injected, is_pending, is_masked) = events.nmi;
    add(is_injected || is_pending, "NMI".into());
    add(is_masked, "NMIs masked".into());
    add(events.smm.0, "in SMM".into());
    add(events.smm.1, "SMI".into());
    add(events.triple_fault, "triple fault".into());
    all
}

fn looked(place: &Looked, out: &mut impl Write) -> Result<()> {
    let kind = if place.is_physical { "physical" } else { "linear" };
    writeln!(out, "\n{kind} address {:#x}", place.address)?;
    for entry in &place.entries {
        let table = TABLES.get(entry.level as usize - 1).copied().unwrap_or("table");
        let at = entry.gpa.map_or_else(|| "in a register".to_owned(), |gpa| format!("at {gpa}"));
        writeln!(out, "  {table:<4} entry {at:<14} {:#018x}  {}", entry.value, bits(entry).join(" "))?;
    }
    match place.gpa {
        _ if place.is_physical => {}
        Some(gpa) => writeln!(out, "  is physical address {gpa}")?,
        None => writeln!(out, "  is not mapped")?,
    }
    if place.bytes.is_empty() {
        writeln!(out, "  no memory there")?;
    }
    for (i, row) in place.bytes.chunks(ROW).enumerate() {
        let bytes: Vec<_> = row.iter().map(|b| format!("{b:02x}")).collect();
        let shown: String = row
            .iter()
            .map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' })
            .collect();
        let at = place.address.wrapping_add((i * ROW) as u64);
        writeln!(out, "  {at:#018x}  {:<48} {shown}", bytes.join(" "))?;
    }
    Ok(())
}

/// The names of the bits of an entry that are set.
pub(super) fn bits(entry: &Entry) -> Vec<&'static str> {
    let is_set = |bit: u32| entry.value >> bit & 1 != 0;
    if !is_set(0) {
        return vec!["not present"];
    }
    let mut names: Vec<_> = BITS.iter().filter(|(bit, _)| is_set(*bit)).map(|(_, name)| *name).collect();
    if is_set(NO_EXECUTE) {
        names.push("no-execute");
    }
    if entry.is_leaf && entry.level > 1 {
        names.push("large page");
    }
    if entry.is_reserved {
        names.push("RESERVED BITS");
    }
    names
}
