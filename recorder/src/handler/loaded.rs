//! Clock reads of code that the guest loads: see [`crate::loaded_code`].

use super::RecordHandler;
use crate::disassembly::Entry;
use crate::loaded_code::LoadedCode;
use crate::platform::Platform;
use trapline_formats::{Gpa, LateRewrite, Rewrite};
use trapline_machine::{Machine, MachineError};

impl<P: Platform + ?Sized> RecordHandler<'_, P> {
    /// An exit of this site is the first. If the code there is new, it is looked at where the instruction is complete.
    #[cold]
    pub(super) fn note_new_site(&mut self, machine: &Machine, site: u32) -> Result<(), MachineError> {
        self.next_site = site + 1;
        let instruction = &self.sites.sites()[site as usize].instruction;
        if let Some(code) = &self.loaded_code
            && code.is_new(machine, instruction)?
        {
            (self.in_new_code, self.must_settle) = (true, true);
        }
        Ok(())
    }

    #[cold]
    pub(super) fn look_at_new_code(&mut self, machine: &Machine) -> Result<(), MachineError> {
        self.close(machine, Some(LoadedCode::next(machine)?))?;
        self.look_for_images(machine)?;
        self.look_for_kernel(machine)
    }

    fn look_for_images(&mut self, machine: &Machine) -> Result<(), MachineError> {
        let Some(code) = &mut self.loaded_code else { return Ok(()) };
        let rewrites = code.images(machine.memory())?;
        self.rewrite(machine, rewrites)
    }

    /// Memory was written by a device.
    pub(super) fn look_at_transferred(&mut self, machine: &Machine) -> Result<(), MachineError> {
        let entry = self.loaded_code.as_mut().and_then(|code| code.boot_sector(machine.memory()));
        self.close(machine, entry)?;
        self.look_for_kernel(machine)
    }

    fn look_for_kernel(&mut self, machine: &Machine) -> Result<(), MachineError> {
        let Some(code) = &mut self.loaded_code else { return Ok(()) };
        let Some(kernel) = code.kernel(machine)? else { return Ok(()) };
        self.hand_off = kernel.hand_off;
        self.rewrite(machine, kernel.rewrites)
    }

    /// Rewrites the clock reads that are reached from there. Not where the guest holds a value of the hardware's clock: who measures from
    /// that to one of ours would wait for ever.
    fn close(&mut self, machine: &Machine, entry: Option<Entry>) -> Result<(), MachineError> {
        let (Some(code), Some(entry)) = (&mut self.loaded_code, entry) else { return Ok(()) };
        if self.leaks.as_ref().is_some_and(|leaks| leaks.shows(machine.registers())) {
            return Ok(());
        }
        let rewrites = code.sources(machine, entry)?;
        self.rewrite(machine, rewrites)
    }

    /// Rewrites instructions, as events behind the last exit.
    pub(super) fn rewrite(&mut self, machine: &Machine, rewrites: Vec<Rewrite>) -> Result<(), MachineError> {
        let exit = self.exits.saturating_sub(1);
        for rewrite in rewrites {
            self.write(machine, Gpa(rewrite.gpa), &rewrite.replacement)?;
            self.late_rewrites.push(LateRewrite { exit, rewrite });
        }
        Ok(())
    }
}
