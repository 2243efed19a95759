//! /dev/kvm: opening it, or saying why not.

use crate::doctor::Trouble;
use crate::error::{MachineError, refused};
use kvm_bindings::kvm_enable_cap;
use kvm_ioctls::{Cap, Kvm};
use std::fs;
use std::path::Path;

/// `KVM_CAP_SREGS2` (KVM API 4.99).
pub(crate) const CAP_SREGS2: u64 = 200;
/// `KVM_CAP_X86_USER_SPACE_MSR` (KVM API 7.21).
pub(crate) const CAP_USER_SPACE_MSR: u64 = 188;
/// `KVM_CAP_EXIT_ON_EMULATION_FAILURE` (KVM API 7.28).
pub(crate) const CAP_EXIT_ON_EMULATION_FAILURE: u64 = 204;

/// Opens /dev/kvm and checks its API version. A failure says what to do about it.
pub fn open() -> Result<Kvm, MachineError> {
    let kvm = Kvm::new().map_err(|e| unusable(&Trouble::of_open(e.errno())))?;
    let version = kvm.get_api_version();
    // KVM API 4.1: 12 is the only version ever; others mean something that is not KVM.
    if version != 12 {
        return Err(unusable(&Trouble::of_version(version)));
    }
    Ok(kvm)
}

fn unusable(trouble: &Trouble) -> MachineError {
    MachineError::Unusable(trouble.to_string())
}

/// Whether KVM has a capability, by number.
pub(crate) fn has(kvm: &Kvm, capability: u64) -> bool {
    kvm.check_extension_raw(capability) > 0
}

/// Fails with a clear message where a capability is missing.
pub(crate) fn require(
    kvm: &Kvm,
    cap: Cap,
    capability: &'static str,
    purpose: &'static str,
) -> Result<(), MachineError> {
    if kvm.check_extension(cap) { Ok(()) } else { Err(MachineError::Missing { capability, purpose }) }
}

/// The KVM engine's name: the loaded module that drives /dev/kvm, or `kvm` where none is named.
pub fn engine_name() -> String {
    ["kvm_intel", "kvm_amd", "kvm_pvm"]
        .into_iter()
        .find(|m| Path::new("/sys/module").join(m).exists() && is_in_use(m))
        .map_or_else(|| "kvm".to_owned(), str::to_owned)
}

/// A vendor module can be loaded without driving the device; the one that does is held by `kvm`'s users or built in.
fn is_in_use(module: &str) -> bool {
    let has_vendor_flag = |flag: &str| {
        fs::read_to_string("/proc/cpuinfo").unwrap_or_default().split_whitespace().any(|w| w == flag)
    };
    match module {
        "kvm_intel" => has_vendor_flag("vmx"),
        "kvm_amd" => has_vendor_flag("svm"),
        _ => true,
    }
}

/// A virtual machine with the settings that every Trapline guest needs.
pub(crate) fn create_vm(kvm: &Kvm) -> Result<kvm_ioctls::VmFd, MachineError> {
    let vm = kvm.create_vm().map_err(refused("KVM_CREATE_VM"))?;
    // Intel's real-mode emulation without unrestricted guest needs three pages; below the firmware at the top of 4 GiB,
    // where QEMU and every other VMM puts them (KVM API 4.27).
    let _ = vm.set_tss_address(0xfffb_d000);
    if has(kvm, CAP_EXIT_ON_EMULATION_FAILURE) {
        let cap = kvm_enable_cap {
            cap: CAP_EXIT_ON_EMULATION_FAILURE as u32,
            args: [1, 0, 0, 0],
            ..Default::default()
        };
        vm.enable_cap(&cap).map_err(refused("KVM_ENABLE_CAP(KVM_CAP_EXIT_ON_EMULATION_FAILURE)"))?;
    }
    Ok(vm)
}
