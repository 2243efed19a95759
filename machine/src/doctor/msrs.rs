//! Which MSR accesses come to us.

use super::guest::{Guest, with_end};
use super::lab::{Lab, Msrs, Setup};
use super::probe::{Answer, Answered, Probe};
use super::stop::Stop;
use super::tables::Mode;
use crate::error::MachineError;
use kvm_bindings::{KVM_MSR_EXIT_REASON_FILTER, KVM_MSR_EXIT_REASON_INVAL, KVM_MSR_EXIT_REASON_UNKNOWN};
use kvm_ioctls::Kvm;

pub(super) const PROBES: &[Probe] = &[
    Probe("msr-filter-read", "RDMSR of a filtered MSR", |lab| filtered(lab, Access::Read, SYSENTER_CS)),
    Probe("msr-filter-write", "WRMSR of a filtered MSR", |lab| filtered(lab, Access::Write, SYSENTER_CS)),
    Probe("msr-fault", "Answering with a fault", fault),
    Probe("msr-tsc-read", "RDMSR of the TSC, filtered", |lab| filtered(lab, Access::Read, TSC)),
    Probe("msr-tsc-write", "WRMSR of the TSC, filtered", |lab| filtered(lab, Access::Write, TSC)),
    Probe("msr-deadline", "WRMSR TSC_DEADLINE, filtered", |lab| filtered(lab, Access::Write, TSC_DEADLINE)),
    Probe("msr-deadline-unfiltered", "WRMSR TSC_DEADLINE, not filtered", |lab| {
        plain(lab, Access::Write, TSC_DEADLINE)
    }),
    Probe("msr-x2apic-read", "RDMSR of an x2APIC MSR", |lab| filtered(lab, Access::Read, X2APIC_VERSION)),
    Probe("msr-x2apic-write", "WRMSR of an x2APIC MSR", |lab| filtered(lab, Access::Write, X2APIC_TPR)),
    Probe("x2apic", "x2APIC mode, both directions", x2apic),
    Probe("msr-unknown", "RDMSR of an MSR that does not exist, filtered", |lab| {
        filtered(lab, Access::Read, NO_SUCH)
    }),
    Probe("msr-unknown-unfiltered", "The same, not filtered", |lab| plain(lab, Access::Read, NO_SUCH)),
];

const SYSENTER_CS: u32 = 0x174;
const TSC: u32 = 0x10;
const TSC_DEADLINE: u32 = 0x6e0;
const X2APIC_VERSION: u32 = 0x803;
const X2APIC_TPR: u32 = 0x808;
const NO_SUCH: u32 = 0x1_2345;
const TSC_DEADLINE_BIT: u32 = 1 << 24;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn guest(lab: &Lab<'_>, msrs: Msrs, access: Access, index: u32) -> Result<Guest, MachineError> {
    let mut table = lab.cpuid.clone();
    // KVM_GET_SUPPORTED_CPUID leaves the bit out, a capability speaks for it; without it KVM may refuse the MSR.
    table.as_mut_slice().iter_mut().filter(|e| e.function == 1).for_each(|e| e.ecx |= TSC_DEADLINE_BIT);
    let setup = Setup { cpuid: Some(table), msrs };
    let code: &[u8] = if access == Access::Read { &[0x0f, 0x32] } else { &[0x0f, 0x30] }; // rdmsr, wrmsr
    let mut guest = lab.build(&setup, Mode::Long, &with_end(Mode::Long, code))?;
    guest.start(|r| (r.rax, r.rcx) = (1, index.into()))?;
    Ok(guest)
}

/// Only what recording allows; see [`msr::ALLOWED`](crate::MSRS_ALLOWED). SYSENTER_CS, the example, is left out too.
fn as_recorded() -> Msrs {
    let mut allowed = crate::MSRS_ALLOWED.to_vec();
    allowed.retain(|r| !(r.start..r.end).contains(&SYSENTER_CS));
    Msrs::Only(allowed)
}

fn reason_name(reason: u32) -> String {
    match reason {
        KVM_MSR_EXIT_REASON_FILTER => "filter".to_owned(),
        KVM_MSR_EXIT_REASON_INVAL => "invalid".to_owned(),
        KVM_MSR_EXIT_REASON_UNKNOWN => "unknown".to_owned(),
        other => format!("{other:#x}"),
    }
}

