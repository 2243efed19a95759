//! The capabilities of KVM that matter to recording.

use super::report::{Capability, Verdict};
use kvm_bindings as k;
use kvm_ioctls::Kvm;

/// How much a capability matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing works without.
    Must,
    /// Missed where it is missing.
    Wanted,
    /// Good to know.
    Curious,
}
use Need::{Curious, Must, Wanted};

/// Name in the KVM API, number, need, what for.
const CAPABILITIES: &[(&str, u32, Need, &str)] = &[
    ("KVM_CAP_USER_MEMORY", k::KVM_CAP_USER_MEMORY, Must, "guest memory"),
    (
        "KVM_CAP_IMMEDIATE_EXIT",
        k::KVM_CAP_IMMEDIATE_EXIT,
        Must,
        "completing an instruction without running on; kicks",
    ),
    ("KVM_CAP_X86_USER_SPACE_MSR", k::KVM_CAP_X86_USER_SPACE_MSR, Must, "MSR accesses come to us"),
    ("KVM_CAP_X86_MSR_FILTER", k::KVM_CAP_X86_MSR_FILTER, Must, "no MSR is answered from the host"),
    ("KVM_CAP_VCPU_EVENTS", k::KVM_CAP_VCPU_EVENTS, Must, "pending interrupts and exceptions in a snapshot"),
    ("KVM_CAP_DEBUGREGS", k::KVM_CAP_DEBUGREGS, Must, "DR0-DR7 in a snapshot"),
    ("KVM_CAP_XSAVE", k::KVM_CAP_XSAVE, Must, "FPU and vector registers in a snapshot"),
    ("KVM_CAP_MP_STATE", k::KVM_CAP_MP_STATE, Must, "a halted vCPU in a snapshot"),
    ("KVM_CAP_SYNC_REGS", k::KVM_CAP_SYNC_REGS, Wanted, "registers at an exit without a system call"),
    ("KVM_CAP_SREGS2", k::KVM_CAP_SREGS2, Wanted, "PAE page-directory pointers in a snapshot"),
    ("KVM_CAP_XCRS", k::KVM_CAP_XCRS, Wanted, "XCR0 in a snapshot"),
    ("KVM_CAP_READONLY_MEM", k::KVM_CAP_READONLY_MEM, Wanted, "firmware in ROM"),
    (
        "KVM_CAP_EXIT_ON_EMULATION_FAILURE",
        k::KVM_CAP_EXIT_ON_EMULATION_FAILURE,
        Wanted,
        "instructions that KVM cannot finish come to us",
    ),
    ("KVM_CAP_SET_GUEST_DEBUG", k::KVM_CAP_SET_GUEST_DEBUG, Wanted, "single steps and breakpoints"),
    ("KVM_CAP_SET_GUEST_DEBUG2", k::KVM_CAP_SET_GUEST_DEBUG2, Curious, "which debugging features there are"),
    ("KVM_CAP_GET_TSC_KHZ", k::KVM_CAP_GET_TSC_KHZ, Wanted, "ticks to nanoseconds"),
    ("KVM_CAP_TSC_CONTROL", k::KVM_CAP_TSC_CONTROL, Curious, "scaling of the guest's TSC by the processor"),
    ("KVM_CAP_VCPU_ATTRIBUTES", k::KVM_CAP_VCPU_ATTRIBUTES, Curious, "offset of the guest's TSC"),
    ("KVM_CAP_EXCEPTION_PAYLOAD", k::KVM_CAP_EXCEPTION_PAYLOAD, Curious, "CR2 and DR6 of pending exceptions"),
    ("KVM_CAP_X86_TRIPLE_FAULT_EVENT", 218, Curious, "pending triple faults in a snapshot"),
    ("KVM_CAP_X86_SMM", k::KVM_CAP_X86_SMM, Curious, "system management mode"),
    (
        "KVM_CAP_DISABLE_QUIRKS2",
        k::KVM_CAP_DISABLE_QUIRKS2,
        Curious,
        "switching off deviations from hardware",
    ),
    (
        "KVM_CAP_X86_DISABLE_EXITS",
        k::KVM_CAP_X86_DISABLE_EXITS,
        Curious,
        "HLT, MWAIT, PAUSE without exits (unused)",
    ),
    ("KVM_CAP_DIRTY_LOG_RING", k::KVM_CAP_DIRTY_LOG_RING, Curious, "written pages as a ring"),
    (
        "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2",
        k::KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
        Curious,
        "written pages, cleared one by one",
    ),
    ("KVM_CAP_NR_MEMSLOTS", k::KVM_CAP_NR_MEMSLOTS, Curious, "how many memory regions"),
    ("KVM_CAP_MAX_VCPUS", k::KVM_CAP_MAX_VCPUS, Curious, "how many vCPUs (one is recorded)"),
    ("KVM_CAP_PMU_CAPABILITY", k::KVM_CAP_PMU_CAPABILITY, Curious, "performance counters in guests"),
    (
        "KVM_CAP_NESTED_STATE",
        k::KVM_CAP_NESTED_STATE,
        Curious,
        "guests inside guests (hidden from recorded ones)",
    ),
    ("KVM_CAP_BINARY_STATS_FD", k::KVM_CAP_BINARY_STATS_FD, Curious, "counters of exits in the kernel"),
];

/// All of them, asked of this KVM.
pub(super) fn ask(kvm: &Kvm) -> Vec<Capability> {
    CAPABILITIES
        .iter()
        .map(|&(name, number, need, purpose)| {
            let value = i64::from(kvm.check_extension_raw(number.into()));
            let verdict = match need {
                Curious => Verdict::Informational,
                _ if value > 0 => Verdict::Good,
                _ => Verdict::LimitsRecording,
            };
            Capability { name: name.to_owned(), value, purpose: purpose.to_owned(), verdict }
        })
        .collect()
}

/// Those that nothing works without and that are not there.
pub(super) fn missing(kvm: &Kvm) -> Vec<&'static str> {
    CAPABILITIES
        .iter()
        .filter(|(_, number, need, _)| *need == Must && kvm.check_extension_raw((*number).into()) <= 0)
        .map(|(name, ..)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_a_row_of_its_own() {
        let kvm = crate::kvm::open().expect("tests need a usable /dev/kvm");
        let rows = ask(&kvm);
        assert_eq!(rows.len(), CAPABILITIES.len());
        let names: std::collections::BTreeSet<_> = rows.iter().map(|r| &r.name).collect();
        let numbers: std::collections::BTreeSet<_> = CAPABILITIES.iter().map(|c| c.1).collect();
        assert_eq!((names.len(), numbers.len()), (rows.len(), rows.len()));
        assert_eq!(missing(&kvm), [] as [&str; 0]);
    }
}
