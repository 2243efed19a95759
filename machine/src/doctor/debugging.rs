//! KVM_SET_GUEST_DEBUG: single steps, hardware breakpoints, INT3 (KVM API 4.87).

use super::guest::{DATA, Guest, HANDLERS, TEXT, with_end};
use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use super::stop::Stop;
use super::tables::{KERNEL_DATA, Mode};
use crate::error::{MachineError, refused};
use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP, KVM_GUESTDBG_USE_SW_BP,
    kvm_guest_debug, kvm_guest_debug_arch,
};
use kvm_ioctls::Kvm;
use std::sync::OnceLock;

pub(super) const PROBES: &[Probe] = &[
    Probe("step-real", "Single step, 16-bit", |lab| step(lab, Mode::Real)),
    Probe("step-protected", "Single step, 32-bit", |lab| step(lab, Mode::Protected)),
    Probe("step-long", "Single step, 64-bit", |lab| step(lab, Mode::Long)),
    Probe("step-user", "Single step, user mode", |lab| step(lab, Mode::User)),
    Probe("step-pushf", "PUSHF under step", step_pushf),
    Probe("step-popf", "POPF under step", step_popf),
    Probe("step-mov-ss", "MOV SS under step", step_mov_ss),
    Probe("step-hlt", "HLT under step", step_hlt),
    Probe("step-rep", "REP STOSB of 3 bytes under step", step_rep),
    Probe("step-fault", "A fault under step", step_fault),
    Probe("breakpoint-long", "Hardware breakpoint, 64-bit", |lab| breakpoint(lab, Mode::Long)),
    Probe("breakpoint-user", "Hardware breakpoint, user mode", |lab| breakpoint(lab, Mode::User)),
    Probe("breakpoint-resume", "Running on from a hardware breakpoint", breakpoint_resume),
    Probe("watchpoint", "Hardware watchpoint on a write", watchpoint),
    Probe("int3-protected", "INT3 as an exit, 32-bit", |lab| int3(lab, Mode::Protected)),
    Probe("int3-long", "INT3 as an exit, 64-bit", |lab| int3(lab, Mode::Long)),
    Probe("int3-user", "INT3 as an exit, user mode", |lab| int3(lab, Mode::User)),
];

/// What stepping is for here, and why a trap in it is no more than a nuisance.
const TOOL: &str = "Steps are a tool for narrowing down, not for positions.";
const NO_MODE: &str = "Positions between exits cannot be narrowed down by stepping in this mode.";
const NO_BREAKPOINT: &str =
    "Positions between exits cannot be reached by breakpoints in this mode: events wait for exits.";

/// Starts debugging; `breakpoint`: linear address, and DR7's RW0 and LEN0 fields.
pub(super) fn debug(
    guest: &Guest,
    features: u32,
    breakpoint: Option<(u64, u64)>,
) -> Result<(), MachineError> {
    let mut arch = kvm_guest_debug_arch::default();
    if let Some((address, kind)) = breakpoint {
        arch.debugreg[0] = address;
        arch.debugreg[7] = 0x400 | 2 | kind << 16; // fixed bit, G0
    }
    let debug = kvm_guest_debug { control: KVM_GUESTDBG_ENABLE | features, pad: 0, arch };
    guest.vcpu.set_guest_debug(&debug).map_err(refused("KVM_SET_GUEST_DEBUG"))
}

/// A walk by single steps.
struct Walk {
    /// Offset of RIP, and RCX, after each step that made progress.
    places: Vec<(u64, u64)>,
    /// Debug exits that made none.
    idle: usize,
    /// What ended it.
    stop: Stop,
}

impl Walk {
    fn came_by(&self, offset: u64) -> bool {
        self.places.iter().any(|(rip, _)| *rip == offset)
    }
}

/// Steps until something else happens.
fn walk(guest: &mut Guest) -> Result<Walk, MachineError> {
    debug(guest, KVM_GUESTDBG_SINGLESTEP, None)?;
    let place = |guest: &Guest| guest.regs().map(|r| (r.rip.wrapping_sub(TEXT), r.rcx));
    let mut walk = Walk { places: Vec::new(), idle: 0, stop: Stop::Kicked };
    let mut last = place(guest)?;
    for _ in 0..64 {
        walk.stop = guest.run();
        if !matches!(walk.stop, Stop::Debug(..)) {
            break;
        }
        let now = place(guest)?;
        if now == last {
            walk.idle += 1;
        } else {
            walk.places.push(now);
        }
        last = now;
    }
    Ok(walk)
}

fn walk_code(lab: &Lab<'_>, code: &[u8]) -> Result<(Guest, Walk), MachineError> {
    let mut guest = lab.guest(Mode::Long, &with_end(Mode::Long, code))?;
    guest.start(|r| {
        r.rcx = KERNEL_DATA.into(); // for MOV SS
        r.rdi = DATA;
    })?;
    let walk = walk(&mut guest)?;
    Ok((guest, walk))
}

