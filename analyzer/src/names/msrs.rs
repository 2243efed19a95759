//! Well-known model-specific registers.
//!
//! Sources: Intel SDM volume 4, table 2-2 (architectural MSRs, IA32_*) and the tables per processor (MSR_*); SDM
//! volume 3, "x2APIC Register Address Space" (0x800); AMD64 APM volume 2, appendix A (0xC0010000 and up);
//! KVM Documentation/virt/kvm/x86/msr.rst (0x4B564D00); Hyper-V TLFS, appendix D (0x40000000).

use super::mmio::LOCAL_APIC;
use super::{Name, well_known};
use std::borrow::Cow;
use trapline_formats::Space;

/// The name of an MSR.
pub(super) fn name(msr: u32) -> Option<Name<'static>> {
    if let Ok(at) = MSRS.binary_search_by_key(&msr, |known| known.0) {
        return Some(Name { device: Cow::Borrowed(device(msr)), register: Cow::Borrowed(MSRS[at].1) });
    }
    match msr {
        0x800..=0x8ff => Some(Name { device: Cow::Borrowed(LOCAL_APIC), register: x2apic(msr).into() }),
        _ => numbered(msr)
            .map(|register| Name { device: Cow::Borrowed(device(msr)), register: register.into() }),
    }
}

fn device(msr: u32) -> &'static str {
    match msr {
        0x11 | 0x12 | 0x4b56_4d00..=0x4b56_4dff => "KVM",
        0x4000_0000..=0x4000_ffff => "Hyper-V",
        0x1b | 0x6e0 => LOCAL_APIC,
        _ => "CPU",
    }
}

/// x2APIC registers are those of the local APIC, one MSR per 16 bytes of its memory.
fn x2apic(msr: u32) -> String {
    match (msr, well_known(Space::Mmio, 0xfee0_0000 + (u64::from(msr & 0xff) << 4))) {
        (0x83f, _) => "x2APIC self IPI".into(),
        (_, Some(known)) if !known.register.is_empty() => format!("x2APIC {}", known.register),
        _ => "x2APIC".into(),
    }
}

/// Registers that come in numbered rows.
fn numbered(msr: u32) -> Option<String> {
    const FIX4K: [&str; 8] = ["C0000", "C8000", "D0000", "D8000", "E0000", "E8000", "F0000", "F8000"];
    const BANK: [&str; 4] = ["CTL", "STATUS", "ADDR", "MISC"];
    Some(match msr {
        0xc1..=0xc8 => format!("IA32_PMC{}", msr - 0xc1),
        0x186..=0x18d => format!("IA32_PERFEVTSEL{}", msr - 0x186),
        0x200..=0x213 if msr.is_multiple_of(2) => format!("IA32_MTRR_PHYSBASE{}", (msr - 0x200) / 2),
        0x200..=0x213 => format!("IA32_MTRR_PHYSMASK{}", (msr - 0x200) / 2),
        0x268..=0x26f => format!("IA32_MTRR_FIX4K_{}", FIX4K[(msr - 0x268) as usize]),
        0x280..=0x29f => format!("IA32_MC{}_CTL2", msr - 0x280),
        0x309..=0x30b => format!("IA32_FIXED_CTR{}", msr - 0x309),
        0x400..=0x47f => format!("IA32_MC{}_{}", (msr - 0x400) / 4, BANK[(msr % 4) as usize]),
        0x580..=0x587 => format!("IA32_RTIT_ADDR{}_{}", (msr - 0x580) / 2, ["A", "B"][(msr % 2) as usize]),
        0x6a4..=0x6a7 => format!("IA32_PL{}_SSP", msr - 0x6a4),
        0xc001_0000..=0xc001_0003 => format!("PERF_LEGACY_CTL{}", msr & 3),
        0xc001_0004..=0xc001_0007 => format!("PERF_LEGACY_CTR{}", msr & 3),
        0xc001_0064..=0xc001_006b => format!("PSTATE_DEF{}", msr - 0xc001_0064),
        0xc001_0200..=0xc001_020b if msr.is_multiple_of(2) => format!("PERF_CTL{}", (msr & 0xf) / 2),
        0xc001_0200..=0xc001_020b => format!("PERF_CTR{}", (msr & 0xf) / 2),
        _ => return None,
    })
}