fn filtered(lab: &Lab<'_>, access: Access, index: u32) -> Answered {
    let mut guest = guest(lab, as_recorded(), access, index)?;
    let stop = guest.run();
    Ok(match stop {
        Stop::MsrRead(i, reason) | Stop::MsrWrite(i, reason) if i == index => {
            Answer::good(format!("exits, reason {}", reason_name(reason)))
        }
        Stop::Vector(13) => Answer::good("#GP in the guest").meaning("Nothing of the host gets in."),
        stop if guest.is_end(stop) && access == Access::Write => Answer::limits(
            "swallowed without an exit",
            "A write that nobody sees: the CPUID bit of the feature stays hidden, so that guests do not try.",
        ),
        stop if guest.is_end(stop) => Answer::limits(
            "KVM answers it",
            "A value of the host that recording does not see: the CPUID bit of the feature stays hidden.",
        ),
        stop => Answer::limits(stop.to_string(), "Unexpected: MSR accesses cannot be recorded here."),
    })
}

fn plain(lab: &Lab<'_>, access: Access, index: u32) -> Answered {
    let mut guest = guest(lab, Msrs::KvmFirst, access, index)?;
    let stop = guest.run();
    Ok(Answer::info(match stop {
        Stop::MsrRead(_, reason) | Stop::MsrWrite(_, reason) => {
            format!("exits, reason {}", reason_name(reason))
        }
        stop if guest.is_end(stop) && access == Access::Write => "swallowed without an exit".to_owned(),
        stop if guest.is_end(stop) => format!("KVM answers it: {:#x}", guest.regs()?.rax),
        stop => stop.to_string(),
    }))
}

/// Enters x2APIC mode, reads the version, writes the task priority.
const X2APIC_CODE: &[u8] = &[
    0xb9, 0x1b, 0x00, 0x00, 0x00, // mov ecx, IA32_APIC_BASE
    0x0f, 0x32, // rdmsr
    0x0d, 0x00, 0x0c, 0x00, 0x00, // or eax, enabled and in x2APIC mode
    0x0f, 0x30, // wrmsr
    0xb9, 0x03, 0x08, 0x00, 0x00, // mov ecx, X2APIC_VERSION
    0x0f, 0x32, // rdmsr
    0xb9, 0x08, 0x08, 0x00, 0x00, // mov ecx, X2APIC_TPR
    0x0f, 0x30, // wrmsr
];

/// `None` if all went as it has to; otherwise where it did not.
fn x2apic_trouble(lab: &Lab<'_>) -> Result<Option<Stop>, MachineError> {
    let setup = Setup { cpuid: None, msrs: as_recorded() };
    let mut guest = lab.build(&setup, Mode::Long, &with_end(Mode::Long, X2APIC_CODE))?;
    guest.start(|_| {})?;
    let read = guest.run();
    if !matches!(read, Stop::MsrRead(X2APIC_VERSION, _)) {
        return Ok(Some(read));
    }
    guest.page.answer_msr(0, false);
    let write = guest.run();
    if !matches!(write, Stop::MsrWrite(X2APIC_TPR, _)) {
        return Ok(Some(write));
    }
    guest.page.answer_msr(0, false);
    let end = guest.run();
    Ok((!guest.is_end(end)).then_some(end))
}

fn x2apic(lab: &Lab<'_>) -> Answered {
    Ok(match x2apic_trouble(lab)? {
        None => Answer::good("its MSRs exit").meaning("Guests are offered x2APIC."),
        Some(stop) => Answer::limits(stop.to_string(), "Guests are not offered x2APIC."),
    })
}

/// Whether a guest that has x2APIC in its CPUID can enter that mode, and reads and writes of its MSRs, which no filter can
/// hold, come to us. Only then may guests be offered it. Takes a few milliseconds.
pub fn x2apic_exits(kvm: &Kvm) -> Result<bool, MachineError> {
    Ok(x2apic_trouble(&Lab::new(kvm)?)?.is_none())
}

fn fault(lab: &Lab<'_>) -> Answered {
    let mut guest = guest(lab, as_recorded(), Access::Read, SYSENTER_CS)?;
    let first = guest.run();
    if !matches!(first, Stop::MsrRead(SYSENTER_CS, _)) {
        return Ok(Answer::limits(first.to_string(), "The access did not exit."));
    }
    guest.page.answer_msr(0, true);
    let stop = guest.run();
    Ok(Answer::good_if(
        stop == Stop::Vector(13),
        if stop == Stop::Vector(13) { "#GP in the guest".to_owned() } else { stop.to_string() },
        "Guests that probe for MSRs see other answers than on hardware.",
    ))
}
