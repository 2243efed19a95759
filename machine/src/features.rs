//! What a processor offers a guest, by name: what one CPUID table has and another has not, and which instruction shows that the
//! guest used it.
//!
//! Bits: Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E.

use iced_x86::{Code, CpuidFeature as F, Instruction as X86, Register};
use trapline_formats::{CpuidEntry, Registers};

const EAX: usize = 0;
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

/// Where CPUID shows something: leaf, subleaf, register, bit.
type Place = (u32, u32, usize, u32);

/// Instructions, by the feature that the disassembler says they need.
const INSTRUCTIONS: &[(F, Place)] = &[
    (F::SSE3, (1, 0, ECX, 0)),
    (F::PCLMULQDQ, (1, 0, ECX, 1)),
    (F::MONITOR, (1, 0, ECX, 3)),
    (F::SSSE3, (1, 0, ECX, 9)),
    (F::FMA, (1, 0, ECX, 12)),
    (F::CMPXCHG16B, (1, 0, ECX, 13)),
    (F::SSE4_1, (1, 0, ECX, 19)),
    (F::SSE4_2, (1, 0, ECX, 20)),
    (F::MOVBE, (1, 0, ECX, 22)),
    (F::POPCNT, (1, 0, ECX, 23)),
    (F::AES, (1, 0, ECX, 25)),
    (F::XSAVE, (1, 0, ECX, 26)),
    (F::AVX, (1, 0, ECX, 28)),
    (F::F16C, (1, 0, ECX, 29)),
    (F::RDRAND, (1, 0, ECX, 30)),
    (F::SEP, (1, 0, EDX, 11)),
    (F::CMOV, (1, 0, EDX, 15)),
    (F::CLFSH, (1, 0, EDX, 19)),
    (F::MMX, (1, 0, EDX, 23)),
    (F::FXSR, (1, 0, EDX, 24)),
    (F::SSE, (1, 0, EDX, 25)),
    (F::SSE2, (1, 0, EDX, 26)),
    (F::FSGSBASE, (7, 0, EBX, 0)),
    (F::BMI1, (7, 0, EBX, 3)),
    (F::AVX2, (7, 0, EBX, 5)),
    (F::BMI2, (7, 0, EBX, 8)),
    (F::INVPCID, (7, 0, EBX, 10)),
    (F::RTM, (7, 0, EBX, 11)),
    (F::MPX, (7, 0, EBX, 14)),
    (F::AVX512F, (7, 0, EBX, 16)),
    (F::AVX512DQ, (7, 0, EBX, 17)),
    (F::RDSEED, (7, 0, EBX, 18)),
    (F::ADX, (7, 0, EBX, 19)),
    (F::SMAP, (7, 0, EBX, 20)),
    (F::AVX512_IFMA, (7, 0, EBX, 21)),
    (F::CLFLUSHOPT, (7, 0, EBX, 23)),
    (F::CLWB, (7, 0, EBX, 24)),
    (F::AVX512CD, (7, 0, EBX, 28)),
    (F::SHA, (7, 0, EBX, 29)),
    (F::AVX512BW, (7, 0, EBX, 30)),
    (F::AVX512VL, (7, 0, EBX, 31)),
    (F::AVX512_VBMI, (7, 0, ECX, 1)),
    (F::PKU, (7, 0, ECX, 3)),
    (F::AVX512_VBMI2, (7, 0, ECX, 6)),
    (F::GFNI, (7, 0, ECX, 8)),
    (F::VAES, (7, 0, ECX, 9)),
    (F::VPCLMULQDQ, (7, 0, ECX, 10)),
    (F::AVX512_VNNI, (7, 0, ECX, 11)),
    (F::AVX512_BITALG, (7, 0, ECX, 12)),
    (F::AVX512_VPOPCNTDQ, (7, 0, ECX, 14)),
    (F::RDPID, (7, 0, ECX, 22)),
    (F::MOVDIRI, (7, 0, ECX, 27)),
    (F::MOVDIR64B, (7, 0, ECX, 28)),
    (F::AVX512_VP2INTERSECT, (7, 0, EDX, 8)),
    (F::SERIALIZE, (7, 0, EDX, 14)),
    (F::AVX_VNNI, (7, 1, EAX, 4)),
    (F::AVX512_BF16, (7, 1, EAX, 5)),
    (F::XSAVEOPT, (0xd, 1, EAX, 0)),
    (F::XSAVEC, (0xd, 1, EAX, 1)),
    (F::XSAVES, (0xd, 1, EAX, 3)),
    (F::LZCNT, (0x8000_0001, 0, ECX, 5)),
    (F::SSE4A, (0x8000_0001, 0, ECX, 6)),
    (F::XOP, (0x8000_0001, 0, ECX, 11)),
    (F::FMA4, (0x8000_0001, 0, ECX, 16)),
    (F::TBM, (0x8000_0001, 0, ECX, 21)),
    (F::SYSCALL, (0x8000_0001, 0, EDX, 11)),
    (F::RDTSCP, (0x8000_0001, 0, EDX, 27)),
    (F::D3NOWEXT, (0x8000_0001, 0, EDX, 30)),
    (F::D3NOW, (0x8000_0001, 0, EDX, 31)),
    (F::CLZERO, (0x8000_0008, 0, EBX, 0)),
];

