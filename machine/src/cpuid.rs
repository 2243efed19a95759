//! The fixed CPUID table: what the guest may know of the processor, the same whichever host CPU the vCPU runs on.
//!
//! Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E. KVM API 4.46 (KVM_GET_SUPPORTED_CPUID).

use crate::error::{MachineError, refused};
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::{Kvm, VcpuFd};
use trapline_formats::CpuidEntry;

const EAX: usize = 0;
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

/// Feature bits hidden from the guest: (leaf, subleaf, register, bit, why).
const HIDDEN: &[(u32, u32, usize, u32, &str)] = &[
    (1, 0, EDX, 4, "TSC: RDTSC does not trap; a polite guest uses a timer that does"),
    (1, 0, ECX, 3, "MONITOR/MWAIT: waits inside the guest, on memory that nobody else writes"),
    (1, 0, ECX, 15, "PDCM: performance MSRs show the host"),
    (1, 0, ECX, 18, "DCA: shows the host"),
    (1, 0, ECX, 21, "x2APIC: offered where its MSRs come to us, see `offer_x2apic`"),
    (1, 0, ECX, 24, "TSC-deadline timer: its MSR write may not exit"),
    (1, 0, ECX, 27, "OSXSAVE: KVM sets it from CR4, the table must not"),
    (1, 0, ECX, 30, "RDRAND: its result is the host's"),
    (1, 0, EDX, 7, "MCE: machine checks are the host's"),
    (1, 0, EDX, 14, "MCA: machine checks are the host's"),
    (1, 0, EDX, 22, "ACPI thermal MSRs show the host"),
    (1, 0, EDX, 29, "thermal monitor: shows the host"),
    (7, 0, EBX, 1, "TSC_ADJUST: the TSC is the host's"),
    (7, 0, EBX, 2, "SGX: enclaves are outside the line around CPU and RAM"),
    (7, 0, EBX, 18, "RDSEED: its result is the host's"),
    (7, 0, EBX, 25, "processor trace: writes memory behind our back"),
    (7, 0, ECX, 5, "WAITPKG: TPAUSE waits for the host's clock"),
    (7, 0, ECX, 22, "RDPID: leaks nothing while TSC_AUX is the guest's, but goes with RDTSCP"),
    (7, 0, EDX, 29, "ARCH_CAPABILITIES: an MSR that describes the host"),
    (0x8000_0001, 0, EDX, 27, "RDTSCP: reads the host's clock"),
    (0x8000_0001, 0, ECX, 2, "SVM: no nested guests"),
    (0x8000_0001, 0, ECX, 10, "IBS: samples are the host's"),
    (0x8000_0001, 0, ECX, 23, "performance counter extensions"),
    (0x8000_0001, 0, ECX, 24, "performance counter extensions, northbridge"),
    (0x8000_0001, 0, ECX, 28, "performance counter extensions, last level cache"),
    (0x8000_0007, 0, EDX, 8, "invariant TSC: the TSC is hidden"),
    (0x8000_0008, 0, EBX, 4, "RDPRU: reads the host's performance counters"),
    (1, 0, ECX, 5, "VMX: no nested guests"),
];

/// Leaves that are left out as a whole: they describe the host, its clock or its hypervisor.
fn is_left_out(leaf: u32) -> bool {
    // KVM's own leaves offer memory that KVM writes (kvmclock, steal time, async page faults, PV EOI).
    (0x4000_0000..0x5000_0000).contains(&leaf)
        || [
            5,           // MONITOR/MWAIT
            6,           // thermal and power management
            0xa,         // performance counters
            0xf,         // resource monitoring
            0x10,        // resource allocation
            0x12,        // SGX
            0x14,        // processor trace
            0x15,        // TSC and crystal frequency
            0x16,        // processor frequency
            0x1b,        // PCONFIG
            0x1c,        // last branch records
            0x8000_000a, // SVM
            0x8000_001b, // IBS
            0x8000_001e, // extended APIC id
            0x8000_001f, // memory encryption
            0x8000_0021, // more features of the host
            0x8000_0022, // performance counters
        ]
        .contains(&leaf)
}

