//! Saving and restoring the complete state of a vCPU.

use crate::cpuid;
use crate::error::{MachineError, refused};
use crate::ioctl;
use crate::msr;
use crate::xsave::{self, Component};
use kvm_bindings::{
    KVM_SREGS2_FLAGS_PDPTRS_VALID, KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_PAYLOAD,
    KVM_VCPUEVENT_VALID_SHADOW, KVM_VCPUEVENT_VALID_SIPI_VECTOR, KVM_VCPUEVENT_VALID_SMM, kvm_debugregs,
    kvm_dtable, kvm_mp_state, kvm_regs, kvm_segment, kvm_sregs, kvm_sregs2, kvm_vcpu_events, kvm_xcr,
    kvm_xcrs,
};
use kvm_ioctls::VcpuFd;
use trapline_formats::{
    CpuState, CpuidEntry, DebugRegisters, PendingEvents, Registers, Segment, SystemRegisters,
};

/// What this vCPU has besides the registers that every x86 has; found once, when it is made.
#[derive(Debug, Clone)]
pub(crate) struct StateLayout {
    /// KVM_GET_SREGS2 works.
    pub(crate) sregs2: bool,
    /// XCRs can be read.
    pub(crate) xcrs: bool,
    /// MSRs that belong to the state.
    pub(crate) msrs: Vec<u32>,
    /// Of these, those that KVM takes the lower half of.
    narrow: Vec<u32>,
    /// XSAVE components, where the guest's CPUID table says that they lie.
    pub(crate) components: Vec<Component>,
    /// XSAVE components, where this processor has them.
    pub(crate) here: Vec<Component>,
}

impl StateLayout {
    pub(crate) fn of(
        vcpu: &VcpuFd,
        sregs2: bool,
        xcrs: bool,
        table: &[CpuidEntry],
        msrs: &[trapline_formats::MsrRange],
        here: Vec<Component>,
    ) -> Self {
        let msrs = msr::of_state(vcpu, msrs);
        Self {
            sregs2,
            xcrs: xcrs && vcpu.get_xcrs().is_ok_and(|x| x.nr_xcrs > 0),
            narrow: SYSENTER.into_iter().filter(|i| msrs.contains(i) && is_narrow(vcpu, *i)).collect(),
            msrs,
            components: cpuid::xsave_components(table),
            here,
        }
    }
}

/// IA32_SYSENTER_ESP and IA32_SYSENTER_EIP (SDM vol. 4). KVM on AMD lets a guest write all of them, and takes the lower half alone
/// from us (`svm_set_msr`): SYSENTER is not there in long mode (APM vol. 3), so that nothing but RDMSR sees the upper half.
const SYSENTER: [u32; 2] = [0x175, 0x176];

/// Whether KVM drops the upper half of what an MSR is set to. The vCPU is new: the MSR holds zero.
fn is_narrow(vcpu: &VcpuFd, index: u32) -> bool {
    const HIGH: u64 = 0xffff_8000_0000_0000;
    let kept = msr::set(vcpu, &[(index, HIGH)]).and_then(|()| msr::get(vcpu, &[index]));
    // What was set a moment ago can be set to zero; a state is restored over it anyway.
    let _ = msr::set(vcpu, &[(index, 0)]);
    kept.is_ok_and(|kept| kept.first().is_some_and(|(_, value)| *value != HIGH))
}

/// The debug registers.
pub(crate) fn debug(vcpu: &VcpuFd) -> Result<DebugRegisters, MachineError> {
    let debug = vcpu.get_debug_regs().map_err(refused("KVM_GET_DEBUGREGS"))?;
    Ok(DebugRegisters { addresses: debug.db, dr6: debug.dr6, dr7: debug.dr7 })
}

/// Saves the complete state. The vCPU must have no unfinished I/O.
pub(crate) fn save(vcpu: &VcpuFd, layout: &StateLayout) -> Result<CpuState, MachineError> {
    let xsave = vcpu.get_xsave().map_err(refused("KVM_GET_XSAVE"))?;
    let mut msrs = msr::get(vcpu, &layout.msrs)?;
    msrs.sort_unstable();
    for (_, value) in msrs.iter_mut().filter(|(index, _)| layout.narrow.contains(index)) {
        *value &= 0xffff_ffff;
    }
    Ok(CpuState {
        registers: *as_registers(&vcpu.get_regs().map_err(refused("KVM_GET_REGS"))?),
        system: system(vcpu, layout)?,
        msrs,
        xsave: xsave::moved(
            &xsave::canonical(&xsave.region, &layout.here),
            &layout.here,
            &layout.components,
        )?,
        xcr0: if layout.xcrs { xcr0(&vcpu.get_xcrs().map_err(refused("KVM_GET_XCRS"))?) } else { 1 },
        events: from_events(&vcpu.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?),
        debug: debug(vcpu)?,
        mp_state: vcpu.get_mp_state().map_err(refused("KVM_GET_MP_STATE"))?.mp_state,
    })
}

