//! What each kind of exit costs: from one return of KVM_RUN to the next, in a guest that does nothing else.

use super::debugging;
use super::guest::{Guest, MMIO, with_end};
use super::lab::{Lab, Msrs, Setup};
use super::report::{Cost, Spread};
use super::stop::Stop;
use super::tables::Mode;
use crate::error::MachineError;
use crate::ticks::ticks;
use kvm_bindings::{KVM_GUESTDBG_SINGLESTEP, kvm_regs};
use std::time::Duration;
use trapline_formats::MsrRange;

/// Guests that exit all the time may take this long.
const LIMIT: Duration = Duration::from_secs(3);
const WARM_UP: usize = 20;
const ROUNDS: usize = 300;

/// A loop around one instruction that exits.
struct Kind {
    id: &'static str,
    title: &'static str,
    mode: Mode,
    code: &'static [u8],
}

const KINDS: &[Kind] = &[
    Kind {
        id: "port-read",
        title: "IN, one byte",
        mode: Mode::Long,
        code: &[
            0xe4, 0x80, // loop: in al, 0x80
            0xeb, 0xfc, // jmp loop
        ],
    },
    Kind {
        id: "port-write",
        title: "OUT, one byte",
        mode: Mode::Long,
        code: &[
            0xe6, 0x80, // loop: out 0x80, al
            0xeb, 0xfc, // jmp loop
        ],
    },
    Kind {
        id: "mmio-read",
        title: "MMIO read, four bytes",
        mode: Mode::Long,
        code: &[
            0x8b, 0x03, // loop: mov eax, [rbx]
            0xeb, 0xfc, // jmp loop
        ],
    },
    Kind {
        id: "mmio-write",
        title: "MMIO write, four bytes",
        mode: Mode::Long,
        code: &[
            0x89, 0x03, // loop: mov [rbx], eax
            0xeb, 0xfc, // jmp loop
        ],
    },
    Kind {
        id: "mmio-write-user",
        title: "MMIO write, four bytes, from user mode",
        mode: Mode::User,
        code: &[
            0x89, 0x03, // loop: mov [rbx], eax
            0xeb, 0xfc, // jmp loop
        ],
    },
    Kind {
        id: "msr-read",
        title: "RDMSR, filtered",
        mode: Mode::Long,
        code: &[
            0x0f, 0x32, // loop: rdmsr, ECX = SYSENTER_CS
            0xb9, 0x74, 0x01, 0x00, 0x00, // mov ecx, SYSENTER_CS
            0xeb, 0xf7, // jmp loop
        ],
    },
    Kind {
        id: "msr-write",
        title: "WRMSR, filtered",
        mode: Mode::Long,
        code: &[
            0x0f, 0x30, // loop: wrmsr, ECX = SYSENTER_CS
            0xb9, 0x74, 0x01, 0x00, 0x00, // mov ecx, SYSENTER_CS
            0xeb, 0xf7, // jmp loop
        ],
    },
    Kind {
        id: "hlt",
        title: "HLT, woken at once",
        mode: Mode::Long,
        code: &[
            0xf4, // loop: hlt
            0xeb, 0xfd, // jmp loop
        ],
    },
    Kind {
        id: "rep-ins",
        title: "REP INSB, 1024 bytes in one exit",
        mode: Mode::Long,
        code: &[
            0xbf, 0x00, 0x00, 0x01, 0x00, // loop: mov edi, DATA
            0xb9, 0x00, 0x04, 0x00, 0x00, // mov ecx, 1024
            0xf3, 0x6c, // rep insb
            0xeb, 0xf2, // jmp loop
        ],
    },
];