/// The table for this host: what KVM supports, less what the host decides, with every field that names the CPU it ran
/// on set to CPU 0.
pub fn fixed_table(kvm: &Kvm) -> Result<Vec<CpuidEntry>, MachineError> {
    let mut table = supported(kvm)?;
    table.retain(|e| !is_left_out(e.leaf));
    for entry in &mut table {
        fix(entry);
    }
    table.sort_unstable();
    Ok(table)
}

/// All that KVM can offer a guest here.
pub(crate) fn supported(kvm: &Kvm) -> Result<Vec<CpuidEntry>, MachineError> {
    let supported =
        kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(refused("KVM_GET_SUPPORTED_CPUID"))?;
    Ok(supported
        .as_slice()
        .iter()
        .map(|e| CpuidEntry {
            leaf: e.function,
            subleaf: e.index,
            flags: e.flags,
            registers: [e.eax, e.ebx, e.ecx, e.edx],
        })
        .collect())
}

/// Shows x2APIC in a table that hides it (CPUID leaf 1, ECX bit 21). For platforms with a local APIC, on engines where
/// [`crate::doctor::x2apic_exits`] holds.
pub fn offer_x2apic(table: &mut [CpuidEntry]) {
    for entry in table.iter_mut().filter(|e| (e.leaf, e.subleaf) == (1, 0)) {
        entry.registers[ECX] |= 1 << 21;
    }
}

fn fix(entry: &mut CpuidEntry) {
    for &(leaf, subleaf, register, bit, _) in HIDDEN {
        if (leaf, subleaf) == (entry.leaf, entry.subleaf) {
            entry.registers[register] &= !(1 << bit);
        }
    }
    match entry.leaf {
        1 => {
            // EBX: initial APIC id (31:24) 0, one logical processor (23:16). ECX bit 31: a hypervisor is present.
            entry.registers[EBX] = (entry.registers[EBX] & 0xffff) | 1 << 16;
            entry.registers[ECX] |= 1 << 31;
        }
        4 | 0x8000_001d => entry.registers[EAX] &= 0x3fff, // one core, one thread shares each cache
        // EDX: x2APIC id. One thread per core, one core.
        0xb | 0x1f => {
            entry.registers[EDX] = 0;
            entry.registers[EAX] = 0;
            entry.registers[EBX] = u32::from(entry.subleaf < 2);
        }
        // EBX: size of the area for the features enabled in XCR0 *now*; KVM keeps it up to date. x87 and SSE at reset.
        0xd if entry.subleaf == 0 => entry.registers[EBX] = 576,
        0xd if entry.subleaf == 1 => entry.registers[EBX] = 0,
        0x8000_0008 => entry.registers[ECX] = 0, // one core
        _ => {}
    }
}

/// Gives the table to a vCPU.
pub(crate) fn set(vcpu: &VcpuFd, table: &[CpuidEntry]) -> Result<(), MachineError> {
    let entries: Vec<_> = table
        .iter()
        .map(|e| kvm_cpuid_entry2 {
            function: e.leaf,
            index: e.subleaf,
            flags: e.flags,
            eax: e.registers[EAX],
            ebx: e.registers[EBX],
            ecx: e.registers[ECX],
            edx: e.registers[EDX],
            ..Default::default()
        })
        .collect();
    let table = CpuId::from_entries(&entries)
        .map_err(|_| MachineError::Restore("its CPUID table is longer than KVM takes".into()))?;
    vcpu.set_cpuid2(&table).map_err(refused("KVM_SET_CPUID2"))
}

/// Offsets of the extended XSAVE components in the standard format: (component, offset, bytes), from leaf 0xD.
pub(crate) fn xsave_components(table: &[CpuidEntry]) -> Vec<(u32, usize, usize)> {
    table
        .iter()
        // ECX bit 0 set: a supervisor component, which the standard format does not hold.
        .filter(|e| e.leaf == 0xd && e.subleaf >= 2 && e.registers[EAX] != 0 && e.registers[ECX] & 1 == 0)
        .map(|e| (e.subleaf, e.registers[EBX] as usize, e.registers[EAX] as usize))
        .collect()
}
