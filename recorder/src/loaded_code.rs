//! Code that the guest loads itself, from a disk or by unpacking it: of which nothing could be known before it ran.
//!
//! Where such code makes its first exit at some place, it is followed from there, as an image is from its entry points: the guest will
//! execute what comes next. The clock reads that are reached are rewritten before the guest gets to them. So is a boot sector, when a
//! disk writes it where PC firmware enters it, and a Linux kernel, when all of it is in memory: of what it unpacks, everything is known
//! ([`crate::hand_off`]). UEFI firmware unpacks all its images at once and copies each to another place later: they are looked for at
//! the first exit of code that was loaded, and the copies are copies of what was rewritten. Other clock reads that come before the
//! first exit, or that nothing reached leads to, stay as they are, and are found when one shows ([`crate::leak`]).

use crate::disassembly::{self, Entry, View as Stretch};
use crate::guest::Guest;
use crate::guest::kernel::{Loaded, in_memory};
use crate::rewrite::{Ports, looks_like_source};
use crate::uefi_image::{self, UefiImage};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use trapline_formats::memory::page_hash;
use trapline_formats::{CpuMode, Gpa, Gva, Instruction, Rewrite};
use trapline_machine::stand_in::is_source;
use trapline_machine::{Machine, MachineError, Memory};

/// How far around an exit code is followed.
const REACH: u64 = 512 << 10;
const PAGE: usize = 4096;
/// What looks like a kernel and is none is unpacked so often: a guest may want to keep us busy.
const KERNELS: u32 = 8;
/// CR0.PG (SDM vol. 3, 2.5).
const CR0_PG: u64 = 1 << 31;
/// Where a PC's firmware loads a boot sector, and enters it in real mode (IBM PC/AT Technical Reference, INT 19).
const BOOT_SECTOR: u64 = 0x7c00;
const SECTOR: usize = 512;
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// What is known of code.
#[derive(Debug)]
pub(crate) struct LoadedCode {
    ports: Ports,
    /// Memory whose code was looked through before the guest ran.
    known: Vec<Range<u64>>,
    /// Instructions that were reached since, by address: hashes of their bytes, for code may be replaced.
    reached: BTreeMap<u64, u64>,
    boot_sector: [u8; SECTOR],
    /// What the firmware uses of the ports that could stand for something.
    used_ports: BTreeSet<u8>,
    /// So often more a kernel is looked for that looks whole.
    kernels: u32,
    /// UEFI images were looked for.
    knows_images: bool,
}

/// Code around an exit: pages that the guest sees one after the other.
struct Surroundings {
    bytes: Vec<u8>,
    stretches: Vec<Stretch>,
    /// Of each page in `bytes`, where it is.
    pages: Vec<Gpa>,
}

impl LoadedCode {
    /// Of a guest that loads code.
    pub(crate) fn of(guest: &Guest) -> Option<Self> {
        let known = guest.contents.iter().map(|(at, bytes)| at.0..at.0 + bytes.len() as u64).collect();
        Some(Self {
            ports: Ports::told(guest.stand_ins)?,
            known,
            reached: BTreeMap::new(),
            boot_sector: [0; SECTOR],
            used_ports: guest.used_ports.clone(),
            kernels: if guest.hand_off.is_none() { KERNELS } else { 0 },
            knows_images: false,
        })
    }

    /// This code was looked through elsewhere.
    pub(crate) fn knows(&mut self, rewrites: &[Rewrite]) {
        let starts = rewrites.iter().map(|rewrite| rewrite.gpa);
        if let (Some(first), Some(last)) = (starts.clone().min(), starts.max()) {
            self.known.push(first..last + 1);
        }
    }

    /// Whether nothing was known of the code around this instruction, and it may be changed.
    pub(crate) fn is_new(&self, machine: &Machine, instruction: &Instruction) -> Result<bool, MachineError> {
        let is_new = |gpa: Gpa| {
            let is_reached = self.reached.get(&gpa.0) == Some(&page_hash(&instruction.bytes));
            !is_reached && !self.known.iter().any(|range| range.contains(&gpa.0))
        };
        // What stands for a clock read is an OUT, which processes may not execute.
        Ok(instruction.cpl == 0 && machine.view()?.locate(instruction.address).is_some_and(is_new))
    }

    /// What the guest executes next.
    pub(crate) fn next(machine: &Machine) -> Result<Entry, MachineError> {
        let view = machine.view()?;
        let segment_base = view.system.code_address(0).0;
        Ok(Entry { segment_base, ip: view.registers.rip, mode: view.system.mode() })
    }