/// The price list.
pub(super) fn measure(lab: &Lab<'_>) -> Result<Vec<Cost>, MachineError> {
    let tick_hz = lab.tick_hz as f64;
    // A filter must allow something (KVM API 4.97): MTRRCAP.
    let setup = Setup { msrs: Msrs::Only(vec![MsrRange { start: 0xfe, end: 0xff }]), ..Setup::default() };
    let mut kernel = lab.build(&setup, Mode::Long, &[])?;
    let mut user = lab.build(&setup, Mode::User, &[])?;
    let mut costs = Vec::new();
    for kind in KINDS {
        let guest = if kind.mode == Mode::User { &mut user } else { &mut kernel };
        guest.load(kind.code)?;
        guest.start(registers)?;
        if let Some(mut samples) = exits(guest) {
            costs.push(cost(kind.id, kind.title, &mut samples, tick_hz));
        }
    }
    if let Some(mut samples) = cpuid(&mut kernel)? {
        costs.push(cost("cpuid", "CPUID, served inside KVM", &mut samples, tick_hz));
    }
    if let Some(mut samples) = steps(&mut kernel)? {
        costs.push(cost("single-step", "Single step", &mut samples, tick_hz));
    }
    Ok(costs)
}

/// Ticks per single step of a jump to itself.
fn steps(guest: &mut Guest) -> Result<Option<Vec<f64>>, MachineError> {
    guest.load(&[0xeb, 0xfe])?; // loop: jmp loop
    debugging::debug(guest, KVM_GUESTDBG_SINGLESTEP, None)?;
    Ok(exits(guest))
}

fn registers(r: &mut kvm_regs) {
    r.rbx = MMIO;
    r.rcx = 0x174;
    r.rdx = 0x80;
}

fn cost(id: &str, title: &str, samples: &mut [f64], tick_hz: f64) -> Cost {
    let rounds = samples.len() as u32;
    let ticks = Spread::of(samples);
    let ns = ticks.map(|t| t * 1e9 / tick_hz);
    Cost { id: id.to_owned(), title: title.to_owned(), ns, ticks, rounds }
}

/// Ticks from exit to exit. `None`: the guest came to something else.
fn exits(guest: &mut Guest) -> Option<Vec<f64>> {
    guest.allow(LIMIT);
    let mut samples = Vec::with_capacity(ROUNDS);
    let mut last = ticks();
    for round in 0..WARM_UP + ROUNDS {
        let stop = guest.run();
        let now = ticks();
        let is_exit = stop.is_unfinished() || matches!(stop, Stop::Halt | Stop::Debug(..));
        if !is_exit || matches!(stop, Stop::Vector(_)) {
            return None;
        }
        if round >= WARM_UP {
            samples.push(now.wrapping_sub(last) as f64);
        }
        last = now;
    }
    Some(samples)
}

/// CPUIDs per batch.
const BATCH: u32 = 20;

/// Ticks per CPUID: a batch of them, less the same loop without.
fn cpuid(guest: &mut Guest) -> Result<Option<Vec<f64>>, MachineError> {
    let looped = |body: [u8; 2]| {
        let mut code = vec![0x31, 0xc0]; // loop: xor eax, eax
        code.extend(body); // cpuid, or a nop of its length
        code.extend([0xff, 0xce]); // dec esi
        code.extend([0x75, 0xf8]); // jnz loop
        with_end(Mode::Long, &code)
    };
    let mut batches = |body| -> Result<Option<Vec<f64>>, MachineError> {
        guest.load(&looped(body))?;
        guest.allow(LIMIT);
        let mut samples = Vec::new();
        for round in 0..45 {
            guest.start(|r| r.rsi = BATCH.into())?;
            let begin = ticks();
            let stop = guest.run();
            let spent = ticks().wrapping_sub(begin);
            if !guest.is_end(stop) {
                return Ok(None);
            }
            if round >= 5 {
                samples.push(spent as f64);
            }
        }
        Ok(Some(samples))
    };
    let with = batches([0x0f, 0xa2])?; // cpuid
    let without = batches([0x66, 0x90])?; // nop
    let (Some(with), Some(mut without)) = (with, without) else { return Ok(None) };
    let floor = Spread::of(&mut without).median;
    Ok(Some(with.into_iter().map(|t| (t - floor).max(0.0) / f64::from(BATCH)).collect()))
}