/// Restores a complete state. The order matters: CPUID (set before) decides which CR4 and MSR bits exist; SET_REGS drops
/// pending exceptions, so events come last.
pub(crate) fn restore(vcpu: &mut VcpuFd, layout: &StateLayout, state: &CpuState) -> Result<(), MachineError> {
    set_system(vcpu, layout, &state.system)?;
    // An MSR that this KVM has not is left out: an access of the guest is an exit here, and the recording has none.
    let msrs: Vec<_> = state.msrs.iter().copied().filter(|(index, _)| layout.msrs.contains(index)).collect();
    msr::set(vcpu, &msrs)?;
    vcpu.set_regs(&to_regs(&state.registers)).map_err(refused("KVM_SET_REGS"))?;
    if layout.xcrs {
        let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
        xcrs.xcrs[0] = kvm_xcr { xcr: 0, reserved: 0, value: state.xcr0 };
        vcpu.set_xcrs(&xcrs).map_err(|e| {
            xsave::missing(state.xcr0, &layout.here).unwrap_or_else(|| refused("KVM_SET_XCRS")(e))
        })?;
    }
    let image = xsave::moved(&state.xsave, &layout.components, &layout.here)?;
    let xsave = kvm_bindings::kvm_xsave { region: xsave::to_words(&image)?, ..Default::default() };
    // SAFETY: KVM_SET_XSAVE reads 4096 bytes, the size of `kvm_xsave`; more only where AMX was permitted to this process,
    // which nothing here asks for.
    unsafe { vcpu.set_xsave(&xsave) }.map_err(|e| {
        xsave::missing(xsave::present(&image), &layout.here).unwrap_or_else(|| refused("KVM_SET_XSAVE")(e))
    })?;
    let debug = kvm_debugregs {
        db: state.debug.addresses,
        dr6: state.debug.dr6,
        dr7: state.debug.dr7,
        ..Default::default()
    };
    vcpu.set_debug_regs(&debug).map_err(refused("KVM_SET_DEBUGREGS"))?;
    vcpu.set_mp_state(kvm_mp_state { mp_state: state.mp_state }).map_err(refused("KVM_SET_MP_STATE"))?;
    vcpu.set_vcpu_events(&to_events(&state.events)).map_err(refused("KVM_SET_VCPU_EVENTS"))?;
    vcpu.get_kvm_run().cr8 = state.system.control[4];
    Ok(())
}

/// System registers as they are now.
pub(crate) fn system(vcpu: &VcpuFd, layout: &StateLayout) -> Result<SystemRegisters, MachineError> {
    if layout.sregs2 {
        let s = ioctl::get_sregs2(vcpu)?;
        let plain = kvm_sregs {
            cs: s.cs,
            ds: s.ds,
            es: s.es,
            fs: s.fs,
            gs: s.gs,
            ss: s.ss,
            tr: s.tr,
            ldt: s.ldt,
            gdt: s.gdt,
            idt: s.idt,
            cr0: s.cr0,
            cr2: s.cr2,
            cr3: s.cr3,
            cr4: s.cr4,
            cr8: s.cr8,
            efer: s.efer,
            apic_base: s.apic_base,
            ..Default::default()
        };
        let pdptrs = (s.flags & u64::from(KVM_SREGS2_FLAGS_PDPTRS_VALID) != 0).then_some(s.pdptrs);
        return Ok(SystemRegisters { pdptrs, ..from_sregs(&plain) });
    }
    Ok(from_sregs(&vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?))
}

