//! /dev/kvm: opening it, or saying why not.

use crate::error::{MachineError, refused};
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
    let kvm = Kvm::new().map_err(|e| MachineError::Unusable(explain(e.errno())))?;
    let version = kvm.get_api_version();
    // KVM API 4.1: 12 is the only version ever; others mean something that is not KVM.
    if version != 12 {
        return Err(MachineError::Unusable(format!("/dev/kvm speaks API version {version}, not 12")));
    }
    Ok(kvm)
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

fn explain(errno: i32) -> String {
    let what = std::io::Error::from_raw_os_error(errno);
    let hint = match errno {
        libc::ENOENT => no_device_hint(),
        libc::EACCES | libc::EPERM => "your user may not open it. Join its group, usually `sudo usermod -aG kvm $USER`, \
             and log in again; in a container, pass the device in (`--device /dev/kvm`)"
            .to_owned(),
        libc::ENODEV | libc::ENXIO => "the device node exists but no KVM module drives it: `sudo modprobe kvm_intel` or \
             `sudo modprobe kvm_amd`, and look at `dmesg | grep -i kvm` (virtualization may be off in the firmware)"
            .to_owned(),
        libc::EBUSY => "another hypervisor holds the processor's virtualization: stop it (VirtualBox, for one)".to_owned(),
        _ => "try `trapline doctor` as root".to_owned(),
    };
    format!("cannot open /dev/kvm: {what}. What to try: {hint}")
}

fn no_device_hint() -> String {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let virtualization = flags.split_whitespace().any(|w| w == "vmx" || w == "svm");
    let container = Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists();
    if container {
        "this looks like a container: pass the device in (`docker run --device /dev/kvm ...`)".to_owned()
    } else if virtualization {
        "load the module: `sudo modprobe kvm_intel` or `sudo modprobe kvm_amd`".to_owned()
    } else {
        "this processor shows no virtualization (neither vmx nor svm in /proc/cpuinfo): switch it on in the firmware, \
         or, in a virtual machine, ask for nested virtualization"
            .to_owned()
    }
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
    Ok(vm)
}
