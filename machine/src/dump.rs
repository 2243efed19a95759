//! A dump of everything that KVM lets one read of a vCPU: raw bytes, for tests that trust no digest.
//!
//! Nothing here is shared with the code that saves, restores and compares states: a mistake there must not hide here.

use crate::error::{MachineError, refused};
use crate::ioctl;
use crate::kvm::{CAP_SREGS2, has};
use crate::machine::Machine;
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, Msrs, kvm_msr_entry};
use kvm_ioctls::{Cap, Kvm, KvmNestedStateBuffer, VcpuFd};
use std::collections::{BTreeMap, BTreeSet};

/// MSRs that are the host's by definition: (index, why).
const HOST_MSRS: [(u32, &str); 3] = [
    (0x10, "IA32_TSC: follows the host's clock"),
    (0x4000_0010, "HV_X64_MSR_VP_RUNTIME: how long the vCPU's thread has run; denied to guests"),
    (0x4000_0020, "HV_X64_MSR_TIME_REF_COUNT: the host's clock; denied to guests"),
];

/// MTRRs and PAT, which KVM's list leaves out on some versions (SDM vol. 4, table 2-2).
fn mtrrs() -> impl Iterator<Item = u32> {
    (0x200..0x210).chain([0xfe, 0x250, 0x258, 0x259, 0x277, 0x2ff]).chain(0x268..0x270)
}

/// What KVM said of a vCPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// Structures of the KVM API: (name, bytes).
    pub structures: Vec<(&'static str, Vec<u8>)>,
    /// MSRs that stood still between two readings.
    pub msrs: BTreeMap<u32, u64>,
    /// MSRs that did not, and those that are the host's.
    pub volatile_msrs: BTreeSet<u32>,
}

impl Dump {
    /// Names what differs, with both values; bytes by their offset in the structure.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let names = |dump: &Self| dump.structures.iter().map(|s| s.0).collect::<Vec<_>>();
        if names(self) != names(other) {
            found.push(format!("structures: {:?} and {:?}", names(self), names(other)));
        }
        for ((name, ours), (_, theirs)) in self.structures.iter().zip(&other.structures) {
            if ours.len() != theirs.len() {
                found.push(format!("{name}: {} and {} bytes", ours.len(), theirs.len()));
            }
            let bytes = ours.iter().zip(theirs).enumerate().filter(|(_, (a, b))| a != b);
            found.extend(bytes.map(|(at, (a, b))| format!("{name} byte {at:#x}: {a:#04x} and {b:#04x}")));
        }
        let indices: BTreeSet<_> = self.msrs.keys().chain(other.msrs.keys()).collect();
        for index in indices {
            let (ours, theirs) = (self.msrs.get(index), other.msrs.get(index));
            let is_volatile = self.volatile_msrs.contains(index) || other.volatile_msrs.contains(index);
            if ours != theirs && !is_volatile {
                found.push(format!("MSR {index:#x}: {ours:x?} and {theirs:x?}"));
            }
        }
        found
    }
}

impl Machine {
    /// Reads everything. Valid where [`Machine::save`] is.
    pub fn dump(&self, kvm: &Kvm) -> Result<Dump, MachineError> {
        let vcpu = self.vcpu();
        let mut structures = vec![
            ("regs", bytes(&vcpu.get_regs().map_err(refused("KVM_GET_REGS"))?)),
            ("sregs", bytes(&vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?)),
            ("fpu", fpu(vcpu)?),
            ("xsave", xsave(vcpu)?),
            ("debugregs", bytes(&vcpu.get_debug_regs().map_err(refused("KVM_GET_DEBUGREGS"))?)),
            ("vcpu_events", events(vcpu)?),
            ("mp_state", bytes(&vcpu.get_mp_state().map_err(refused("KVM_GET_MP_STATE"))?)),
        ];
        let cpuid = vcpu.get_cpuid2(KVM_MAX_CPUID_ENTRIES).map_err(refused("KVM_GET_CPUID2"))?;
        structures.push(("cpuid2", cpuid.as_slice().iter().flat_map(bytes).collect()));
        if has(kvm, CAP_SREGS2) {
            structures.push(("sregs2", bytes(&ioctl::get_sregs2(vcpu)?)));
        }
        if kvm.check_extension(Cap::Xcrs) {
            structures.push(("xcrs", bytes(&vcpu.get_xcrs().map_err(refused("KVM_GET_XCRS"))?)));
        }
        if kvm.check_extension(Cap::NestedState) {
            let mut nested = KvmNestedStateBuffer::empty();
            // Without VMX or SVM in the guest there is no nested state, which some versions call an error.
            if vcpu.nested_state(&mut nested).is_ok() {
                structures.push(("nested_state", bytes(&nested)));
            }
        }
        let (msrs, volatile_msrs) = msrs(kvm, vcpu)?;
        Ok(Dump { structures, msrs, volatile_msrs })
    }
}