/// Sets system registers.
pub(crate) fn set_system(
    vcpu: &VcpuFd,
    layout: &StateLayout,
    system: &SystemRegisters,
) -> Result<(), MachineError> {
    let plain = to_sregs(system);
    match system.pdptrs {
        Some(pdptrs) if layout.sregs2 => ioctl::set_sregs2(
            vcpu,
            &kvm_sregs2 {
                cs: plain.cs,
                ds: plain.ds,
                es: plain.es,
                fs: plain.fs,
                gs: plain.gs,
                ss: plain.ss,
                tr: plain.tr,
                ldt: plain.ldt,
                gdt: plain.gdt,
                idt: plain.idt,
                cr0: plain.cr0,
                cr2: plain.cr2,
                cr3: plain.cr3,
                cr4: plain.cr4,
                cr8: plain.cr8,
                efer: plain.efer,
                apic_base: plain.apic_base,
                flags: KVM_SREGS2_FLAGS_PDPTRS_VALID.into(),
                pdptrs,
            },
        ),
        Some(_) => {
            Err(MachineError::Restore("it holds PDPTE registers, and this KVM lacks KVM_CAP_SREGS2".into()))
        }
        None => vcpu.set_sregs(&plain).map_err(refused("KVM_SET_SREGS")),
    }
}

/// The same registers, where KVM put them.
#[inline]
pub(crate) fn as_registers(regs: &kvm_regs) -> &Registers {
    const _: () = assert!(
        size_of::<Registers>() == size_of::<kvm_regs>() && align_of::<Registers>() == align_of::<kvm_regs>()
    );
    const _: () = assert!(std::mem::offset_of!(Registers, rip) == std::mem::offset_of!(kvm_regs, rip));
    // SAFETY: both are `repr(C)` structs of eighteen u64 in the same order (checked above as far as it can be, and by
    // `registers_are_laid_out_as_kvm_lays_them_out`), for which all bytes are valid.
    unsafe { &*std::ptr::from_ref(regs).cast::<Registers>() }
}

pub(crate) fn to_regs(r: &Registers) -> kvm_regs {
    let [rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15] = r.general;
    let (rip, rflags) = (r.rip, r.rflags);
    kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags }
}

fn from_segment(s: &kvm_segment) -> Segment {
    let bits =
        [(s.s, 4), (s.dpl, 5), (s.present, 7), (s.avl, 8), (s.l, 9), (s.db, 10), (s.g, 11), (s.unusable, 12)];
    let rights = bits.iter().fold(u16::from(s.type_), |all, (value, shift)| all | u16::from(*value) << shift);
    Segment { base: s.base, limit: s.limit, selector: s.selector, rights }
}

fn to_segment(s: &Segment) -> kvm_segment {
    let field = |shift: u32, bits: u32| (s.rights >> shift & ((1 << bits) - 1)) as u8;
    kvm_segment {
        base: s.base,
        limit: s.limit,
        selector: s.selector,
        type_: field(0, 4),
        s: field(4, 1),
        dpl: field(5, 2),
        present: field(7, 1),
        avl: field(8, 1),
        l: field(9, 1),
        db: field(10, 1),
        g: field(11, 1),
        unusable: field(12, 1),
        padding: 0,
    }
}

/// EFER.LMA (SDM vol. 3, 2.2.1).
const EFER_LMA: u64 = 1 << 10;
/// Types of a busy TSS of 16 bits, and of 64 (SDM vol. 3, tables 3-2 and 8-1).
const BUSY_TSS_16: u8 = 3;
const BUSY_TSS_64: u8 = 11;

/// The type of the task register. A guest that entered long mode without loading it keeps the 16-bit TSS of reset on AMD; Intel
/// does not enter such a guest, and KVM turns it into one of 64 bits there (SDM vol. 3, 27.3.1.2; `enter_lmode` in KVM). It is the
/// same to the guest, which has no way to see the type: the latter in every state that is saved or restored.
fn task_register_type(efer: u64, type_: u8) -> u8 {
    if efer & EFER_LMA != 0 && type_ == BUSY_TSS_16 { BUSY_TSS_64 } else { type_ }
}

fn from_sregs(s: &kvm_sregs) -> SystemRegisters {
    let tr = kvm_segment { type_: task_register_type(s.efer, s.tr.type_), ..s.tr };
    SystemRegisters {
        segments: [&s.cs, &s.ds, &s.es, &s.fs, &s.gs, &s.ss, &tr, &s.ldt].map(from_segment),
        gdt: (s.gdt.base, s.gdt.limit),
        idt: (s.idt.base, s.idt.limit),
        control: [s.cr0, s.cr2, s.cr3, s.cr4, s.cr8],
        efer: s.efer,
        apic_base: s.apic_base,
        pdptrs: None,
    }
}

