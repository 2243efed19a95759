//! A look at a guest that stands still.

use super::Machine;
use crate::error::MachineError;
use crate::memory::Memory;
use crate::paging::{Entry, Paging};
use crate::state;
use trapline_formats::{Gpa, Gva, Registers, SystemRegisters};

/// Registers and memory at an exit. Looking changes nothing: not even an accessed bit, as KVM_TRANSLATE may.
#[derive(Debug)]
pub struct View<'a> {
    /// The general registers, as KVM shows them at this exit.
    pub registers: &'a Registers,
    /// The system registers.
    pub system: SystemRegisters,
    paging: Paging,
    memory: &'a Memory,
}

impl Machine {
    /// The guest as it stands at the last exit.
    pub fn view(&self) -> Result<View<'_>, MachineError> {
        let system = state::system(self.vcpu(), &self.layout)?;
        let paging = Paging::of(&system, self.finisher.physical_bits);
        Ok(View { registers: self.registers(), system, paging, memory: &self.memory })
    }
}

impl View<'_> {
    /// Where a linear address is, whoever may get there.
    pub fn locate(&self, address: Gva) -> Option<Gpa> {
        self.paging.locate(self.memory, address)
    }

    /// The entries of the page tables on the way to a linear address.
    pub fn entries(&self, address: Gva) -> Vec<Entry> {
        self.paging.entries(self.memory, address)
    }

    /// Reads bytes at a linear address, as many as are mapped to memory.
    pub fn read(&self, address: Gva, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let at = Gva(address.0.wrapping_add(done as u64));
            let in_page = (4096 - (at.0 & 0xfff) as usize).min(bytes.len() - done);
            let found = self.paging.locate(self.memory, at);
            if found.is_none_or(|gpa| self.memory.read(gpa, &mut bytes[done..done + in_page]).is_err()) {
                break;
            }
            done += in_page;
        }
        done
    }
}