/// Bits of CR4 that exist with a feature only: (name, bit, place) (SDM vol. 3, 2.5).
const CR4: &[(&str, u32, Place)] = &[
    ("UMIP", 11, (7, 0, ECX, 2)),
    ("LA57", 12, (7, 0, ECX, 16)),
    ("FSGSBASE", 16, (7, 0, EBX, 0)),
    ("PCID", 17, (1, 0, ECX, 17)),
    ("XSAVE", 18, (1, 0, ECX, 26)),
    ("SMEP", 20, (7, 0, EBX, 7)),
    ("SMAP", 21, (7, 0, EBX, 20)),
    ("PKU", 22, (7, 0, ECX, 3)),
    ("CET", 23, (7, 0, ECX, 7)),
];

/// Components of XCR0 that can be missing: (name, bits) (SDM vol. 1, 13.1).
const XCR0: &[(&str, u64)] =
    &[("AVX", 1 << 2), ("MPX", 3 << 3), ("AVX512F", 7 << 5), ("PKU", 1 << 9), ("AMX", 3 << 17)];

/// What a recording offered its guest, and this host does not offer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MissingFeatures {
    instructions: Vec<F>,
    cr4: Vec<(&'static str, u32)>,
    xcr0: Vec<(&'static str, u64)>,
}

impl MissingFeatures {
    /// What `offered` has and `here` has not.
    pub fn between(offered: &[CpuidEntry], here: &[CpuidEntry]) -> Self {
        let is_missing = |place: &Place| has(offered, *place) && !has(here, *place);
        let components = xcr0(offered) & !xcr0(here);
        Self {
            instructions: INSTRUCTIONS.iter().filter(|(_, p)| is_missing(p)).map(|(f, _)| *f).collect(),
            cr4: CR4.iter().filter(|(.., p)| is_missing(p)).map(|(name, bit, _)| (*name, *bit)).collect(),
            xcr0: XCR0.iter().copied().filter(|(_, bits)| components & bits != 0).collect(),
        }
    }

    /// Whether nothing is missing that could be named.
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty() && self.cr4.is_empty() && self.xcr0.is_empty()
    }

    /// All of them by name, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.instructions.iter().map(|f| format!("{f:?}")).collect();
        names.extend(self.cr4.iter().map(|(name, _)| (*name).to_owned()));
        names.extend(self.xcr0.iter().map(|(name, _)| (*name).to_owned()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The missing feature that an instruction uses when it is executed with these registers.
    pub(crate) fn used_by(&self, x86: &X86, registers: &Registers) -> Option<String> {
        if let Some(feature) = x86.cpuid_features().iter().find(|f| self.instructions.contains(f)) {
            return Some(format!("{feature:?}"));
        }
        match x86.code() {
            Code::Mov_cr_r32 | Code::Mov_cr_r64 if x86.op0_register() == Register::CR4 => {
                let value = registers.general[KVM_ORDER[x86.op1_register().number()]];
                self.cr4.iter().find(|(_, bit)| value >> bit & 1 != 0).map(|(name, _)| (*name).to_owned())
            }
            Code::Xsetbv => {
                let value =
                    registers.general[Registers::RAX] & 0xffff_ffff | registers.general[Registers::RDX] << 32;
                self.xcr0.iter().find(|(_, bits)| value & bits != 0).map(|(name, _)| (*name).to_owned())
            }
            _ => None,
        }
    }
}

/// General registers of KVM by the number that instructions encode, and iced gives, them.
pub(crate) const KVM_ORDER: [usize; 16] = [0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];

fn entry(table: &[CpuidEntry], leaf: u32, subleaf: u32) -> Option<&CpuidEntry> {
    table.iter().find(|e| (e.leaf, e.subleaf) == (leaf, subleaf))
}

fn has(table: &[CpuidEntry], (leaf, subleaf, register, bit): Place) -> bool {
    entry(table, leaf, subleaf).is_some_and(|e| e.registers[register] >> bit & 1 != 0)
}

/// The components that a guest may switch on.
fn xcr0(table: &[CpuidEntry]) -> u64 {
    entry(table, 0xd, 0).map_or(0, |e| u64::from(e.registers[EAX]) | u64::from(e.registers[EDX]) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convention::decoder;
    use trapline_formats::CpuMode;

    fn row(leaf: u32, subleaf: u32, registers: [u32; 4]) -> CpuidEntry {
        CpuidEntry { leaf, subleaf, flags: 0, registers }
    }

    fn used(missing: &MissingFeatures, bytes: &[u8], registers: &Registers) -> Option<String> {
        missing.used_by(&decoder(bytes, CpuMode::Long64, 0).decode(), registers)
    }

    #[test]
    fn a_feature_of_both_or_of_this_host_alone_is_not_missing() {
        let offered = [row(1, 0, [0, 0, 1 << 23 | 1 << 26, 0])];
        let here = [row(1, 0, [0, 0, 1 << 26 | 1 << 19, 0])];
        let missing = MissingFeatures::between(&offered, &here);
        assert_eq!(missing.names(), ["POPCNT"]);
        assert!(MissingFeatures::between(&here, &here).is_empty());
    }

    #[test]
    fn an_instruction_uses_what_it_needs_and_no_other_does() {
        let missing = MissingFeatures::between(&[row(0x8000_0001, 0, [0, 0, 1 << 6, 0])], &[]);
        let registers = Registers::default();
        // extrq xmm0, 8, 16; movd eax, xmm0
        assert_eq!(used(&missing, &[0x66, 0x0f, 0x78, 0xc0, 8, 16], &registers).as_deref(), Some("SSE4A"));
        assert_eq!(used(&missing, &[0x66, 0x0f, 0x7e, 0xc0], &registers), None);
    }

    #[test]
    fn a_write_of_cr4_uses_the_features_whose_bits_it_sets() {
        let missing = MissingFeatures::between(&[row(1, 0, [0, 0, 1 << 26, 0])], &[]);
        let mut registers = Registers::default();
        let write = [0x0f, 0x22, 0xe1]; // mov cr4, rcx
        assert_eq!(used(&missing, &write, &registers), None);
        registers.general[Registers::RCX] = 1 << 18;
        assert_eq!(used(&missing, &write, &registers).as_deref(), Some("XSAVE"));
        let write_of_cr3 = [0x0f, 0x22, 0xd9];
        assert_eq!(used(&missing, &write_of_cr3, &registers), None);
    }

    #[test]
    fn xsetbv_uses_the_components_that_it_switches_on() {
        let missing = MissingFeatures::between(&[row(0xd, 0, [0xe7, 0, 0, 0])], &[row(0xd, 0, [7, 0, 0, 0])]);
        let mut registers = Registers::default();
        registers.general[Registers::RAX] = 7;
        let xsetbv = [0x0f, 0x01, 0xd1];
        assert_eq!(used(&missing, &xsetbv, &registers), None);
        registers.general[Registers::RAX] = 0xe7;
        assert_eq!(used(&missing, &xsetbv, &registers).as_deref(), Some("AVX512F"));
    }
}
