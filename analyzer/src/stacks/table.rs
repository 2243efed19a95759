//! The stacks of a trace: each different one once, and which exit has which.

use super::modules::Module;
use crate::symbols::Symbol;
use std::collections::BTreeMap;

/// How a frame was found: from its callee's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Linux's own unwinding tables.
    Orc,
    /// DWARF's call frame information.
    Dwarf,
    /// The chain of frame pointers.
    FramePointer,
    /// Registers that an interrupt, an exception or a system call saved.
    TrapFrame,
    /// An address on the stack that a CALL stands before: no more than likely.
    Guess,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Orc, Self::Dwarf, Self::FramePointer, Self::TrapFrame, Self::Guess];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Orc => "orc",
            Self::Dwarf => "dwarf",
            Self::FramePointer => "frame-pointer",
            Self::TrapFrame => "trap-frame",
            Self::Guess => "guess",
        }
    }
}

impl Method {
    /// "by ORC tables".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Orc => "by ORC tables",
            Self::Dwarf => "by DWARF",
            Self::FramePointer => "by frame pointers",
            Self::TrapFrame => "in saved registers of an interrupt or a system call",
            Self::Guess => "by guessing",
        }
    }
}

/// A frame above the instruction that trapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Where the guest goes on in this frame: behind the call, or at the instruction that was interrupted.
    pub address: u64,
    /// How it was found.
    pub method: Method,
    /// Its function.
    pub symbol: Option<Symbol>,
}

impl Caller {
    /// "uart_console_write+0x3f", or the address; a guess begins with a question mark.
    pub fn label(&self) -> String {
        let guessed = if self.method == Method::Guess { "? " } else { "" };
        match &self.symbol {
            Some(s) => format!("{guessed}{}+{:#x}", s.name, self.address.wrapping_sub(s.start)),
            None => format!("{guessed}{:#x}", self.address),
        }
    }

    /// Bytes from the start of its function.
    pub fn offset(&self) -> Option<u64> {
        self.symbol.as_ref().map(|s| self.address.wrapping_sub(s.start))
    }

    /// The function alone, for flame graphs: frames of one function are one frame there.
    pub fn function(&self) -> String {
        let guessed = if self.method == Method::Guess { "? " } else { "" };
        match &self.symbol {
            Some(s) => format!("{guessed}{}", s.name),
            None => format!("{guessed}{:#x}", self.address),
        }
    }
}

/// A frame before it is named.
pub(super) type Frame = (u64, Method);

/// The stacks of a trace. A stack is the callers of an instruction, the innermost first.
#[derive(Debug, Clone, Default)]
pub struct Stacks {
    callers: Vec<Caller>,
    /// Places in `callers`, by the number of the stack.
    chains: Vec<Vec<u32>>,
    of_exit: Vec<u32>,
    /// The modules of the guest's kernel that code was found in.
    modules: Vec<Module>,
}

/// No stack is known of an exit.
const NONE: u32 = u32::MAX;

impl Stacks {
    /// The stack of an exit, by its number; `None` where the replay did not come there.
    pub fn of(&self, exit: u64) -> Option<u32> {
        self.of_exit.get(usize::try_from(exit).ok()?).copied().filter(|&s| s != NONE)
    }

    /// The callers of a stack, the innermost first.
    pub fn callers(&self, stack: u32) -> impl DoubleEndedIterator<Item = &Caller> + Clone {
        let numbers = self.chains.get(stack as usize).map_or(&[][..], Vec::as_slice);
        numbers.iter().map(|&n| &self.callers[n as usize])
    }

    pub(super) fn with_modules(self, modules: Vec<Module>) -> Self {
        Self { modules, ..self }
    }

    /// The modules of the guest's kernel, as far as something in them trapped or called.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// How many different stacks there are; they are numbered from 0.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }
}

/// Stacks in the making.
#[derive(Debug, Default)]
pub(super) struct Collected {
    frames: BTreeMap<Frame, u32>,
    stacks: BTreeMap<Vec<u32>, u32>,
    of_exit: Vec<u32>,
}

impl Collected {
    /// Adds the stack of an exit.
    pub(super) fn add(&mut self, exit: u64, frames: &[Frame]) {
        let number = |frame: &Frame| {
            let next = self.frames.len() as u32;
            *self.frames.entry(*frame).or_insert(next)
        };
        let stack: Vec<_> = frames.iter().map(number).collect();
        let next = self.stacks.len() as u32;
        let stack = *self.stacks.entry(stack).or_insert(next);
        // Exits come in their order; what an engine does not make leaves a gap.
        let Ok(place) = usize::try_from(exit) else { return };
        if place >= self.of_exit.len() {
            self.of_exit.resize(place, NONE);
            self.of_exit.push(stack);
        }
    }

    /// All of them, named.
    pub(super) fn named(self, mut name: impl FnMut(Frame) -> Option<Symbol>) -> Stacks {
        let mut callers: Vec<_> = self.frames.into_iter().collect();
        callers.sort_by_key(|(_, number)| *number);
        let mut caller = |(address, method)| Caller { address, method, symbol: name((address, method)) };
        let callers = callers.into_iter().map(|(frame, _)| caller(frame)).collect();
        let mut stacks: Vec<_> = self.stacks.into_iter().collect();
        stacks.sort_by_key(|(_, number)| *number);
        Stacks {
            callers,
            chains: stacks.into_iter().map(|(s, _)| s).collect(),
            of_exit: self.of_exit,
            modules: Vec::new(),
        }
    }
}
