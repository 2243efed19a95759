//! User mode, and the ways into and out of it.

use super::guest::{Guest, TEXT, with_end};
use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use super::stop::Stop;
use super::tables::{self, KERNEL_CODE, Mode, SYSRET_BASE};
use crate::error::{MachineError, refused};
use crate::msr;
use kvm_ioctls::Kvm;

pub(super) const PROBES: &[Probe] = &[
    Probe("user-mode", "User mode, entered by IRETQ", enter),
    Probe("page-fault", "Page fault in user mode", page_fault),
    Probe("syscall", "SYSCALL and SYSRET", syscall),
    Probe("int-80", "INT 0x80 and IRETQ", int_80),
];

/// Whether a process in the guest's user mode can call its kernel by SYSCALL. Takes a few milliseconds.
pub fn user_mode_can_call(kvm: &Kvm) -> Result<bool, MachineError> {
    Ok(syscall(&Lab::new(kvm)?)?.is_good())
}

const NO_CALLS: &str = "Kernels whose user mode makes system calls this way do not run on this engine.";
const NO_USER: &str = "Kernels with a user mode do not run on this engine.";

/// Offsets of code that user mode calls, and of code that it starts with.
const KERNEL_PART: u64 = 0x100;
const USER_PART: u64 = 0x80;

const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const FMASK: u32 = 0xc000_0084;
const EFER_SCE: u64 = 1;

fn cpl(guest: &Guest) -> Result<u8, MachineError> {
    Ok(guest.vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?.ss.dpl)
}

fn enter(lab: &Lab<'_>) -> Answered {
    let code = [
        0x6a, 0x23, // push USER_DATA: SS
        0x68, 0x00, 0xe0, 0x00, 0x00, // push 0xe000: RSP
        0x9c, // pushf
        0x6a, 0x2b, // push USER_CODE: CS
        0x68, 0x80, 0x80, 0x00, 0x00, // push TEXT + USER_PART: RIP
        0x48, 0xcf, // iretq
    ];
    let mut guest = lab.guest(Mode::Long, &code)?;
    guest.write(TEXT + USER_PART, &with_end(Mode::User, &[]))?;
    let stop = guest.run();
    let level = cpl(&guest)?;
    let there = matches!(stop, Stop::MmioWrite(..)) && level == 3;
    Ok(Answer::good_if(
        there,
        if there { "works".to_owned() } else { format!("{stop}, at CPL {level}") },
        NO_USER,
    ))
}

fn page_fault(lab: &Lab<'_>) -> Answered {
    // mov al, [0x40000000]: just behind what is mapped
    let mut guest = lab.guest(Mode::User, &with_end(Mode::User, &[0x8a, 0x04, 0x25, 0, 0, 0, 0x40]))?;
    let stop = guest.run();
    let cr2 = guest.vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?.cr2;
    let good = stop == Stop::Vector(14) && cr2 == 0x4000_0000 && cpl(&guest)? == 0;
    Ok(Answer::good_if(good, if good { "reaches its handler".to_owned() } else { stop.to_string() }, NO_USER))
}

/// The end of a system call that should have come back: what is seen when it does not.
fn back(mut guest: Guest, entered: Stop) -> Answered {
    if !matches!(entered, Stop::PortWrite(0x80, _)) {
        return Ok(Answer::limits(format!("does not reach the kernel: {entered}"), NO_CALLS));
    }
    let level = cpl(&guest)?;
    if level != 0 {
        return Ok(Answer::limits(format!("reaches the kernel at CPL {level}"), NO_CALLS));
    }
    let stop = guest.run();
    let good = guest.is_end(stop) && cpl(&guest)? == 3;
    Ok(Answer::good_if(
        good,
        if good { "works".to_owned() } else { format!("does not return: {stop}") },
        NO_CALLS,
    ))
}

fn syscall(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::User, &with_end(Mode::User, &[0x0f, 0x05]))?; // syscall
    guest.write(
        TEXT + KERNEL_PART,
        &[
            0xe6, 0x80, // out 0x80, al
            0x48, 0x0f, 0x07, // sysretq
        ],
    )?;
    guest.set_sregs(|s| s.efer |= EFER_SCE)?;
    // SDM vol. 3, 5.8.8: bases of the selectors that SYSCALL and SYSRET load.
    let star = u64::from(KERNEL_CODE) << 32 | u64::from(SYSRET_BASE) << 48;
    msr::set(&guest.vcpu, &[(STAR, star), (LSTAR, TEXT + KERNEL_PART), (FMASK, 0x200)])?;
    let entered = guest.run();
    back(guest, entered)
}

fn int_80(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::User, &with_end(Mode::User, &[0xcd, 0x80]))?; // int 0x80
    guest.write(
        tables::handler(0x80),
        &[
            0xe6, 0x80, // out 0x80, al
            0x48, 0xcf, // iretq
        ],
    )?;
    let entered = guest.run();
    back(guest, entered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_user_mode_can_call_is_what_the_report_says() {
        let kvm = crate::kvm::open().expect("tests need a usable /dev/kvm");
        let report = crate::doctor::examine(&kvm, &mut |_| {});
        assert_eq!(user_mode_can_call(&kvm).unwrap(), report.is_good("syscall"));
    }
}
