//! Leads from the instruction that trapped outwards, by whatever holds for each frame.

use super::cpu::{Cpu, Segments, Step};
use super::elf_tables::Tables;
use super::memory::{Memory, Read};
use super::modules::Modules;
use super::table::{Collected, Frame, Method, Stacks};
use super::{frame_pointer, guess, orc};
use crate::symbols::Sources;
use trapline_formats::{CpuMode, ExitKind, Registers, Site, SystemRegisters};

/// Frames of one stack at most, and how many of them may be guessed.
const DEEPEST: usize = 128;
const GUESSES: usize = 24;
/// Place of CS and SS in [`SystemRegisters::segments`], and D/B in a segment's rights.
const CS: usize = 0;
const SS: usize = 5;
const WIDE: u16 = 1 << 10;

/// A guest that stands still at an exit.
pub struct Standing<'a> {
    /// Its general registers.
    pub registers: &'a Registers,
    /// Its system registers.
    pub system: &'a SystemRegisters,
    /// Reads its memory: as many bytes as are mapped.
    pub read: Read<'a>,
}

/// Collects the stacks of a trace, exit by exit.
pub struct Unwinder<'a> {
    sources: &'a Sources,
    tables: Vec<Tables>,
    modules: Modules,
    collected: Collected,
    frames: Vec<Frame>,
}

impl<'a> Unwinder<'a> {
    /// An unwinder with the tables of these files.
    pub fn new(sources: &'a Sources) -> Self {
        let tables = sources.placed().map(|(source, offset)| match source.memory() {
            Some((memory, code)) => Tables::of_kernel(memory, &code, offset),
            None => Tables::of_elf(source.file(), offset),
        });
        Self {
            sources,
            tables: tables.collect(),
            modules: Modules::new(sources.module_list()),
            collected: Collected::default(),
            frames: Vec::new(),
        }
    }

    /// Adds the stack of an exit.
    pub fn exit(&mut self, exit: u64, site: &Site, guest: Standing<'_>) {
        let Standing { registers, system, read } = guest;
        self.frames.clear();
        // What a triple fault leaves of the registers is the engine's.
        if site.kind != ExitKind::Shutdown {
            let segments = segments(site.instruction.mode, system);
            let general = registers.general.map(Some);
            let cpu = Cpu { ip: site.instruction.address.0, is_return: false, general };
            self.unwind(cpu, &segments, &mut Memory::new(read));
        }
        self.collected.add(exit, &self.frames);
    }

    /// All stacks, with names.
    pub fn finish(self) -> Stacks {
        let sources = self.sources;
        let modules = self.modules.into_all();
        let name = |(address, method): Frame| {
            // A call may be the last instruction of its function.
            let inside = address.wrapping_sub(u64::from(method != Method::TrapFrame));
            sources.symbol(inside).or_else(|| modules.iter().find_map(|module| module.symbol(inside)))
        };
        let stacks = self.collected.named(name);
        stacks.with_modules(modules)
    }

    fn unwind(&mut self, mut cpu: Cpu, segments: &Segments, memory: &mut Memory<'_>) {
        let mut visited = Vec::new();
        let mut guesses = 0;
        let mut in_user = false;
        while self.frames.len() < DEEPEST {
            let may_guess = guesses < GUESSES && !in_user;
            let Some(Step::To(caller, method)) = self.step(&cpu, may_guess, memory, segments) else {
                return;
            };
            visited.push(cpu.sp());
            if !leads_outwards(&visited, &caller, method, segments) {
                return;
            }
            guesses += usize::from(method == Method::Guess);
            // What an interrupt or a system call found: another program, of which less is known.
            in_user |= method == Method::TrapFrame && caller.ip >> 63 != cpu.ip >> 63;
            self.frames.push((caller.ip, method));
            cpu = caller;
        }
    }

    fn step(
        &mut self,
        cpu: &Cpu,
        may_guess: bool,
        memory: &mut Memory<'_>,
        segments: &Segments,
    ) -> Option<Step> {
        if segments.mode == CpuMode::Long64 {
            let described = self.tables.iter().find_map(|tables| tables.step(cpu, memory));
            let described = described.or_else(|| {
                let entry = self.modules.at(cpu.inside(), memory)?.orc()?.at(cpu.inside()).copied()?;
                orc::step(&entry, cpu, memory)
            });
            if described.is_some() {
                return described;
            }
        }
        let chained = frame_pointer::step(cpu, memory, segments);
        if chained.is_some() || !may_guess {
            return chained;
        }
        guess::step(cpu, self.sources.function_start(cpu.inside()), memory, segments)
    }
}

/// A stack grows down, so callers stand higher. Only interrupts change stacks, and even these never come back to one that was left.
/// Whatever else was found is damage, and would have no end.
fn leads_outwards(visited: &[Option<u64>], caller: &Cpu, method: Method, segments: &Segments) -> bool {
    let masked = |sp: u64| sp & segments.stack_mask;
    let up = visited.last().copied().flatten().zip(caller.sp()).is_some_and(|(a, b)| masked(a) < masked(b));
    let changes = matches!(method, Method::Orc | Method::TrapFrame) && !visited.contains(&caller.sp());
    let is_canonical = segments.mode != CpuMode::Long64 || matches!(caller.ip >> 47, 0 | 0x1_ffff);
    caller.ip != 0 && is_canonical && (up || changes)
}

fn segments(mode: CpuMode, system: &SystemRegisters) -> Segments {
    let (code, stack) = (&system.segments[CS], &system.segments[SS]);
    match mode {
        CpuMode::Long64 => Segments { mode, code_base: 0, stack_base: 0, stack_mask: u64::MAX },
        _ => Segments {
            mode,
            code_base: code.base,
            stack_base: stack.base,
            stack_mask: if stack.rights & WIDE != 0 { 0xffff_ffff } else { 0xffff },
        },
    }
}
