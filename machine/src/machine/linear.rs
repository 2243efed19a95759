//! Linear addresses: what the guest's page tables and segments make of them.

use super::Machine;
use trapline_formats::{Gpa, Gva};

impl Machine {
    /// Translates a linear address as the guest's page tables stand now.
    pub fn translate(&self, address: Gva) -> Option<Gpa> {
        let translation = self.vcpu.translate_gva(address.0).ok()?;
        (translation.valid != 0).then_some(Gpa(translation.physical_address))
    }

    /// The base of a segment, by its number in instructions: ES, CS, SS, DS, FS, GS.
    pub(crate) fn segment_base(&self, segment: usize) -> u64 {
        let Ok(s) = self.vcpu.get_sregs() else { return 0 };
        [&s.es, &s.cs, &s.ss, &s.ds, &s.fs, &s.gs].get(segment).map_or(0, |s| s.base)
    }

    /// Reads bytes at a linear address, as many as are mapped.
    pub fn read_linear(&self, address: Gva, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let at = address.0.wrapping_add(done as u64);
            let in_page = (4096 - (at & 0xfff) as usize).min(bytes.len() - done);
            let Some(gpa) = self.translate(Gva(at)) else { break };
            if self.memory.read(gpa, &mut bytes[done..done + in_page]).is_err() {
                break;
            }
            done += in_page;
        }
        done
    }
}
