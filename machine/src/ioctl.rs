//! The KVM requests that kvm-ioctls has no wrapper for.

use crate::error::MachineError;
use kvm_bindings::{KVMIO, kvm_device_attr, kvm_interrupt, kvm_sregs2};
use kvm_ioctls::VcpuFd;
use std::os::fd::AsRawFd;
use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_ref};
use vmm_sys_util::{ioctl_ior_nr, ioctl_iow_nr};

/// `_IO(KVMIO, 0x80)`.
const KVM_RUN_REQUEST: rustix::ioctl::Opcode = rustix::ioctl::opcode::none(KVMIO as u8, 0x80);
ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);
ioctl_ior_nr!(KVM_GET_SREGS2, KVMIO, 0xcc, kvm_sregs2);
ioctl_iow_nr!(KVM_SET_SREGS2, KVMIO, 0xcd, kvm_sregs2);
ioctl_iow_nr!(KVM_SET_DEVICE_ATTR, KVMIO, 0xe1, kvm_device_attr);

/// What a request of the C library came to.
pub(crate) fn check(request: &'static str, result: i32) -> Result<(), MachineError> {
    if result == 0 {
        Ok(())
    } else {
        Err(MachineError::Refused { request, source: std::io::Error::last_os_error() })
    }
}

/// Enters the guest (KVM API 4.10).
///
/// [`VcpuFd::run`] does the same and then describes the exit; here the run page is read where it is, without the
/// detour through the C library, which saves sixty instructions an exit.
#[inline]
pub(crate) fn run(vcpu: &mut VcpuFd) -> rustix::io::Result<()> {
    // SAFETY: KVM_RUN takes no argument, and touches the run page, the memslots and the vCPU, to none of which a reference is
    // held: the caller has `&mut` on the vCPU, and memory is only accessed volatilely.
    let request = unsafe { rustix::ioctl::NoArg::<{ KVM_RUN_REQUEST }>::new() };
    // SAFETY: `vcpu` is a vCPU's file descriptor and lives through the call.
    unsafe { rustix::ioctl::ioctl(rustix::fd::BorrowedFd::borrow_raw(vcpu.as_raw_fd()), request) }
}

/// Queues an external interrupt (KVM API 4.16). Only without an in-kernel interrupt controller.
pub(crate) fn interrupt(vcpu: &VcpuFd, vector: u8) -> Result<(), MachineError> {
    let irq = kvm_interrupt { irq: vector.into() };
    // SAFETY: `vcpu` is a vCPU's file descriptor and KVM_INTERRUPT reads a `kvm_interrupt`, which lives through the call.
    check("KVM_INTERRUPT", unsafe { ioctl_with_ref(vcpu, KVM_INTERRUPT(), &irq) })
}

/// System registers with the PDPTEs (KVM API 4.136).
pub(crate) fn get_sregs2(vcpu: &VcpuFd) -> Result<kvm_sregs2, MachineError> {
    let mut sregs = kvm_sregs2::default();
    // SAFETY: KVM_GET_SREGS2 writes one `kvm_sregs2`, which is exclusively ours.
    check("KVM_GET_SREGS2", unsafe { ioctl_with_mut_ref(vcpu, KVM_GET_SREGS2(), &mut sregs) })?;
    Ok(sregs)
}

/// Sets system registers with the PDPTEs (KVM API 4.137).
pub(crate) fn set_sregs2(vcpu: &VcpuFd, sregs: &kvm_sregs2) -> Result<(), MachineError> {
    // SAFETY: KVM_SET_SREGS2 reads one `kvm_sregs2`, which lives through the call.
    check("KVM_SET_SREGS2", unsafe { ioctl_with_ref(vcpu, KVM_SET_SREGS2(), sregs) })
}

/// Sets the offset of the guest's TSC from the host's (KVM API, devices/vcpu, KVM_VCPU_TSC_OFFSET).
pub(crate) fn set_tsc_offset(vcpu: &VcpuFd, offset: u64) -> Result<(), MachineError> {
    let attribute = kvm_device_attr {
        group: kvm_bindings::KVM_VCPU_TSC_CTRL,
        attr: kvm_bindings::KVM_VCPU_TSC_OFFSET.into(),
        addr: (&raw const offset) as u64,
        ..Default::default()
    };
    // SAFETY: KVM_SET_DEVICE_ATTR reads one `kvm_device_attr`, and through it a u64; both live through the call.
    check("KVM_SET_DEVICE_ATTR(KVM_VCPU_TSC_OFFSET)", unsafe {
        ioctl_with_ref(vcpu, KVM_SET_DEVICE_ATTR(), &attribute)
    })
}
