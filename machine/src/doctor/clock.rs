//! The guest's time stamp counter: can it be moved, can it be slowed?

use super::guest::{Guest, with_end};
use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use super::tables::Mode;
use crate::error::MachineError;
use crate::held_tsc::HeldTsc;
use crate::ticks::ticks;
use crate::{ioctl, msr};
use kvm_ioctls::{Cap, Kvm};
use std::thread;
use std::time::Duration;

pub(super) const PROBES: &[Probe] = &[
    Probe("tsc-write", "Writing the guest's TSC (KVM_SET_MSRS)", tsc_write),
    Probe("tsc-offset", "Moving the guest's TSC (KVM_VCPU_TSC_OFFSET)", tsc_offset),
    Probe("tsc-scaling", "Halving the guest's TSC frequency", tsc_scaling),
    Probe("tsc-held", "Holding the guest's TSC still, for user mode", tsc_held),
];

/// Attempts at what a busy host may spoil.
const TRIES: u32 = 4;
/// Further ahead than any host has run.
const FAR: u64 = 1 << 52;

const READ: &[u8] = &[
    0x0f, 0x31, // rdtsc
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, // or rax, rdx
];

/// Reads the TSC a thousand times: RBX the first value, RAX the last, ECX 0 if all were the same.
const READ_AGAIN: &[u8] = &[
    0x0f, 0x31, // rdtsc
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, // or rax, rdx
    0x48, 0x89, 0xc3, // mov rbx, rax
    0xb9, 0xe8, 0x03, 0x00, 0x00, // mov ecx, 1000
    0x0f, 0x31, // rdtsc
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, // or rax, rdx
    0x48, 0x39, 0xd8, // cmp rax, rbx
    0x75, 0x04, // jne to the end
    0xff, 0xc9, // dec ecx
    0x75, 0xee, // jnz to the second rdtsc
];

/// Why it does not matter: recording never lets a guest depend on the hardware's TSC. It is a canary.
const CANARY: &str =
    "A clock read that was not closed cannot be made to show by moving the clock before a replay.";

fn guest_tsc(guest: &mut Guest) -> Result<Option<u64>, MachineError> {
    guest.start(|_| {})?;
    let stop = guest.run();
    Ok(if guest.is_end(stop) { Some(guest.regs()?.rax) } else { None })
}

fn guest(lab: &Lab<'_>) -> Result<Guest, MachineError> {
    lab.guest(Mode::Long, &with_end(Mode::Long, READ))
}

fn moved(took: bool, ignored: &str) -> Answer {
    if took { Answer::good("takes effect") } else { Answer::limits(ignored, CANARY) }
}

fn tsc_write(lab: &Lab<'_>) -> Answered {
    let mut guest = guest(lab)?;
    if msr::set(&guest.vcpu, &[(msr::IA32_TSC, FAR)]).is_err() {
        return Ok(moved(false, "refused"));
    }
    Ok(match guest_tsc(&mut guest)? {
        Some(now) => moved(now >= FAR, "accepted and ignored"),
        None => Answer::info("RDTSC does not execute"),
    })
}

fn tsc_offset(lab: &Lab<'_>) -> Answered {
    let mut guest = guest(lab)?;
    if ioctl::set_tsc_offset(&guest.vcpu, FAR).is_err() {
        return Ok(moved(false, "refused, or not offered"));
    }
    Ok(match guest_tsc(&mut guest)? {
        Some(now) => moved(now >= FAR, "accepted and ignored"),
        None => Answer::info("RDTSC does not execute"),
    })
}

fn tsc_scaling(lab: &Lab<'_>) -> Answered {
    let mut guest = guest(lab)?;
    let khz = lab.tick_hz / 1000;
    if guest.vcpu.set_tsc_khz((khz / 2) as u32).is_err() {
        return Ok(Answer::info("refused: no TSC scaling"));
    }
    let (Some(guest_begin), begin) = (guest_tsc(&mut guest)?, ticks()) else {
        return Ok(Answer::info("RDTSC does not execute"));
    };
    thread::sleep(Duration::from_millis(3));
    let (Some(guest_end), end) = (guest_tsc(&mut guest)?, ticks()) else {
        return Ok(Answer::info("RDTSC does not execute"));
    };
    let rate = guest_end.wrapping_sub(guest_begin) as f64 / end.wrapping_sub(begin).max(1) as f64;
    Ok(Answer::info(if (0.4..0.6).contains(&rate) {
        format!("takes effect: it runs at {rate:.2} of the host's")
    } else {
        format!("accepted, but it runs at {rate:.2} of the host's")
    }))
}

/// Whether the guest's TSC can be held still, so that user mode reads what was set. Takes a few milliseconds.
pub fn can_hold_tsc(kvm: &Kvm) -> Result<bool, MachineError> {
    Ok(kvm.check_extension(Cap::TscControl) && tsc_held(&Lab::new(kvm)?)?.is_good())
}

fn tsc_held(lab: &Lab<'_>) -> Answered {
    const MEANING: &str = "Clock reads that nothing closes, those of processes among them, show the hardware's clock: their replay diverges.";
    let mut shown = 0;
    // A busy host may come late.
    for _ in 0..TRIES {
        let mut guest = lab.guest(Mode::User, &with_end(Mode::User, READ_AGAIN))?;
        let Some(mut held) = HeldTsc::start(&guest.vcpu, FAR)? else {
            return Ok(Answer::limits("not possible: no TSC scaling", MEANING));
        };
        guest.start(|_| {})?;
        held.enter(&guest.vcpu, ticks())?;
        let stop = guest.run();
        if !guest.is_end(stop) {
            return Ok(Answer::info("RDTSC does not execute"));
        }
        let registers = guest.regs()?;
        if (registers.rax, registers.rcx) == (FAR, 0) {
            return Ok(Answer::good("it stands still at what was set"));
        }
        shown = registers.rax;
    }
    Ok(Answer::limits(format!("accepted, but it shows {shown:#x} instead of {FAR:#x}"), MEANING))
}
