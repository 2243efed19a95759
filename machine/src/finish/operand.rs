//! The operand in memory: where it is, whether the instruction may touch it, and which parts of it are devices'.

use super::cpu::{CS, Cpu, DS, ES, FS, GS, SS_};
use super::fault::{Stop, cannot};
use super::native::Place;
use iced_x86::{Instruction as X86, InstructionInfoFactory, OpAccess, OpKind, Register};
use std::ops::Range;
use trapline_formats::Gpa;

/// Bytes of one device access, as KVM cuts larger ones (KVM API 5, `kvm_run.mmio.data`).
const FRAGMENT: usize = 8;

/// A part of an operand that lies in one page.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    gpa: Gpa,
    range: Range<usize>,
    is_device: bool,
}

/// An access to a device: at most eight bytes of an operand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) gpa: Gpa,
    pub(crate) range: Range<usize>,
}

/// The operand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) place: Place,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    pub(crate) bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Operand {
    /// The explicit operand in memory of an instruction; `None` where it has none. Its faults are raised here, before
    /// anything happens.
    pub(crate) fn of(cpu: &Cpu, x86: &X86) -> Result<Option<Self>, Stop> {
        let Some(offset) = offset(cpu, x86) else { return Ok(None) };
        let mut factory = InstructionInfoFactory::new();
        let used = factory.info(x86).used_memory();
        let access = used.first().map_or(OpAccess::NoMemAccess, iced_x86::UsedMemory::access);
        let reads = !matches!(access, OpAccess::Write | OpAccess::None | OpAccess::NoMemAccess);
        let writes = matches!(
            access,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        );
        if !reads && !writes {
            return Ok(None);
        }
        let length = x86.memory_size().size();
        if length == 0 || used.len() != 1 {
            return cannot("the extent of its operand in memory");
        }
        Self::at(cpu, segment(x86), offset, length, (reads, writes)).map(Some)
    }

    /// So many bytes at an offset in a segment: (reads, writes).
    pub(crate) fn at(
        cpu: &Cpu,
        segment: usize,
        offset: u64,
        length: usize,
        (reads, writes): (bool, bool),
    ) -> Result<Self, Stop> {
        let linear = cpu.linear(segment, offset, length, writes)?;
        let mut pieces = Vec::new();
        cpu.pieces(linear, length, cpu.explicit(writes), |gpa, range| {
            let is_device = !cpu.memory.contains(gpa) || writes && cpu.memory.is_readonly(gpa);
            pieces.push(Piece { gpa, range, is_device });
            Ok(())
        })?;
        // Of a conditional write, the rest must stay as it is: so all that is written is read first, but from devices.
        let mut operand =
            Self { place: Place { offset, linear }, reads, writes, bytes: vec![0; length], pieces };
        for piece in operand.pieces.iter().filter(|p| !p.is_device) {
            cpu.memory.read(piece.gpa, &mut operand.bytes[piece.range.clone()])?;
        }
        Ok(operand)
    }

    /// Accesses to devices, in the order of their addresses.
    pub(crate) fn fragments(&self) -> Vec<Fragment> {
        let devices = self.pieces.iter().filter(|p| p.is_device);
        let cut = |p: &Piece| {
            let (gpa, from, end) = (p.gpa, p.range.start, p.range.end);
            (from..end).step_by(FRAGMENT).map(move |start| Fragment {
                gpa: Gpa(gpa.0 + (start - from) as u64),
                range: start..(start + FRAGMENT).min(end),
            })
        };
        devices.flat_map(cut).collect()
    }

    /// Writes the parts that are memory.
    pub(crate) fn store(&self, cpu: &Cpu) -> Result<(), Stop> {
        for piece in self.pieces.iter().filter(|p| !p.is_device) {
            cpu.memory.write(piece.gpa, &self.bytes[piece.range.clone()])?;
        }
        Ok(())
    }
}

/// The offset of the explicit operand in memory in its segment.
pub(crate) fn offset(cpu: &Cpu, x86: &X86) -> Option<u64> {
    let operand = (0..x86.op_count()).find(|i| x86.op_kind(*i) == OpKind::Memory)?;
    x86.virtual_address(operand, 0, |register, _, _| {
        Some(if register.is_segment_register() { 0 } else { cpu.general(register) })
    })
}

/// The segment of the explicit operand in memory.
pub(crate) fn segment(x86: &X86) -> usize {
    match x86.memory_segment() {
        Register::ES => ES,
        Register::CS => CS,
        Register::SS => SS_,
        Register::FS => FS,
        Register::GS => GS,
        _ => DS,
    }
}
