//! DWARF expressions in frame information: arithmetic on registers and memory.

use super::cfi::{Bytes, GENERAL};
use super::cpu::Cpu;
use super::memory::Memory;
use gimli::{Encoding, EvaluationResult, Expression, Location, Value};

/// Operations at most: a procedure linkage table's takes ten.
const MOST: u32 = 256;

/// The number that an expression comes to.
pub(super) fn evaluate(
    code: Expression<Bytes>,
    encoding: Encoding,
    cfa: Option<u64>,
    cpu: &Cpu,
    memory: &mut Memory<'_>,
) -> Option<u64> {
    let mut evaluation = code.evaluation(encoding);
    evaluation.set_max_iterations(MOST);
    if let Some(cfa) = cfa {
        evaluation.set_initial_value(cfa);
    }
    let mut result = evaluation.evaluate().ok()?;
    loop {
        result = match result {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = cpu.general[*GENERAL.get(usize::from(register.0))?]?;
                evaluation.resume_with_register(Value::Generic(value)).ok()?
            }
            EvaluationResult::RequiresMemory { address, size, space: None, .. } if size <= 8 => {
                let value = memory.number(address, size.into())?;
                evaluation.resume_with_memory(Value::Generic(value)).ok()?
            }
            _ => return None,
        };
    }
    match evaluation.as_result().last()?.location {
        Location::Address { address } => Some(address),
        _ => None,
    }
}