/// Ascending.
const MSRS: &[(u32, &str)] = &[
    (0x0, "IA32_P5_MC_ADDR"),
    (0x1, "IA32_P5_MC_TYPE"),
    (0x6, "IA32_MONITOR_FILTER_SIZE"),
    (0x10, "IA32_TIME_STAMP_COUNTER"),
    (0x11, "MSR_KVM_WALL_CLOCK"),
    (0x12, "MSR_KVM_SYSTEM_TIME"),
    (0x17, "IA32_PLATFORM_ID"),
    (0x1b, "IA32_APIC_BASE"),
    (0x2a, "MSR_EBL_CR_POWERON"),
    (0x33, "MSR_MEMORY_CTRL"),
    (0x34, "MSR_SMI_COUNT"),
    (0x35, "MSR_CORE_THREAD_COUNT"),
    (0x3a, "IA32_FEATURE_CONTROL"),
    (0x3b, "IA32_TSC_ADJUST"),
    (0x48, "IA32_SPEC_CTRL"),
    (0x49, "IA32_PRED_CMD"),
    (0x4e, "MSR_PPIN_CTL"),
    (0x4f, "MSR_PPIN"),
    (0x79, "IA32_BIOS_UPDT_TRIG"),
    (0x8b, "IA32_BIOS_SIGN_ID"),
    (0x9b, "IA32_SMM_MONITOR_CTL"),
    (0x9e, "IA32_SMBASE"),
    (0xcd, "MSR_FSB_FREQ"),
    (0xce, "MSR_PLATFORM_INFO"),
    (0xcf, "IA32_CORE_CAPABILITIES"),
    (0xe1, "IA32_UMWAIT_CONTROL"),
    (0xe2, "MSR_PKG_CST_CONFIG_CONTROL"),
    (0xe7, "IA32_MPERF"),
    (0xe8, "IA32_APERF"),
    (0xfe, "IA32_MTRRCAP"),
    (0x10a, "IA32_ARCH_CAPABILITIES"),
    (0x10b, "IA32_FLUSH_CMD"),
    (0x11e, "MSR_BBL_CR_CTL3"),
    (0x122, "IA32_TSX_CTRL"),
    (0x123, "IA32_MCU_OPT_CTRL"),
    (0x140, "MSR_MISC_FEATURES_ENABLES"),
    (0x174, "IA32_SYSENTER_CS"),
    (0x175, "IA32_SYSENTER_ESP"),
    (0x176, "IA32_SYSENTER_EIP"),
    (0x179, "IA32_MCG_CAP"),
    (0x17a, "IA32_MCG_STATUS"),
    (0x17b, "IA32_MCG_CTL"),
    (0x198, "IA32_PERF_STATUS"),
    (0x199, "IA32_PERF_CTL"),
    (0x19a, "IA32_CLOCK_MODULATION"),
    (0x19b, "IA32_THERM_INTERRUPT"),
    (0x19c, "IA32_THERM_STATUS"),
    (0x1a0, "IA32_MISC_ENABLE"),
    (0x1a2, "MSR_TEMPERATURE_TARGET"),
    (0x1a4, "MSR_MISC_FEATURE_CONTROL"),
    (0x1a6, "MSR_OFFCORE_RSP_0"),
    (0x1a7, "MSR_OFFCORE_RSP_1"),
    (0x1ad, "MSR_TURBO_RATIO_LIMIT"),
    (0x1b0, "IA32_ENERGY_PERF_BIAS"),
    (0x1b1, "IA32_PACKAGE_THERM_STATUS"),
    (0x1b2, "IA32_PACKAGE_THERM_INTERRUPT"),
    (0x1c4, "IA32_XFD"),
    (0x1c5, "IA32_XFD_ERR"),
    (0x1c8, "MSR_LBR_SELECT"),
    (0x1c9, "MSR_LASTBRANCH_TOS"),
    (0x1d9, "IA32_DEBUGCTL"),
    (0x1db, "MSR_LASTBRANCHFROMIP"),
    (0x1dc, "MSR_LASTBRANCHTOIP"),
    (0x1dd, "MSR_LASTINTFROMIP"),
    (0x1de, "MSR_LASTINTTOIP"),
    (0x1f2, "IA32_SMRR_PHYSBASE"),
    (0x1f3, "IA32_SMRR_PHYSMASK"),
    (0x1f8, "IA32_PLATFORM_DCA_CAP"),
    (0x1f9, "IA32_CPU_DCA_CAP"),
    (0x1fa, "IA32_DCA_0_CAP"),
    (0x1fc, "MSR_POWER_CTL"),
    (0x250, "IA32_MTRR_FIX64K_00000"),
    (0x258, "IA32_MTRR_FIX16K_80000"),
    (0x259, "IA32_MTRR_FIX16K_A0000"),
    (0x277, "IA32_PAT"),
    (0x2ff, "IA32_MTRR_DEF_TYPE"),
    (0x345, "IA32_PERF_CAPABILITIES"),
    (0x38d, "IA32_FIXED_CTR_CTRL"),
    (0x38e, "IA32_PERF_GLOBAL_STATUS"),
    (0x38f, "IA32_PERF_GLOBAL_CTRL"),
    (0x390, "IA32_PERF_GLOBAL_OVF_CTRL"),
    (0x3f1, "IA32_PEBS_ENABLE"),
    (0x480, "IA32_VMX_BASIC"),
    (0x481, "IA32_VMX_PINBASED_CTLS"),
    (0x482, "IA32_VMX_PROCBASED_CTLS"),
    (0x483, "IA32_VMX_EXIT_CTLS"),
    (0x484, "IA32_VMX_ENTRY_CTLS"),
    (0x485, "IA32_VMX_MISC"),
    (0x486, "IA32_VMX_CR0_FIXED0"),
    (0x487, "IA32_VMX_CR0_FIXED1"),
    (0x488, "IA32_VMX_CR4_FIXED0"),
    (0x489, "IA32_VMX_CR4_FIXED1"),
    (0x48a, "IA32_VMX_VMCS_ENUM"),
    (0x48b, "IA32_VMX_PROCBASED_CTLS2"),
    (0x48c, "IA32_VMX_EPT_VPID_CAP"),
    (0x48d, "IA32_VMX_TRUE_PINBASED_CTLS"),
    (0x48e, "IA32_VMX_TRUE_PROCBASED_CTLS"),
    (0x48f, "IA32_VMX_TRUE_EXIT_CTLS"),
    (0x490, "IA32_VMX_TRUE_ENTRY_CTLS"),
    (0x491, "IA32_VMX_VMFUNC"),
    (0x570, "IA32_RTIT_CTL"),
    (0x571, "IA32_RTIT_STATUS"),
    (0x600, "IA32_DS_AREA"),
    (0x606, "MSR_RAPL_POWER_UNIT"),
    (0x610, "MSR_PKG_POWER_LIMIT"),
    (0x611, "MSR_PKG_ENERGY_STATUS"),
    (0x614, "MSR_PKG_POWER_INFO"),
    (0x619, "MSR_DRAM_ENERGY_STATUS"),
    (0x639, "MSR_PP0_ENERGY_STATUS"),
    (0x641, "MSR_PP1_ENERGY_STATUS"),
    (0x64d, "MSR_PLATFORM_ENERGY_COUNTER"),
    (0x6a0, "IA32_U_CET"),
    (0x6a2, "IA32_S_CET"),
    (0x6e0, "IA32_TSC_DEADLINE"),
    (0x6e1, "IA32_PKRS"),
    (0x770, "IA32_PM_ENABLE"),
    (0x771, "IA32_HWP_CAPABILITIES"),
    (0x774, "IA32_HWP_REQUEST"),
    (0x777, "IA32_HWP_STATUS"),
    (0xc80, "IA32_DEBUG_INTERFACE"),
    (0xc8f, "IA32_PQR_ASSOC"),
    (0xda0, "IA32_XSS"),
    (0x4000_0000, "HV_X64_MSR_GUEST_OS_ID"),
    (0x4000_0001, "HV_X64_MSR_HYPERCALL"),
    (0x4000_0002, "HV_X64_MSR_VP_INDEX"),
    (0x4000_0020, "HV_X64_MSR_TIME_REF_COUNT"),
    (0x4000_0021, "HV_X64_MSR_REFERENCE_TSC"),
    (0x4000_0022, "HV_X64_MSR_TSC_FREQUENCY"),
    (0x4000_0023, "HV_X64_MSR_APIC_FREQUENCY"),
    (0x4b56_4d00, "MSR_KVM_WALL_CLOCK_NEW"),
    (0x4b56_4d01, "MSR_KVM_SYSTEM_TIME_NEW"),
    (0x4b56_4d02, "MSR_KVM_ASYNC_PF_EN"),
    (0x4b56_4d03, "MSR_KVM_STEAL_TIME"),
    (0x4b56_4d04, "MSR_KVM_EOI_EN"),
    (0x4b56_4d05, "MSR_KVM_POLL_CONTROL"),
    (0x4b56_4d06, "MSR_KVM_ASYNC_PF_INT"),
    (0x4b56_4d07, "MSR_KVM_ASYNC_PF_ACK"),
    (0x4b56_4d08, "MSR_KVM_MIGRATION_CONTROL"),
    (0xc000_0080, "IA32_EFER"),
    (0xc000_0081, "IA32_STAR"),
    (0xc000_0082, "IA32_LSTAR"),
    (0xc000_0083, "IA32_CSTAR"),
    (0xc000_0084, "IA32_FMASK"),
    (0xc000_0100, "IA32_FS_BASE"),
    (0xc000_0101, "IA32_GS_BASE"),
    (0xc000_0102, "IA32_KERNEL_GS_BASE"),
    (0xc000_0103, "IA32_TSC_AUX"),
    (0xc000_0104, "TSC_RATIO"),
    (0xc001_0010, "SYSCFG"),
    (0xc001_0015, "HWCR"),
    (0xc001_001a, "TOP_MEM"),
    (0xc001_001d, "TOP_MEM2"),
    (0xc001_001f, "NB_CFG"),
    (0xc001_0055, "INT_PENDING_MSG"),
    (0xc001_0058, "MMIO_CONF_BASE"),
    (0xc001_0061, "PSTATE_LIMIT"),
    (0xc001_0062, "PSTATE_CTL"),
    (0xc001_0063, "PSTATE_STATUS"),
    (0xc001_0111, "SMM_BASE"),
    (0xc001_0112, "SMM_ADDR"),
    (0xc001_0113, "SMM_MASK"),
    (0xc001_0114, "VM_CR"),
    (0xc001_0115, "IGNNE"),
    (0xc001_0117, "VM_HSAVE_PA"),
    (0xc001_011f, "VIRT_SPEC_CTRL"),
    (0xc001_0130, "GHCB"),
    (0xc001_0131, "SEV_STATUS"),
    (0xc001_0140, "OSVW_ID_LENGTH"),
    (0xc001_0141, "OSVW_STATUS"),
    (0xc001_1020, "LS_CFG"),
    (0xc001_1029, "DE_CFG"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_ascends() {
        assert!(MSRS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn no_msr_makes_the_lookup_panic() {
        for base in [0, 0x4000_0000, 0x4b56_4d00, 0xc000_0000, 0xc001_0000, 0xffff_0000] {
            for offset in 0..=0xffff {
                let _ = name(base + offset);
            }
        }
    }

    #[test]
    fn rows_of_registers_are_numbered() {
        let register = |msr| name(msr).map(|n| n.register.into_owned());
        assert_eq!(register(0x201).as_deref(), Some("IA32_MTRR_PHYSMASK0"));
        assert_eq!(register(0x26f).as_deref(), Some("IA32_MTRR_FIX4K_F8000"));
        assert_eq!(register(0xc001_0203).as_deref(), Some("PERF_CTR1"));
        assert_eq!(register(0x83f).as_deref(), Some("x2APIC self IPI"));
        assert_eq!(register(0x838).as_deref(), Some("x2APIC initial count"));
        assert_eq!(register(0x5555), None);
    }
}