/// Steps over four instructions, to the end.
fn walk_nops(lab: &Lab<'_>, mode: Mode) -> Result<(Guest, Walk), MachineError> {
    let mut guest = lab.guest(mode, &with_end(mode, &[0x90; 4]))?; // nop
    let walk = walk(&mut guest)?;
    Ok((guest, walk))
}

fn step(lab: &Lab<'_>, mode: Mode) -> Answered {
    let (guest, walk) = walk_nops(lab, mode)?;
    let offsets: Vec<_> = walk.places.iter().map(|(rip, _)| *rip).collect();
    Ok(match walk.stop {
        Stop::Vector(1) => Answer::limits("#DB in the guest instead of an exit", NO_MODE),
        stop if guest.is_end(stop) && offsets.is_empty() => Answer::limits("no exits", NO_MODE),
        stop if guest.is_end(stop) && offsets == [1, 2, 3, 4] => match walk.idle {
            0 => Answer::good("one exit per instruction"),
            n => Answer::good(format!("every instruction; exits without progress: {n}"))
                .meaning("Who counts steps must compare RIP."),
        },
        stop if guest.is_end(stop) => {
            Answer::limits(format!("exits at {offsets:?} of [1, 2, 3, 4]"), NO_MODE)
        }
        stop => Answer::limits(stop.to_string(), NO_MODE),
    })
}

fn step_pushf(lab: &Lab<'_>) -> Answered {
    // pushf; pop rax
    let (guest, walk) = walk_code(lab, &[0x9c, 0x58])?;
    if !guest.is_end(walk.stop) {
        return Ok(Answer::limits(walk.stop.to_string(), TOOL));
    }
    let shows = guest.regs()?.rax & 1 << 8 != 0;
    Ok(if shows { Answer::info("shows TF to the guest").meaning(TOOL) } else { Answer::good("hides TF") })
}

fn step_popf(lab: &Lab<'_>) -> Answered {
    // push 2; popf; nop; nop
    let (guest, walk) = walk_code(lab, &[0x6a, 0x02, 0x9d, 0x90, 0x90])?;
    Ok(if !guest.is_end(walk.stop) {
        Answer::limits(walk.stop.to_string(), TOOL)
    } else if walk.came_by(4) {
        Answer::good("goes on stepping")
    } else {
        Answer::info("ends stepping, until it is asked for again").meaning(TOOL)
    })
}

fn step_mov_ss(lab: &Lab<'_>) -> Answered {
    // mov ss, ecx; nop; nop
    let (guest, walk) = walk_code(lab, &[0x8e, 0xd1, 0x90, 0x90])?;
    Ok(if !guest.is_end(walk.stop) {
        Answer::limits(walk.stop.to_string(), TOOL)
    } else if walk.came_by(2) {
        Answer::good("one step, like others")
    } else {
        Answer::info("swallows a step, as on hardware").meaning(TOOL)
    })
}

fn step_hlt(lab: &Lab<'_>) -> Answered {
    // hlt; nop
    let (guest, walk) = walk_code(lab, &[0xf4, 0x90])?;
    Ok(match (walk.came_by(1), walk.stop) {
        (false, Stop::Halt) => Answer::good("HLT exit"),
        (true, Stop::Halt) => Answer::info("debug exit, then HLT exit").meaning(TOOL),
        (true, stop) if guest.is_end(stop) => Answer::info("debug exit, and never an HLT exit").meaning(TOOL),
        (_, stop) => Answer::limits(stop.to_string(), TOOL),
    })
}

fn step_rep(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::Long, &with_end(Mode::Long, &[0xf3, 0xaa]))?; // rep stosb
    guest.start(|r| (r.rcx, r.rdi) = (3, DATA))?;
    let walk = walk(&mut guest)?;
    let inside = walk.places.iter().filter(|(rip, _)| *rip == 0).count();
    Ok(match (guest.is_end(walk.stop), inside) {
        (false, _) => Answer::limits(walk.stop.to_string(), TOOL),
        (true, 0) => Answer::info("one step"),
        (true, n) => Answer::info(format!("stops inside: {n}")),
    })
}

fn step_fault(lab: &Lab<'_>) -> Answered {
    let (_, walk) = walk_code(lab, &[0x0f, 0x0b])?; // ud2
    let in_handler = walk.places.iter().any(|(rip, _)| *rip >= HANDLERS - TEXT);
    Ok(Answer::info(match (in_handler, walk.stop) {
        (false, Stop::Vector(6)) => "the handler runs unstepped".to_owned(),
        (true, Stop::Vector(6)) => "stepping goes on in the handler".to_owned(),
        (_, stop) => stop.to_string(),
    }))
}

