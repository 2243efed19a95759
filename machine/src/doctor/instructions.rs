//! What becomes of instructions that KVM may have to emulate.

use super::cpuid::has_bit;
use super::guest::{Guest, MMIO, with_end};
use super::instruction_list::{CASES, Case, Expect, OPERAND};
use super::lab::Lab;
use super::report::{Fate, InstructionFate, ModeFate, Verdict};
use super::stop::Stop;
use super::tables::Mode;
use crate::error::{MachineError, refused};
use crate::finish::Effect;
use iced_x86::{Decoder, DecoderOptions};
use kvm_bindings::{kvm_xcr, kvm_xcrs};
use std::time::Duration;

/// In the order of [`Case::code`].
const MODES: [(Mode, &str); 4] =
    [(Mode::Real, "16-bit"), (Mode::Protected, "32-bit"), (Mode::Long, "64-bit"), (Mode::User, "user")];

/// One instruction takes microseconds. On a busy machine it may have to wait for its turn: so it gets two chances.
const LIMITS: [Duration; 2] = [Duration::from_millis(30), Duration::from_millis(150)];

/// Tries every instruction in every mode.
pub(super) fn examine(
    lab: &Lab<'_>,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<InstructionFate>, MachineError> {
    let visible = lab.visible()?;
    let mut fates: Vec<Vec<ModeFate>> = CASES.iter().map(|_| Vec::new()).collect();
    for (i, (mode, name)) in MODES.into_iter().enumerate() {
        progress(&format!("instructions, {}", mode.name()));
        let mut guest = None;
        for (case, fates) in CASES.iter().zip(&mut fates) {
            if case.code[i].is_empty() {
                continue;
            }
            let (fate, detail) = if case.needs.is_some_and(|bit| !visible.has(bit)) {
                (Fate::NotOffered, "not offered".to_owned())
            } else {
                let stop = fate_of(lab, &mut guest, mode, case, case.code[i])?;
                name_fate(case, mode, case.code[i], stop)
            };
            fates.push(ModeFate { mode: name.to_owned(), fate, detail });
        }
    }
    Ok(CASES.iter().zip(fates).map(|(case, fates)| row(case, fates)).collect())
}

fn row(case: &Case, fates: Vec<ModeFate>) -> InstructionFate {
    let bad = |f: &ModeFate| !matches!(f.fate, Fate::Executes | Fate::Finished | Fate::NotOffered);
    let verdict = if fates.iter().any(bad) {
        Verdict::LimitsRecording
    } else if fates.iter().any(|f| matches!(f.fate, Fate::Executes | Fate::Finished)) {
        Verdict::Good
    } else {
        Verdict::Informational
    };
    InstructionFate { id: case.id.to_owned(), instruction: case.text.to_owned(), fates, verdict }
}

/// What stopped the guest after the instruction; `Ok(None)`: it came to its end.
fn fate_of(
    lab: &Lab<'_>,
    kept: &mut Option<Guest>,
    mode: Mode,
    case: &Case,
    code: &[u8],
) -> Result<Option<Stop>, MachineError> {
    let mut outcome = None;
    for limit in LIMITS {
        // A guest that ended badly is not used again.
        let mut guest = match kept.take() {
            Some(guest) => guest,
            None => lab.guest(mode, &[])?,
        };
        guest.load(&with_end(mode, code))?;
        prepare(lab, &mut guest, mode)?;
        guest.allow(limit);
        let stop = guest.run_to_end();
        outcome = (!guest.is_end(stop)).then_some(stop);
        if stop.can_go_on() || stop == Stop::EmulationFailure {
            *kept = Some(guest);
        }
        // MONITOR and MWAIT may legitimately wait, everything else must not.
        if stop != Stop::Kicked || case.id == "mwait" {
            break;
        }
    }
    Ok(outcome)
}

/// Registers that suit all of the list, and the features that a kernel would switch on.
fn prepare(lab: &Lab<'_>, guest: &mut Guest, mode: Mode) -> Result<(), MachineError> {
    const XSAVE: (u32, usize, u32) = (1, 2, 26);
    // OSFXSR, without which there is no SSE.
    guest.set_sregs(|s| s.cr4 |= 0x600)?;
    // FSGSBASE, where KVM takes it.
    let _ = mode == Mode::Real || guest.set_sregs(|s| s.cr4 |= 1 << 16).is_ok();
    // OSXSAVE, and all of x87, SSE and AVX that there is.
    if has_bit(&lab.cpuid, XSAVE) {
        guest.set_sregs(|s| s.cr4 |= 1 << 18)?;
        let offered = lab.cpuid.as_slice().iter().find(|e| (e.function, e.index) == (0xd, 0));
        let components = offered.map_or(1, |e| u64::from(e.eax) & 7 | 1);
        let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
        xcrs.xcrs[0] = kvm_xcr { xcr: 0, reserved: 0, value: components };
        guest.vcpu.set_xcrs(&xcrs).map_err(refused("KVM_SET_XCRS"))?;
    }
    guest.start(|r| {
        r.rax = OPERAND | 7;
        r.rbx = MMIO;
        r.rcx = 0;
    })
}

/// Whether Trapline finishes the last of these instructions, which is the one that is tried.
fn is_finished(mode: Mode, code: &[u8]) -> bool {
    let bits = match mode {
        Mode::Real => 16,
        Mode::Protected => 32,
        Mode::Long | Mode::User => 64,
    };
    let decoder = Decoder::new(bits, code, DecoderOptions::NONE);
    decoder.into_iter().last().is_some_and(|x86| Effect::of(&x86).is_some())
}

fn name_fate(case: &Case, mode: Mode, code: &[u8], stop: Option<Stop>) -> (Fate, String) {
    match (case.expect, stop) {
        (Expect::Runs | Expect::RunsOrUndefined, None) => (Fate::Executes, "executes".to_owned()),
        (Expect::RunsOrUndefined, Some(Stop::Vector(6))) => (Fate::Executes, "#UD".to_owned()),
        (Expect::Vector(wanted), Some(Stop::Vector(got))) if wanted == got => {
            (Fate::Executes, "executes".to_owned())
        }
        (Expect::Vector(_), None) => (Fate::Other, "does nothing".to_owned()),
        (_, Some(Stop::EmulationFailure)) if is_finished(mode, code) => {
            (Fate::Finished, "finished".to_owned())
        }
        (_, Some(Stop::EmulationFailure)) => (Fate::EmulationFailure, "FAILS".to_owned()),
        (_, Some(Stop::Kicked)) => (Fate::Hangs, "HANGS".to_owned()),
        (_, Some(stop @ Stop::Vector(_))) => (Fate::Exception, stop.to_string()),
        (_, Some(stop)) => (Fate::Other, stop.to_string()),
    }
}
