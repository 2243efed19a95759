//! Getting interrupts into the guest, and getting at it when it waits.

use super::guest::{Guest, HANDLER_STACK, IF, STACK, TEXT, with_end};
use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use super::stop::Stop;
use super::tables::Mode;
use super::window::Place;
use crate::error::{MachineError, refused};
use crate::ioctl;

pub(super) const PROBES: &[Probe] = &[
    Probe("interrupt-real", "Interrupt at an exit, 16-bit", |lab| at_exit(lab, Mode::Real)),
    Probe("interrupt-protected", "Interrupt at an exit, 32-bit", |lab| at_exit(lab, Mode::Protected)),
    Probe("interrupt-long", "Interrupt at an exit, 64-bit", |lab| at_exit(lab, Mode::Long)),
    Probe("interrupt-user", "Interrupt at an exit of user mode", |lab| at_exit(lab, Mode::User)),
    Probe("interrupt-wakes-hlt", "Interrupt wakes HLT", wakes),
    Probe("interrupt-if-0", "KVM_INTERRUPT with interrupts off", with_if_0),
    Probe("nmi", "NMI at an exit", nmi),
    Probe("nmi-wakes-hlt", "NMI wakes HLT, interrupts off", nmi_wakes),
    Probe("cr8", "Lowering CR8", cr8),
    Probe("window-prompt", "Interrupt window opens", window_prompt),
    Probe("window-steady", "Interrupt window, 8 times the same", window_steady),
    Probe("shutdown", "Triple fault", shutdown),
];

const VECTOR: u8 = 0x44;

/// Where the handler finds the interrupted RIP: the frame of an interrupt in each mode (SDM vol. 3, 6.12.1, 6.14.2).
fn saved_rip(guest: &Guest, mode: Mode) -> Result<u64, MachineError> {
    Ok(match mode {
        Mode::Real => guest.read_u64(STACK - 6)? & 0xffff,
        Mode::Protected => guest.read_u64(STACK - 12)? & 0xffff_ffff,
        Mode::Long => guest.read_u64(STACK - 40)?,
        Mode::User => guest.read_u64(HANDLER_STACK - 40)?,
    })
}

/// The stop after an interrupt that is due, in words.
fn delivered(guest: &mut Guest, mode: Mode, vector: u8, resumes_at: u64) -> Answered {
    let stop = guest.run();
    if stop != Stop::Vector(vector) {
        return Ok(Answer::limits(
            stop.to_string(),
            format!("Guests cannot take interrupts in {} mode.", mode.name()),
        ));
    }
    let saved = saved_rip(guest, mode)?;
    Ok(Answer::good_if(
        saved == resumes_at,
        if saved == resumes_at { "delivered there" } else { "delivered elsewhere" },
        "The place of an interrupt is not the place it was given at: recordings may not replay.",
    ))
}

fn at_exit(lab: &Lab<'_>, mode: Mode) -> Answered {
    let nops = [0x90; 4];
    let code = [&with_end(mode, &[])[..], &nops].concat();
    let length = (code.len() - nops.len()) as u64;
    let mut guest = lab.guest(mode, &code)?;
    let first = guest.run();
    if !guest.is_end(first) {
        return Ok(Answer::limits(first.to_string(), format!("No exit in {} mode.", mode.name())));
    }
    if guest.complete().is_some() {
        return Ok(Answer::limits("the exit does not complete", "Recordings have no exact positions here."));
    }
    ioctl::interrupt(&guest.vcpu, VECTOR)?;
    delivered(&mut guest, mode, VECTOR, TEXT + length)
}

fn wakes(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::Long, &[0xfb, 0xf4, 0x90])?; // sti; hlt; nop
    guest.start(|r| r.rflags &= !IF)?;
    let first = guest.run();
    if first != Stop::Halt {
        return Ok(Answer::limits(first.to_string(), "HLT does not exit: an idle guest cannot be recorded."));
    }
    ioctl::interrupt(&guest.vcpu, VECTOR)?;
    delivered(&mut guest, Mode::Long, VECTOR, TEXT + 2)
}