/// Runs nops to a breakpoint on the third.
fn to_breakpoint(lab: &Lab<'_>, mode: Mode) -> Result<(Guest, Stop), MachineError> {
    let mut guest = lab.guest(mode, &with_end(mode, &[0x90; 4]))?;
    debug(&guest, KVM_GUESTDBG_USE_HW_BP, Some((TEXT + 2, 0)))?;
    let stop = guest.run();
    Ok((guest, stop))
}

/// Where hardware breakpoints stop a guest, and single steps take it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breakpoints {
    /// In kernel mode, 16, 32 and 64-bit.
    pub kernel: bool,
    /// In user mode, 64-bit.
    pub user: bool,
}

/// Finds out. Takes a few milliseconds, the first time.
pub fn breakpoints(kvm: &Kvm) -> Result<Breakpoints, MachineError> {
    static ANSWER: OnceLock<Breakpoints> = OnceLock::new();
    if let Some(answer) = ANSWER.get() {
        return Ok(*answer);
    }
    let lab = Lab::new(kvm)?;
    let mut kernel = true;
    for mode in [Mode::Real, Mode::Protected, Mode::Long] {
        kernel = kernel && stops(&lab, mode)?;
    }
    let user = stops(&lab, Mode::User)?;
    Ok(*ANSWER.get_or_init(|| Breakpoints { kernel, user }))
}

fn stops(lab: &Lab<'_>, mode: Mode) -> Result<bool, MachineError> {
    let (guest, stop) = to_breakpoint(lab, mode)?;
    if !matches!(stop, Stop::Debug(..)) || guest.regs()?.rip.wrapping_sub(TEXT) != 2 {
        return Ok(false);
    }
    let (guest, walk) = walk_nops(lab, mode)?;
    Ok(guest.is_end(walk.stop) && (1..=4).all(|offset| walk.came_by(offset)))
}

fn breakpoint(lab: &Lab<'_>, mode: Mode) -> Answered {
    let (guest, stop) = to_breakpoint(lab, mode)?;
    let rip = guest.regs()?.rip.wrapping_sub(TEXT);
    Ok(match stop {
        Stop::Debug(..) if rip == 2 => Answer::good("exits before the instruction"),
        Stop::Debug(..) => Answer::limits(format!("exits at +{rip} instead of +2"), NO_BREAKPOINT),
        Stop::Vector(1) => Answer::limits("#DB in the guest instead of an exit", NO_BREAKPOINT),
        stop if guest.is_end(stop) => Answer::limits("not hit", NO_BREAKPOINT),
        stop => Answer::limits(stop.to_string(), NO_BREAKPOINT),
    })
}

fn breakpoint_resume(lab: &Lab<'_>) -> Answered {
    let (mut guest, stop) = to_breakpoint(lab, Mode::Long)?;
    if !matches!(stop, Stop::Debug(..)) {
        return Ok(Answer::info("no breakpoint was hit"));
    }
    let stop = guest.run();
    Ok(match stop {
        Stop::Debug(..) => Answer::info("hits it again: it must be stepped over"),
        stop if guest.is_end(stop) => Answer::good("goes on"),
        stop => Answer::limits(stop.to_string(), NO_BREAKPOINT),
    })
}

fn watchpoint(lab: &Lab<'_>) -> Answered {
    // mov [DATA], al; nop
    let code = [0x88, 0x04, 0x25, 0x00, 0x00, 0x01, 0x00, 0x90];
    let mut guest = lab.guest(Mode::Long, &with_end(Mode::Long, &code))?;
    // RW0 = 1: writes; LEN0 = 0: one byte (SDM vol. 3, 17.2.4).
    debug(&guest, KVM_GUESTDBG_USE_HW_BP, Some((DATA, 1)))?;
    let stop = guest.run();
    Ok(Answer::info(match stop {
        Stop::Debug(..) => format!("exits {} bytes on", guest.regs()?.rip.wrapping_sub(TEXT)),
        stop if guest.is_end(stop) => "not hit".to_owned(),
        stop => stop.to_string(),
    }))
}

fn int3(lab: &Lab<'_>, mode: Mode) -> Answered {
    const NO_INT3: &str = "INT3 is no candidate for rewriting RDTSC in this mode.";
    let mut guest = lab.guest(mode, &with_end(mode, &[0xcc]))?;
    debug(&guest, KVM_GUESTDBG_USE_SW_BP, None)?;
    let stop = guest.run();
    Ok(match stop {
        Stop::Debug(..) => Answer::good("exits"),
        Stop::Vector(3) => Answer::limits("goes to the guest", NO_INT3),
        stop => Answer::limits(stop.to_string(), NO_INT3),
    })
}