/// XSTATE_BV, in words of the XSAVE image (SDM vol. 1, 13.4.2): bit 0 marks x87, bit 1 SSE.
const XSTATE_BV_WORD: usize = 128;
const SSE_BIT: u32 = 2;

/// The FPU as KVM had it before XSAVE. Of a component that is marked as being in its initial configuration, KVM leaves here what was in
/// it before; the processor loads zeros.
fn fpu(vcpu: &VcpuFd) -> Result<Vec<u8>, MachineError> {
    let mut fpu = vcpu.get_fpu().map_err(refused("KVM_GET_FPU"))?;
    let marked = vcpu.get_xsave().map_err(refused("KVM_GET_XSAVE"))?.region[XSTATE_BV_WORD];
    if marked & SSE_BIT == 0 {
        fpu.xmm = Default::default();
    }
    Ok(bytes(&fpu))
}

/// The XSAVE image without XSTATE_BV: whether a component in its initial configuration is marked as such depends on when
/// the host last switched tasks (SDM vol. 1, 13.6). KVM writes the contents of all components, marked or not. Without MXCSR_MASK
/// either: the processor says there what MXCSR may hold, if it saved a component that has to do with it (13.4.1).
fn xsave(vcpu: &VcpuFd) -> Result<Vec<u8>, MachineError> {
    const XSTATE_BV: std::ops::Range<usize> = 512..520;
    const MXCSR_MASK: std::ops::Range<usize> = 28..32;
    let mut image = bytes(&vcpu.get_xsave().map_err(refused("KVM_GET_XSAVE"))?.region);
    image[XSTATE_BV].fill(0);
    image[MXCSR_MASK].fill(0);
    Ok(image)
}

/// The events without the numbers of an interrupt and an exception that are long delivered: KVM leaves them standing, and a vCPU that
/// was restored behind them has none.
fn events(vcpu: &VcpuFd) -> Result<Vec<u8>, MachineError> {
    let mut events = vcpu.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
    if events.interrupt.injected == 0 {
        (events.interrupt.nr, events.interrupt.soft) = (0, 0);
    }
    if events.exception.injected | events.exception.pending == 0 {
        let x = &mut events.exception;
        (x.nr, x.has_error_code, x.error_code) = (0, 0, 0);
    }
    Ok(bytes(&events))
}

/// Every MSR that can be read, read twice: those that stood still, and those that did not.
fn msrs(kvm: &Kvm, vcpu: &VcpuFd) -> Result<(BTreeMap<u32, u64>, BTreeSet<u32>), MachineError> {
    let list = kvm.get_msr_index_list().map_err(refused("KVM_GET_MSR_INDEX_LIST"))?;
    let indices: BTreeSet<u32> = list.as_slice().iter().copied().chain(mtrrs()).collect();
    let all = || indices.iter().filter_map(|&index| Some((index, read(vcpu, index)?)));
    let mut first: BTreeMap<u32, u64> = all().collect();
    let second: BTreeMap<u32, u64> = all().collect();
    let mut volatile: BTreeSet<u32> = HOST_MSRS.into_iter().map(|(index, _)| index).collect();
    volatile.extend(first.iter().filter(|(index, value)| second.get(index) != Some(value)).map(|(i, _)| *i));
    first.retain(|index, _| !volatile.contains(index));
    Ok((first, volatile))
}

fn read(vcpu: &VcpuFd, index: u32) -> Option<u64> {
    let mut msrs = Msrs::from_entries(&[kvm_msr_entry { index, ..Default::default() }]).ok()?;
    (vcpu.get_msrs(&mut msrs).ok()? == 1).then(|| msrs.as_slice()[0].data)
}

/// The bytes of a structure of the KVM API.
fn bytes<T: Copy>(structure: &T) -> Vec<u8> {
    // SAFETY: only called with structures that an ioctl filled in: plain integers in C layout whose padding the KVM API
    // declares as fields, so every byte is initialized.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(structure).cast::<u8>(), size_of::<T>()) }.to_vec()
}