fn with_if_0(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::Long, &[0xe6, 0x80, 0x90, 0xf4])?; // out 0x80, al; nop; hlt
    guest.start(|r| r.rflags &= !IF)?;
    guest.run();
    guest.complete();
    if let Err(e) = ioctl::interrupt(&guest.vcpu, VECTOR) {
        return Ok(Answer::info(e.to_string()));
    }
    let stop = guest.run();
    Ok(Answer::info(match stop {
        Stop::Vector(VECTOR) => "delivered all the same".to_owned(),
        stop => stop.to_string(),
    })
    .meaning("KVM does not check: Trapline injects only where the guest can take an interrupt."))
}

fn nmi(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::Long, &[0xe6, 0x80, 0x90, 0xf4])?; // out 0x80, al; nop; hlt
    guest.run();
    guest.complete();
    guest.vcpu.nmi().map_err(refused("KVM_NMI"))?;
    let answer = delivered(&mut guest, Mode::Long, 2, TEXT + 2)?;
    let events = guest.vcpu.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
    Ok(if events.nmi.masked == 0 && answer.is_good() {
        Answer::limits(
            "delivered, but NMIs are not masked after it",
            "NMI handlers may nest, unlike on hardware.",
        )
    } else {
        answer
    })
}

fn nmi_wakes(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::Long, &[0xf4, 0x90])?; // hlt; nop
    guest.start(|r| r.rflags &= !IF)?;
    let first = guest.run();
    if first != Stop::Halt {
        return Ok(Answer::limits(first.to_string(), "HLT does not exit: an idle guest cannot be recorded."));
    }
    guest.vcpu.nmi().map_err(refused("KVM_NMI"))?;
    delivered(&mut guest, Mode::Long, 2, TEXT + 1)
}

fn cr8(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::Long, &with_end(Mode::Long, &[0x44, 0x0f, 0x22, 0xc0]))?; // mov cr8, rax
    guest.page.get_mut().cr8 = 8;
    guest.start(|_| {})?;
    let stop = guest.run();
    Ok(if guest.is_end(stop) {
        Answer::info("no exit").meaning("What the guest lets through is seen at its next exit.")
    } else {
        Answer::info(stop.to_string())
    })
}

fn seen(places: &[Place]) -> String {
    let mut distinct: Vec<&Place> = Vec::new();
    for p in places {
        if !distinct.contains(&p) {
            distinct.push(p);
        }
    }
    format!("{} place{}", distinct.len(), if distinct.len() == 1 { "" } else { "s" })
}

fn window_prompt(lab: &Lab<'_>) -> Answered {
    let windows = lab.windows()?;
    Ok(if windows.prompt {
        Answer::good("at the first instruction that can be interrupted")
    } else {
        let latest = windows.latest.map_or_else(
            || "it does not open at all".to_owned(),
            |n| format!("late: up to {n} instructions after it could"),
        );
        Answer::limits(
            latest,
            "Interrupts are delivered only at exits: Trapline requests no interrupt windows here, and a guest that \
             computes without exits waits for its interrupts.",
        )
    })
}

fn window_steady(lab: &Lab<'_>) -> Answered {
    let windows = lab.windows()?;
    let places: Vec<_> =
        windows.seen.iter().map(|(name, places)| format!("{name}: {}", seen(places))).collect();
    Ok(if windows.steady {
        Answer::good("the same place each time")
    } else {
        Answer::limits(places.join("; "), "The place depends on the host: it is no position to replay.")
    })
}

fn shutdown(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::Long, &[0x0f, 0x0b])?; // ud2
    guest.set_sregs(|s| s.idt.limit = 0)?;
    let stop = guest.run();
    Ok(Answer::good_if(
        stop == Stop::Shutdown,
        if stop == Stop::Shutdown { "shutdown exit".to_owned() } else { stop.to_string() },
        "A guest that resets itself by a triple fault ends with an error instead.",
    ))
}
