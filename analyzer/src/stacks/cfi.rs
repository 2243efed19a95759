//! Unwinding by DWARF's call frame information: `.eh_frame` and `.debug_frame`.

use super::cpu::{Cpu, RBP, Step};
use super::expression;
use super::memory::Memory;
use super::table::Method;
use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, EndianArcSlice, FrameDescriptionEntry,
    LittleEndian, Register, RegisterRule, UnwindContext, UnwindSection, UnwindTableRow,
};
use std::sync::Arc;
use trapline_formats::Registers;

pub(super) type Bytes = EndianArcSlice<LittleEndian>;

/// [`Registers::general`] of DWARF's registers (System V ABI for AMD64, figure 3.36).
pub(super) const GENERAL: [usize; 16] = [0, 3, 2, 1, 4, 5, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
/// The number that stands for the return address.
const RETURN_ADDRESS: Register = Register(16);
/// What a function gives back as it was, where nothing is said (the same, 3.2.1): RBX, RBP, R12 to R15.
const PRESERVED: [usize; 6] = [1, RBP, 12, 13, 14, 15];

/// A section with frame information.
#[derive(Debug, Clone)]
enum Section {
    Eh(EhFrame<Bytes>),
    Debug(DebugFrame<Bytes>),
}

/// The frame information of one file, by function.
#[derive(Debug, Default)]
pub(super) struct Cfi {
    sections: Vec<(Section, BaseAddresses)>,
    /// First address, the first after it, the number of its section.
    functions: Vec<(u64, u64, usize, FrameDescriptionEntry<Bytes>)>,
}

impl Cfi {
    /// Adds `.eh_frame`, which lies at this address.
    pub(super) fn add_eh_frame(&mut self, address: u64, text: u64, bytes: &[u8]) {
        let mut section = EhFrame::from(Bytes::new(Arc::from(bytes), LittleEndian));
        section.set_address_size(8);
        self.add(Section::Eh(section), BaseAddresses::default().set_eh_frame(address).set_text(text));
    }

    /// Adds `.debug_frame`.
    pub(super) fn add_debug_frame(&mut self, bytes: &[u8]) {
        let mut section = DebugFrame::from(Bytes::new(Arc::from(bytes), LittleEndian));
        section.set_address_size(8);
        self.add(Section::Debug(section), BaseAddresses::default());
    }

    fn add(&mut self, section: Section, bases: BaseAddresses) {
        let number = self.sections.len();
        let found = match &section {
            Section::Eh(s) => functions(s, &bases),
            Section::Debug(s) => functions(s, &bases),
        };
        let entry = |f: FrameDescriptionEntry<Bytes>| {
            (f.initial_address(), f.initial_address().saturating_add(f.len()), number, f)
        };
        self.functions.extend(found.into_iter().map(entry));
        self.functions.sort_by_key(|f| (f.0, f.1, f.2));
        self.sections.push((section, bases));
    }

    /// The way out of a frame, if its code is described. `offset` is what was added to the file's addresses.
    pub(super) fn step(&self, cpu: &Cpu, offset: u64, memory: &mut Memory<'_>) -> Option<Step> {
        let address = cpu.inside().wrapping_sub(offset);
        let after = self.functions.partition_point(|f| f.0 <= address);
        let (_, _, section, function) = self.functions[..after].last().filter(|f| address < f.1)?;
        let (section, bases) = &self.sections[*section];
        let mut context = Box::new(UnwindContext::new());
        let row = match section {
            Section::Eh(s) => function.unwind_info_for_address(s, bases, &mut context, address),
            Section::Debug(s) => function.unwind_info_for_address(s, bases, &mut context, address),
        };
        let mut frame = Frame { section, function, cpu, memory };
        frame.out(row.ok()?)
    }
}

/// The functions of a section, as far as it is whole.
fn functions<S: UnwindSection<Bytes>>(
    section: &S,
    bases: &BaseAddresses,
) -> Vec<FrameDescriptionEntry<Bytes>> {
    let mut all = Vec::new();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(function) = partial.parse(S::cie_from_offset)
        {
            all.push(function);
        }
    }
    all
}

/// A frame being left.
struct Frame<'a, 'm> {
    section: &'a Section,
    function: &'a FrameDescriptionEntry<Bytes>,
    cpu: &'a Cpu,
    memory: &'a mut Memory<'m>,
}

impl Frame<'_, '_> {
    fn out(&mut self, row: &UnwindTableRow<usize>) -> Option<Step> {
        // The canonical frame address: where the caller's stack pointer stood before the call.
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.cpu.general[*GENERAL.get(usize::from(register.0))?]?.wrapping_add_signed(*offset)
            }
            CfaRule::Expression(expression) => self.evaluate(*expression, None)?,
        };
        let address = row.register(RETURN_ADDRESS).unwrap_or(RegisterRule::Undefined);
        if matches!(address, RegisterRule::Undefined) {
            return Some(Step::Outermost);
        }
        let ip = self.value(&address, cfa, None)?;
        if ip == 0 {
            return Some(Step::Outermost);
        }
        let mut caller = Cpu::caller(ip, cfa, None);
        caller.is_return = !self.function.is_signal_trampoline();
        for (number, general) in (0..).zip(GENERAL) {
            caller.general[general] = match row.register(Register(number)) {
                Some(rule) => self.value(&rule, cfa, self.cpu.general[general]),
                None if general == Registers::RSP => Some(cfa),
                None if PRESERVED.contains(&general) => self.cpu.general[general],
                None => None,
            };
        }
        Some(Step::To(caller, Method::Dwarf))
    }

    fn value(&mut self, rule: &RegisterRule<usize>, cfa: u64, same: Option<u64>) -> Option<u64> {
        match rule {
            RegisterRule::SameValue => same,
            RegisterRule::Offset(offset) => self.memory.number(cfa.wrapping_add_signed(*offset), 8),
            RegisterRule::ValOffset(offset) => Some(cfa.wrapping_add_signed(*offset)),
            RegisterRule::Register(other) => self.cpu.general[*GENERAL.get(usize::from(other.0))?],
            RegisterRule::Expression(expression) => {
                let place = self.evaluate(*expression, Some(cfa))?;
                self.memory.number(place, 8)
            }
            RegisterRule::ValExpression(expression) => self.evaluate(*expression, Some(cfa)),
            RegisterRule::Constant(value) => Some(*value),
            _ => None,
        }
    }

    fn evaluate(&mut self, expression: gimli::UnwindExpression<usize>, cfa: Option<u64>) -> Option<u64> {
        let code = match self.section {
            Section::Eh(s) => expression.get(s),
            Section::Debug(s) => expression.get(s),
        };
        expression::evaluate(code.ok()?, self.function.cie().encoding(), cfa, self.cpu, self.memory)
    }
}
