//! Which MSRs KVM may answer itself (guest state alone decides the answer) and which come to us.

use crate::error::{MachineError, refused};
use crate::kvm::CAP_USER_SPACE_MSR;
use kvm_bindings::{
    KVM_MSR_EXIT_REASON_FILTER, KVM_MSR_EXIT_REASON_INVAL, KVM_MSR_EXIT_REASON_UNKNOWN, Msrs,
};
use kvm_bindings::{kvm_enable_cap, kvm_msr_entry};
use kvm_ioctls::{MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VcpuFd, VmFd};
use trapline_formats::MsrRange;

const fn one(index: u32) -> MsrRange {
    MsrRange { start: index, end: index + 1 }
}

/// MSRs that are guest state: written by the guest, read back by the guest, nothing else moves them (SDM vol. 4).
/// KVM answers them; all others exit.
pub const ALLOWED: &[MsrRange] = &[
    one(0x1b),                                         // APIC_BASE
    one(0xfe),                                         // MTRRCAP
    MsrRange { start: 0x174, end: 0x177 },             // SYSENTER_CS, ESP, EIP
    MsrRange { start: 0x200, end: 0x210 },             // variable MTRRs
    one(0x250),                                        // fixed MTRR 64K
    MsrRange { start: 0x258, end: 0x25a },             // fixed MTRR 16K
    MsrRange { start: 0x268, end: 0x270 },             // fixed MTRR 4K
    one(0x277),                                        // PAT
    one(0x2ff),                                        // MTRR default type
    MsrRange { start: 0xc000_0080, end: 0xc000_0085 }, // EFER, STAR, LSTAR, CSTAR, FMASK
    MsrRange { start: 0xc000_0100, end: 0xc000_0104 }, // FS_BASE, GS_BASE, KERNEL_GS_BASE, TSC_AUX
];

/// Has accesses that KVM does not know, refuses or is told to filter come to us.
pub(crate) fn report(vm: &VmFd) -> Result<(), MachineError> {
    let reasons = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;
    let cap = kvm_enable_cap {
        cap: CAP_USER_SPACE_MSR as u32,
        args: [reasons.into(), 0, 0, 0],
        ..Default::default()
    };
    vm.enable_cap(&cap).map_err(refused("KVM_ENABLE_CAP(KVM_CAP_X86_USER_SPACE_MSR)"))
}

/// Lets KVM answer `allowed` and hands every other MSR access to us.
pub(crate) fn filter(vm: &VmFd, allowed: &[MsrRange]) -> Result<(), MachineError> {
    report(vm)?;
    // A filter has at most 16 ranges; a bitmap may span what lies between two of ours, with zeros for "deny".
    let bitmaps: Vec<_> = groups(allowed);
    let ranges: Vec<_> = bitmaps
        .iter()
        .map(|(base, count, bitmap)| MsrFilterRange {
            flags: MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE,
            base: *base,
            msr_count: *count,
            bitmap,
        })
        .collect();
    vm.set_msr_filter(MsrFilterDefaultAction::DENY, &ranges).map_err(refused("KVM_X86_SET_MSR_FILTER"))
}

/// Merges ranges less than 0x800 apart into bitmaps: (first index, number of MSRs, bits).
fn groups(allowed: &[MsrRange]) -> Vec<(u32, u32, Vec<u8>)> {
    let mut sorted = allowed.to_vec();
    sorted.sort_by_key(|r| r.start);
    let mut groups: Vec<Vec<MsrRange>> = Vec::new();
    for range in sorted {
        match groups.last_mut() {
            Some(group) if range.start - group[0].start < 0x800 => group.push(range),
            _ => groups.push(vec![range]),
        }
    }
    groups.into_iter().map(|g| bitmap(&g)).collect()
}

fn bitmap(group: &[MsrRange]) -> (u32, u32, Vec<u8>) {
    let base = group[0].start;
    let end = group.iter().map(|r| r.end).max().unwrap_or(base);
    // The kernel copies whole longs (KVM API 4.97).
    let mut bits = vec![0u8; (end - base).div_ceil(64) as usize * 8];
    for index in group.iter().flat_map(|r| r.start..r.end) {
        let bit = (index - base) as usize;
        bits[bit / 8] |= 1 << (bit % 8);
    }
    (base, end - base, bits)
}

/// The MSRs that this vCPU has and that belong to its state: those allowed that can be read.
pub(crate) fn of_state(vcpu: &VcpuFd, allowed: &[MsrRange]) -> Vec<u32> {
    // In sregs already, and read-only.
    const ELSEWHERE: [u32; 3] = [0x1b, 0xfe, 0xc000_0080];
    allowed
        .iter()
        .flat_map(|r| r.start..r.end)
        .filter(|i| !ELSEWHERE.contains(i))
        .filter(|&i| get(vcpu, &[i]).is_ok_and(|found| !found.is_empty()))
        .collect()
}

/// IA32_TIME_STAMP_COUNTER (SDM vol. 4).
pub(crate) const IA32_TSC: u32 = 0x10;

/// The guest's time stamp counter.
pub(crate) fn tsc(vcpu: &VcpuFd) -> Result<u64, MachineError> {
    Ok(get(vcpu, &[IA32_TSC])?.first().map_or(0, |(_, value)| *value))
}

/// Reads MSRs; stops at the first that KVM does not have.
pub(crate) fn get(vcpu: &VcpuFd, indices: &[u32]) -> Result<Vec<(u32, u64)>, MachineError> {
    let entries: Vec<_> =
        indices.iter().map(|&index| kvm_msr_entry { index, ..Default::default() }).collect();
    let mut msrs = Msrs::from_entries(&entries).map_err(|_| too_many())?;
    let count = vcpu.get_msrs(&mut msrs).map_err(refused("KVM_GET_MSRS"))?;
    Ok(msrs.as_slice()[..count].iter().map(|m| (m.index, m.data)).collect())
}

/// Writes MSRs; an MSR that KVM refuses is an error that names it.
pub(crate) fn set(vcpu: &VcpuFd, values: &[(u32, u64)]) -> Result<(), MachineError> {
    let entries: Vec<_> =
        values.iter().map(|&(index, data)| kvm_msr_entry { index, data, ..Default::default() }).collect();
    let msrs = Msrs::from_entries(&entries).map_err(|_| too_many())?;
    let count = vcpu.set_msrs(&msrs).map_err(refused("KVM_SET_MSRS"))?;
    match values.get(count) {
        None => Ok(()),
        Some((index, value)) => {
            Err(MachineError::Restore(format!("this KVM does not take MSR {index:#x} = {value:#x}")))
        }
    }
}

fn too_many() -> MachineError {
    MachineError::Restore("more MSRs than KVM takes at once".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_allows_exactly_the_allowed() {
        let groups = groups(ALLOWED);
        assert!(groups.len() <= 16);
        let is_allowed = |i: u32| ALLOWED.iter().any(|r| (r.start..r.end).contains(&i));
        for (base, count, bits) in &groups {
            for i in 0..*count {
                assert_eq!(bits[i as usize / 8] >> (i % 8) & 1 == 1, is_allowed(base + i), "{:#x}", base + i);
            }
        }
    }
}
