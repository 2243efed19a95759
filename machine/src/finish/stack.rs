//! Pushing and popping: by the mode's width, through the stack segment, with its faults.

use super::cpu::{Cpu, SS_, rights};
use super::fault::{Fault, SS, Stop};
use crate::paging::Access;
use trapline_formats::{Registers, Segment};

/// A stack that is being pushed to or popped from; nothing of it is in the registers yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stack {
    pub(crate) segment: Segment,
    pub(crate) pointer: u64,
    /// 64-bit stacks have no segment.
    is_64: bool,
    user: bool,
    fault: Fault,
}

impl Stack {
    /// The present one; leaving its segment raises #SS with this error code.
    pub(crate) fn current(cpu: &Cpu, code: u32) -> Self {
        let pointer = cpu.registers.general[Registers::RSP];
        Self::new(cpu, cpu.system.segments[SS_], pointer, cpu.cpl(), Fault::coded(SS, code))
    }

    /// Another one, of a privilege level.
    pub(crate) fn new(cpu: &Cpu, segment: Segment, pointer: u64, cpl: u8, fault: Fault) -> Self {
        Self { segment, pointer, is_64: cpu.is_64(), user: cpl == 3, fault }
    }

    /// A 64-bit stack, which interrupts of IA-32e mode use whatever the code segment was.
    pub(crate) fn flat(pointer: u64, cpl: u8, fault: Fault) -> Self {
        Self { segment: Segment::default(), pointer, is_64: true, user: cpl == 3, fault }
    }

    /// The part of the pointer that counts: the B bit says (SDM vol. 3, 3.4.5).
    fn mask(&self) -> u64 {
        match (self.is_64, rights::is_big(&self.segment)) {
            (true, _) => u64::MAX,
            (false, true) => 0xffff_ffff,
            (false, false) => 0xffff,
        }
    }

    fn access(&self, cpu: &Cpu, write: bool) -> Access {
        Access { user: self.user, ..cpu.explicit(write) }
    }

    fn linear(&self, cpu: &Cpu, offset: u64, bytes: u64) -> Result<u64, Stop> {
        let fits = if self.is_64 {
            cpu.is_canonical(offset) && cpu.is_canonical(offset.wrapping_add(bytes - 1))
        } else {
            rights::holds(&self.segment, offset, offset + bytes - 1)
        };
        if !fits {
            return Err(self.fault.into());
        }
        Ok(if self.is_64 { offset } else { self.segment.base.wrapping_add(offset) & 0xffff_ffff })
    }

    /// Pushes a number.
    pub(crate) fn push(&mut self, cpu: &Cpu, value: u64, bytes: usize) -> Result<(), Stop> {
        let mask = self.mask();
        let offset = self.pointer.wrapping_sub(bytes as u64) & mask;
        let address = self.linear(cpu, offset, bytes as u64)?;
        cpu.write(address, &value.to_le_bytes()[..bytes], self.access(cpu, true))?;
        self.pointer = self.pointer & !mask | offset;
        Ok(())
    }

    /// Pops a number.
    pub(crate) fn pop(&mut self, cpu: &Cpu, bytes: usize) -> Result<u64, Stop> {
        let mask = self.mask();
        let offset = self.pointer & mask;
        let address = self.linear(cpu, offset, bytes as u64)?;
        let value = cpu.number(address, bytes, self.access(cpu, false))?;
        self.pointer = self.pointer & !mask | offset.wrapping_add(bytes as u64) & mask;
        Ok(value)
    }
}
