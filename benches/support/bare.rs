//! The baseline: a bare KVM_RUN loop that serves port reads and does nothing else.

use kvm_bindings::{KVM_EXIT_IO, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::os::fd::AsRawFd;
use trapline_recorder::Guest;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// `_IO(KVMIO, 0x80)`.
const KVM_RUN: libc::Ioctl = 0xae80;

/// A vCPU in 64-bit mode at a flat image.
pub struct Bare {
    vcpu: VcpuFd,
    _vm: VmFd,
    _memory: GuestMemoryMmap,
}

impl Bare {
    /// Gives a 64-bit flat guest to a new vCPU.
    pub fn new(kvm: &Kvm, guest: &Guest) -> Self {
        let vm = kvm.create_vm().unwrap();
        vm.set_tss_address(0xfffb_d000).unwrap();
        let bytes = guest.ram_bytes as usize;
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), bytes)]).unwrap();
        for (gpa, content) in &guest.contents {
            memory.write_slice(content, GuestAddress(gpa.0)).unwrap();
        }
        let slot = kvm_userspace_memory_region {
            memory_size: bytes as u64,
            userspace_addr: memory.get_host_address(GuestAddress(0)).unwrap() as u64,
            ..Default::default()
        };
        // SAFETY: the mapping is `bytes` long and lives as long as the VM: both are in `Self`, the VM first.
        unsafe { vm.set_user_memory_region(slot) }.unwrap();
        let vcpu = vm.create_vcpu(0).unwrap();
        vcpu.set_cpuid2(&kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES).unwrap()).unwrap();
        enter_64_bit_mode(&vcpu);
        Self { vcpu, _vm: vm, _memory: memory }
    }

    /// Serves so many port reads.
    pub fn run(&mut self, exits: u64) {
        let fd = self.vcpu.as_raw_fd();
        let run: *mut kvm_bindings::kvm_run = self.vcpu.get_kvm_run();
        for _ in 0..exits {
            // SAFETY: `fd` is a vCPU's, KVM_RUN takes no argument, and no reference to the run page is held. On KVM_EXIT_IO
            // `io` is the valid member of the union, and the byte read lies at `data_offset` in the vCPU's mapping.
            unsafe {
                assert!(libc::ioctl(fd, KVM_RUN, 0) == 0 && (*run).exit_reason == KVM_EXIT_IO);
                *run.cast::<u8>().add((*run).__bindgen_anon_1.io.data_offset as usize) = 0xe9;
            }
        }
    }
}

/// As the recorder enters flat images: see `trapline_recorder::guest::flat`.
fn enter_64_bit_mode(vcpu: &VcpuFd) {
    let mut sregs = vcpu.get_sregs().unwrap();
    (sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer) = (0x8000_0013, 0x1000, 0x620, 0x500);
    let segment = kvm_segment { limit: u32::MAX, present: 1, s: 1, g: 1, ..Default::default() };
    sregs.cs = kvm_segment { selector: 0x08, type_: 11, l: 1, ..segment };
    sregs.ds = kvm_segment { selector: 0x10, type_: 3, db: 1, ..segment };
    (sregs.es, sregs.fs, sregs.gs, sregs.ss) = (sregs.ds, sregs.ds, sregs.ds, sregs.ds);
    vcpu.set_sregs(&sregs).unwrap();
    let mut regs = vcpu.get_regs().unwrap();
    (regs.rip, regs.rsp, regs.rflags) = (0x8000, 0x8000, 2);
    vcpu.set_regs(&regs).unwrap();
}
