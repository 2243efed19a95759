//! Jump tables, as compilers make them of a `switch` in 64-bit code that may be moved: distances from the table itself, four
//! bytes each.
//!
//! ```text
//! lea    rdx, [rip + table]
//! movsxd rax, dword ptr [rdx + rax*4]
//! add    rax, rdx
//! jmp    rax
//! ```

use super::{Entry, Image};
use iced_x86::{Code, FlowControl, Instruction, OpKind, Register};
use std::collections::BTreeSet;
use trapline_formats::CpuMode;

/// No `switch` has more cases.
const MOST: u64 = 1024;

/// What a function shows of its tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Addresses that it takes relative to RIP.
    addresses: BTreeSet<u64>,
    reads: bool,
    jumps: bool,
}

impl Tables {
    /// Looks at an instruction of the function.
    pub(super) fn note(&mut self, instruction: &Instruction, at: Entry) {
        if at.mode != CpuMode::Long64 {
            return;
        }
        match instruction.code() {
            Code::Lea_r64_m if instruction.is_ip_rel_memory_operand() => {
                self.addresses.insert(instruction.ip_rel_memory_address());
            }
            Code::Movsxd_r64_rm32 if instruction.memory_index_scale() == 4 => self.reads = true,
            _ => {
                self.jumps |= instruction.flow_control() == FlowControl::IndirectBranch
                    && instruction.op0_kind() == OpKind::Register
                    && instruction.op0_register() != Register::None;
            }
        }
    }

    /// Where the jumps may lead: what stands at those addresses, for as long as it leads into the image.
    pub(super) fn places(&self, image: &Image<'_>) -> BTreeSet<Entry> {
        let mut places = BTreeSet::new();
        if !self.reads || !self.jumps {
            return places;
        }
        for &table in &self.addresses {
            // One table ends where the next thing that the function names begins.
            let next = self.addresses.range(table + 1..).next().copied().unwrap_or(u64::MAX);
            let targets = (0..MOST)
                .map(|n| table.saturating_add(4 * n))
                .take_while(|at| *at < next)
                .map_while(|at| Some(table.wrapping_add_signed(i64::from(image.dword(at)?.cast_signed()))))
                .take_while(|target| image.offset(*target).is_some());
            places.extend(targets.map(|ip| Entry { segment_base: 0, ip, mode: CpuMode::Long64 }));
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::super::{View, find};
    use super::*;
    use iced_x86::Mnemonic;

    #[test]
    fn a_case_of_a_switch_is_found_and_what_no_switch_names_is_not() {
        // 0x1000: lea rdx, [rip+table]; movsxd rax, [rdx+rax*4]; add rax, rdx; jmp rax; then rdtsc; ret and rdtsc; ret
        let code = [
            0x48, 0x8d, 0x15, 0x0f, 0, 0, 0, // lea rdx, [0x1016]
            0x48, 0x63, 0x04, 0x82, // movsxd rax, dword ptr [rdx+rax*4]
            0x48, 0x01, 0xd0, // add rax, rdx
            0xff, 0xe0, // jmp rax
            0x0f, 0x31, 0xc3, // 0x1010: a case
            0x0f, 0x31, 0xc3, // 0x1013: nobody's
            0xfa, 0xff, 0xff, 0xff, // 0x1016: table: 0x1010
            0, 0, 0, 0x70, // out of the image: its end
        ];
        let views = [View { linear: 0x1000, offset: 0, bytes: code.len() as u64 }];
        let entry = Entry { segment_base: 0, ip: 0x1000, mode: CpuMode::Long64 };
        let found = find(&code, &views, &[entry], &[], |i| i.mnemonic() == Mnemonic::Rdtsc);
        assert_eq!(found, [(0x10, 2)].into());
    }
}