fn to_sregs(s: &SystemRegisters) -> kvm_sregs {
    let [cs, ds, es, fs, gs, ss, mut tr, ldt] = s.segments.each_ref().map(to_segment);
    tr.type_ = task_register_type(s.efer, tr.type_);
    let [cr0, cr2, cr3, cr4, cr8] = s.control;
    let table = |(base, limit)| kvm_dtable { base, limit, ..Default::default() };
    kvm_sregs {
        cs,
        ds,
        es,
        fs,
        gs,
        ss,
        tr,
        ldt,
        gdt: table(s.gdt),
        idt: table(s.idt),
        cr0,
        cr2,
        cr3,
        cr4,
        cr8,
        efer: s.efer,
        apic_base: s.apic_base,
        ..Default::default()
    }
}

pub(crate) fn xcr0(xcrs: &kvm_xcrs) -> u64 {
    xcrs.xcrs.iter().take(xcrs.nr_xcrs as usize).find(|x| x.xcr == 0).map_or(1, |x| x.value)
}

fn from_events(e: &kvm_vcpu_events) -> PendingEvents {
    let x = &e.exception;
    PendingEvents {
        exception: (
            x.pending != 0,
            x.injected != 0,
            // Number and error code mean something only while an exception is in flight; KVM leaves old ones standing.
            if x.pending | x.injected != 0 { x.nr } else { 0 },
            (x.pending | x.injected != 0 && x.has_error_code != 0).then_some(x.error_code),
            (e.exception_has_payload != 0).then_some(e.exception_payload),
        ),
        interrupt: match e.interrupt.injected {
            0 => (false, 0, false),
            _ => (true, e.interrupt.nr, e.interrupt.soft != 0),
        },
        shadow: e.interrupt.shadow,
        nmi: (e.nmi.injected != 0, e.nmi.pending != 0, e.nmi.masked != 0),
        smm: (e.smi.smm != 0, e.smi.pending != 0, e.smi.smm_inside_nmi != 0, e.smi.latched_init != 0),
        sipi_vector: e.sipi_vector,
        triple_fault: e.triple_fault.pending != 0,
    }
}

fn to_events(e: &PendingEvents) -> kvm_vcpu_events {
    let (pending, injected, nr, error_code, payload) = e.exception;
    let mut raw = kvm_vcpu_events {
        sipi_vector: e.sipi_vector,
        flags: KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
        ..Default::default()
    };
    if e.sipi_vector != 0 {
        raw.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
    }
    if e.smm != (false, false, false, false) {
        raw.flags |= KVM_VCPUEVENT_VALID_SMM;
    }
    if payload.is_some() {
        raw.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
    }
    raw.exception.pending = pending.into();
    // Without KVM_CAP_EXCEPTION_PAYLOAD, `injected` stands for "in flight", pending ones included (KVM API 4.31).
    raw.exception.injected = (injected || pending).into();
    raw.exception.nr = nr;
    raw.exception.has_error_code = error_code.is_some().into();
    raw.exception.error_code = error_code.unwrap_or(0);
    raw.exception_has_payload = payload.is_some().into();
    raw.exception_payload = payload.unwrap_or(0);
    let (injected, nr, soft) = e.interrupt;
    raw.interrupt.injected = injected.into();
    raw.interrupt.nr = nr;
    raw.interrupt.soft = soft.into();
    raw.interrupt.shadow = e.shadow;
    let (injected, pending, masked) = e.nmi;
    raw.nmi.injected = injected.into();
    raw.nmi.pending = pending.into();
    raw.nmi.masked = masked.into();
    let (smm, pending, inside_nmi, latched_init) = e.smm;
    raw.smi.smm = smm.into();
    raw.smi.pending = pending.into();
    raw.smi.smm_inside_nmi = inside_nmi.into();
    raw.smi.latched_init = latched_init.into();
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_register_of_reset_is_one_of_64_bits_in_long_mode_alone() {
        for (efer, expected) in [(EFER_LMA, BUSY_TSS_64), (0, BUSY_TSS_16)] {
            let mut sregs = kvm_sregs { efer, ..Default::default() };
            sregs.tr.type_ = BUSY_TSS_16;
            let saved = from_sregs(&sregs);
            assert_eq!(saved.segments[6].rights, u16::from(expected));
            let mut old = saved;
            old.segments[6].rights = BUSY_TSS_16.into();
            assert_eq!(to_sregs(&old).tr.type_, expected);
        }
    }

    #[test]
    fn registers_are_laid_out_as_kvm_lays_them_out() {
        let registers = Registers { general: std::array::from_fn(|i| i as u64), rip: 100, rflags: 200 };
        let raw = to_regs(&registers);
        assert_eq!((raw.rax, raw.rbx, raw.rsp, raw.r15, raw.rip, raw.rflags), (0, 1, 6, 15, 100, 200));
        assert_eq!(*as_registers(&raw), registers);
    }
}
