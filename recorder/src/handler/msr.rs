//! MSRs that the platform answers.

use super::{NEVER, RecordHandler};
use crate::platform::{IA32_TSC, IA32_TSC_ADJUST, MsrAnswer, Platform};
use trapline_formats::Space;
use trapline_machine::Exit;

impl<P: Platform + ?Sized> RecordHandler<'_, P> {
    pub(super) fn read_msr(&mut self, exit: &mut Exit) {
        match self.platform.msr_read(self.now, exit.address as u32) {
            MsrAnswer::Value(value) => exit.set_value(value),
            MsrAnswer::GeneralProtection => self.refuse_msr(exit, false),
        }
    }

    pub(super) fn write_msr(&mut self, exit: &mut Exit) {
        let index = exit.address as u32;
        if self.platform.msr_write(self.now, index, exit.value()) == MsrAnswer::GeneralProtection {
            self.refuse_msr(exit, true);
        }
        if matches!(index, IA32_TSC | IA32_TSC_ADJUST) && self.next_tsc != NEVER {
            // A TSC that is held shows it at once.
            self.next_tsc = self.now;
        }
    }

    fn refuse_msr(&mut self, exit: &mut Exit, is_write: bool) {
        exit.fault = true;
        self.unclaimed.count(Space::Msr, exit.address, is_write);
    }

    /// What clock reads show that are answered here.
    pub(super) fn tsc(&mut self) -> Option<u64> {
        match self.platform.msr_read(self.now, IA32_TSC) {
            MsrAnswer::Value(value) => Some(value),
            MsrAnswer::GeneralProtection => None,
        }
    }
}
