//! What there is to say about this host.

use crate::error::{MachineError, refused};
use crate::kvm::engine_name;
use kvm_ioctls::{Cap, Kvm};
use std::fs;
use trapline_formats::Host;

/// Describes the host for the header of a trace.
pub fn describe(kvm: &Kvm) -> Host {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo
            .lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    let number = |name: &str| {
        field(name).and_then(|v| match v.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => v.parse().ok(),
        })
    };
    Host {
        engine: engine_name(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        cpu_vendor: field("vendor_id").unwrap_or_default(),
        cpu_brand: field("model name").unwrap_or_default(),
        cpu_signature: signature(
            number("cpu family").unwrap_or(0),
            number("model").unwrap_or(0),
            number("stepping").unwrap_or(0),
        ),
        microcode: number("microcode").unwrap_or(0),
        capabilities: capabilities(kvm),
    }
}

/// CPUID leaf 1 EAX from family, model and stepping (SDM vol. 2, CPUID).
fn signature(family: u32, model: u32, stepping: u32) -> u32 {
    let (base, extended) = if family > 15 { (15, family - 15) } else { (family, 0) };
    extended << 20 | (model >> 4) << 16 | base << 8 | (model & 15) << 4 | stepping
}

fn capabilities(kvm: &Kvm) -> Vec<(String, i64)> {
    let all: [(&str, Cap); 8] = [
        ("KVM_CAP_SYNC_REGS", Cap::SyncRegs),
        ("KVM_CAP_READONLY_MEM", Cap::ReadonlyMem),
        ("KVM_CAP_IMMEDIATE_EXIT", Cap::ImmediateExit),
        ("KVM_CAP_XCRS", Cap::Xcrs),
        ("KVM_CAP_DEBUGREGS", Cap::Debugregs),
        ("KVM_CAP_TSC_CONTROL", Cap::TscControl),
        ("KVM_CAP_GET_TSC_KHZ", Cap::GetTscKhz),
        ("KVM_CAP_NR_MEMSLOTS", Cap::NrMemslots),
    ];
    let by_number = [
        ("KVM_CAP_SREGS2", crate::kvm::CAP_SREGS2),
        ("KVM_CAP_X86_USER_SPACE_MSR", crate::kvm::CAP_USER_SPACE_MSR),
        ("KVM_CAP_EXIT_ON_EMULATION_FAILURE", crate::kvm::CAP_EXIT_ON_EMULATION_FAILURE),
    ];
    all.into_iter()
        .map(|(name, cap)| (name.to_owned(), kvm.check_extension_int(cap).into()))
        .chain(by_number.map(|(name, n)| (name.to_owned(), kvm.check_extension_raw(n).into())))
        .collect()
}

/// Frequency of the host's TSC in Hz, as KVM knows it.
pub fn tick_hz(kvm: &Kvm) -> Result<u64, MachineError> {
    let vm = crate::kvm::create_vm(kvm)?;
    let vcpu = vm.create_vcpu(0).map_err(refused("KVM_CREATE_VCPU"))?;
    let khz = vcpu.get_tsc_khz().map_err(refused("KVM_GET_TSC_KHZ"))?;
    Ok(u64::from(khz) * 1000)
}

/// Memory that a guest can be given, in bytes: MemAvailable of /proc/meminfo. Without it, no limit is known.
pub fn available_memory() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))
        .and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(u64::MAX, |k| k << 10)
}
