//! One instruction on its way: a step per exit.

use super::cpu::{Cpu, FLAG_TF};
use super::deliver::{self, Delivered};
use super::effect::Effect;
use super::fault::{DB, Fault, Stop};
use super::operand::{Fragment, Operand};
use super::trampoline::Trampoline;
use iced_x86::Instruction as X86;

/// What the instruction does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// All of it, at one exit.
    Whole,
    /// It reads the clock.
    Clock,
    /// It reads a random number.
    Random,
    /// It waits.
    Halt,
    /// It reads from a device: GPA and number of bytes.
    Read(u64, usize),
    /// It writes these bytes to a device.
    Write(u64, Vec<u8>),
    /// Nothing: the vCPU has what came of it.
    Done,
    /// The processor shut down.
    Shutdown,
}

/// The instruction.
#[derive(Debug)]
pub(crate) struct Work {
    /// As it will be; the vCPU is not touched until the instruction is done.
    pub(crate) cpu: Cpu,
    /// Of a single-stepped guest: the instruction is done, and #DB is due.
    pub(crate) steps: bool,
    x86: X86,
    effect: Effect,
    /// What is raised in its place.
    fault: Option<Fault>,
    operand: Option<Operand>,
    fragments: Vec<Fragment>,
    next: usize,
    is_computed: bool,
}

impl Work {
    /// Looks at an instruction: what it is, where its operand is, what it raises. Nothing is changed but accessed and
    /// dirty bits of the guest's page tables.
    pub(crate) fn begin(cpu: Cpu, x86: X86, effect: Effect) -> Result<Self, Stop> {
        let mut work = Self {
            cpu,
            steps: false,
            x86,
            effect,
            fault: None,
            operand: None,
            fragments: Vec::new(),
            next: 0,
            is_computed: false,
        };
        match work.look() {
            Err(Stop::Fault(fault)) => work.fault = Some(fault),
            other => other?,
        }
        Ok(work)
    }

    fn look(&mut self) -> Result<(), Stop> {
        self.effect.check(&self.cpu, &self.x86)?;
        self.operand = match self.effect {
            Effect::Native(_) => Operand::of(&self.cpu, &self.x86)?,
            Effect::StateArea(area) => area.operand(&self.cpu, &self.x86)?,
            _ => None,
        };
        if let Some(operand) = &self.operand
            && operand.reads
        {
            self.fragments = operand.fragments();
        }
        Ok(())
    }

    /// The first step.
    pub(crate) fn first(&mut self, trampoline: &mut Trampoline) -> Result<Step, Stop> {
        let writes_device =
            self.operand.as_ref().is_some_and(|o| o.writes && !o.reads && !o.fragments().is_empty());
        match self.effect {
            _ if self.fault.is_some() => Ok(Step::Whole),
            Effect::Clock { .. } => Ok(Step::Clock),
            Effect::Random => Ok(Step::Random),
            Effect::Wait => Ok(Step::Halt),
            _ if !self.fragments.is_empty() => Ok(self.fragment()),
            // What it writes must be known at its exit.
            _ if writes_device => self.compute_ahead(trampoline),
            _ => Ok(Step::Whole),
        }
    }

    /// Computes before the first exit, whose data it is.
    fn compute_ahead(&mut self, trampoline: &mut Trampoline) -> Result<Step, Stop> {
        match self.carry_out(trampoline) {
            Ok(()) => Ok(self.fragment()),
            Err(Stop::Fault(fault)) => {
                self.fault = Some(fault);
                Ok(Step::Whole)
            }
            Err(other) => Err(other),
        }
    }

    /// The step after the one that was answered with `answer`.
    pub(crate) fn answered(&mut self, answer: &[u8], trampoline: &mut Trampoline) -> Result<Step, Stop> {
        let value = || answer.iter().rev().fold(0, |all, b| all << 8 | u64::from(*b));
        match self.effect {
            Effect::Clock { with_aux } if self.fault.is_none() => {
                Effect::set_clock(&mut self.cpu, &self.x86, value(), with_aux);
                return self.finish(Ok(()));
            }
            Effect::Random if self.fault.is_none() => {
                Effect::set_random(&mut self.cpu, &self.x86, value());
                return self.finish(Ok(()));
            }
            _ => {}
        }
        let Some(fragment) = self.fragments.get(self.next) else { return self.compute(trampoline) };
        if let Some(operand) = &mut self.operand
            && !self.is_computed
        {
            operand.bytes[fragment.range.clone()].copy_from_slice(answer);
        }
        self.next += 1;
        match (self.next < self.fragments.len(), self.is_computed) {
            (true, _) => Ok(self.fragment()),
            (false, true) => self.finish(Ok(())),
            (false, false) => self.compute(trampoline),
        }
    }

    /// IRET ends the blocking of NMIs.
    pub(crate) fn unblocks_nmi(&self) -> bool {
        matches!(self.effect, Effect::Return(_)) && self.fault.is_none()
    }

    fn fragment(&self) -> Step {
        let (fragment, Some(operand)) = (&self.fragments[self.next], &self.operand) else {
            return Step::Done;
        };
        if self.is_computed {
            Step::Write(fragment.gpa.0, operand.bytes[fragment.range.clone()].to_vec())
        } else {
            Step::Read(fragment.gpa.0, fragment.range.len())
        }
    }

    /// Carries it out; what it writes to devices is still to be told.
    fn compute(&mut self, trampoline: &mut Trampoline) -> Result<Step, Stop> {
        if let Some(fault) = self.fault {
            return self.finish(Err(Stop::Fault(fault)));
        }
        let done = self.carry_out(trampoline);
        if done.is_ok() && self.next < self.fragments.len() {
            return Ok(self.fragment());
        }
        self.finish(done)
    }

    /// Carries it out on the working copy. What it writes to devices is in `fragments` then.
    fn carry_out(&mut self, trampoline: &mut Trampoline) -> Result<(), Stop> {
        let stepped = self.cpu.registers.rflags & FLAG_TF != 0;
        self.effect.carry_out(&mut self.cpu, &self.x86, self.operand.as_mut(), trampoline)?;
        let is_jump = matches!(self.effect, Effect::Interrupt { .. } | Effect::Overflow);
        self.steps = stepped && !is_jump;
        self.is_computed = true;
        (self.fragments, self.next) = (Vec::new(), 0);
        if let Some(operand) = &self.operand
            && operand.writes
        {
            operand.store(&self.cpu)?;
            self.fragments = operand.fragments();
        }
        Ok(())
    }

    /// Delivers what the instruction raised, or the trap of a single step.
    fn finish(&mut self, done: Result<(), Stop>) -> Result<Step, Stop> {
        let delivered = match done {
            Ok(()) if self.steps => {
                // A trap: RF is clear in the flags that it pushes (SDM vol. 3, 17.3.1.4).
                deliver::trap(&mut self.cpu, DB)?
            }
            Ok(()) => Delivered::Handler,
            Err(Stop::Fault(fault)) => deliver::raise(&mut self.cpu, fault)?,
            Err(other) => return Err(other),
        };
        Ok(if delivered == Delivered::Shutdown { Step::Shutdown } else { Step::Done })
    }
}