    /// The boot sector, if it is another one than before.
    pub(crate) fn boot_sector(&mut self, memory: &Memory) -> Option<Entry> {
        let mut now = [0; SECTOR];
        memory.read(Gpa(BOOT_SECTOR), &mut now).ok()?;
        if now == self.boot_sector || !now.ends_with(&BOOT_SIGNATURE) {
            return None;
        }
        self.boot_sector = now;
        Some(Entry { segment_base: 0, ip: BOOT_SECTOR, mode: CpuMode::Real16 })
    }

    /// A Linux kernel that a boot loader has brought into memory, if all of it is there for the first time.
    pub(crate) fn kernel(&mut self, machine: &Machine) -> Result<Option<Loaded>, MachineError> {
        // Boot loaders have no paging; whoever has, boots nothing any more.
        if self.kernels == 0 || machine.view()?.system.control[0] & CR0_PG != 0 {
            return Ok(None);
        }
        let Some(found) = in_memory::find(machine.memory(), &self.used_ports) else { return Ok(None) };
        let found = found.ok().filter(|kernel| kernel.stand_ins == self.ports.stand_ins());
        self.kernels = if found.is_some() { 0 } else { self.kernels - 1 };
        Ok(found)
    }

    /// The clock reads of UEFI images that are in memory, ready to be rewritten: the first time.
    pub(crate) fn images(&mut self, memory: &Memory) -> Result<Vec<Rewrite>, MachineError> {
        if std::mem::replace(&mut self.knows_images, true) {
            return Ok(Vec::new());
        }
        let mut rewrites = Vec::new();
        for image in uefi_image::find(memory)? {
            if !memory.is_readonly(Gpa(image.address)) && looks_like_source(&image.content).next().is_some() {
                rewrites.extend(self.sources_of(&image));
            }
        }
        Ok(rewrites)
    }

    fn sources_of(&self, image: &UefiImage) -> Vec<Rewrite> {
        let (content, views, entries) = (&image.content, [image.view()], [image.entry()]);
        let sources = disassembly::find(content, &views, &entries, &image.pointers(), is_source);
        let rewrite = |(offset, length): (u64, usize)| {
            let source = &content[offset as usize..offset as usize + length];
            self.ports.rewrite(image.address + offset, source, "disassembly of a UEFI image")
        };
        sources.into_iter().filter_map(rewrite).collect()
    }

    /// The clock reads that are reached from there, ready to be rewritten.
    pub(crate) fn sources(&mut self, machine: &Machine, entry: Entry) -> Result<Vec<Rewrite>, MachineError> {
        let around = Surroundings::of(machine, entry)?;
        // What is mapped twice is rewritten once.
        let mut rewrites = BTreeMap::new();
        for ((offset, _), instruction) in disassembly::reach(&around.bytes, &around.stretches, &[entry], &[])
        {
            let Some(gpa) = around.gpa(offset as usize, instruction.len()) else { continue };
            let bytes = &around.bytes[offset as usize..offset as usize + instruction.len()];
            self.reached.insert(gpa.0, page_hash(bytes));
            if is_source(&instruction) && !machine.memory().is_readonly(gpa) {
                rewrites
                    .extend(self.ports.rewrite(gpa.0, bytes, "disassembly from an exit").map(|r| (gpa, r)));
            }
        }
        Ok(rewrites.into_values().collect())
    }
}

impl Surroundings {
    fn of(machine: &Machine, entry: Entry) -> Result<Self, MachineError> {
        let view = machine.view()?;
        let middle = entry.segment_base.wrapping_add(entry.ip) & !(PAGE as u64 - 1);
        let pages = middle.saturating_sub(REACH)..middle.saturating_add(REACH);
        let mut all = Self { bytes: Vec::new(), stretches: Vec::new(), pages: Vec::new() };
        let mut content = [0; PAGE];
        for linear in pages.step_by(PAGE) {
            if let Some(gpa) = view.locate(Gva(linear))
                && machine.memory().read(gpa, &mut content).is_ok()
            {
                all.push(linear, gpa, &content);
            }
        }
        Ok(all)
    }

    fn push(&mut self, linear: u64, gpa: Gpa, content: &[u8; PAGE]) {
        match self.stretches.last_mut() {
            Some(last) if last.linear + last.bytes == linear => last.bytes += PAGE as u64,
            _ => self.stretches.push(Stretch { linear, offset: self.bytes.len() as u64, bytes: PAGE as u64 }),
        }
        self.bytes.extend(content);
        self.pages.push(gpa);
    }

    /// Where bytes are that do not cross into another page.
    fn gpa(&self, offset: usize, length: usize) -> Option<Gpa> {
        let (page, inside) = (offset / PAGE, offset % PAGE);
        (inside + length <= PAGE).then(|| Gpa(self.pages[page].0 + inside as u64))
    }
}
