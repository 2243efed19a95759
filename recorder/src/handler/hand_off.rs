//! The jump from unpacking code into what it unpacked: see [`crate::hand_off`].

use super::RecordHandler;
use crate::hand_off::JMP_RAX;
use crate::platform::Platform;
use crate::rewrite::Port;
use trapline_formats::{Event, Gpa, Gva, Registers};
use trapline_machine::{Exit, Machine, MachineError};

impl<P: Platform + ?Sized> RecordHandler<'_, P> {
    /// Whether this port stands for a jump of the unpacking code.
    #[inline]
    pub(super) fn stands_for_jump(&self, port: u64) -> bool {
        self.hand_off.as_ref().is_some_and(|h| u64::from(h.port) == port)
    }

    /// Remembers where the jump is that this exit stands for.
    #[cold]
    pub(super) fn note_jump_exit(
        &mut self,
        machine: &mut Machine,
        exit: &mut Exit,
    ) -> Result<(), MachineError> {
        let site = self.sites.number(machine, exit)? as usize;
        let found = &self.sites.sites()[site].instruction;
        let is_jump = found.bytes == Port(exit.address as u8).instruction();
        self.jump = is_jump.then_some(found.address);
        Ok(())
    }

    /// At a jump of the unpacking code: rewrites the kernel if it is what the jump leads to, then puts the jump back.
    #[cold]
    pub(super) fn hand_off(&mut self, machine: &mut Machine, jump: Gva) -> Result<(), MachineError> {
        let Some(hand_off) = &self.hand_off else { return Ok(()) };
        let target = machine.registers().general[Registers::RAX];
        let rewrites = hand_off.rewrites_at(machine.memory(), target);
        if !rewrites.is_empty() {
            self.hand_off = None;
            if let Some(code) = &mut self.loaded_code {
                code.knows(&rewrites);
            }
        }
        self.rewrite(machine, rewrites)?;
        // The unpacking code is identity-mapped.
        self.write(machine, Gpa(jump.0), &JMP_RAX)?;
        machine.jump(jump.0)?;
        self.event(Event::Jump { rip: jump.0 });
        Ok(())
    }

    /// Writes guest memory, as an event.
    pub(super) fn write(&mut self, machine: &Machine, gpa: Gpa, bytes: &[u8]) -> Result<(), MachineError> {
        machine.memory().write(gpa, bytes)?;
        self.event(Event::MemoryWrite { gpa: gpa.0, bytes: bytes.into() });
        Ok(())
    }
}
