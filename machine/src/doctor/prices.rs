//! The price list: how long KVM_RUN takes for each kind of exit, in a guest that does nothing else.
//!
//! Every round measures every kind, so that a host that is slow for a while is slow for all of them. A round's value is the
//! median of its exits; a price is the median of the rounds, and what little else the guest executed is subtracted.

use super::guest::{Guest, MMIO, with_end};
use super::lab::{Lab, Msrs, Setup};
use super::stop::Stop;
use super::tables::Mode;
use crate::error::MachineError;
use crate::statistics::{median, median_interval};
use kvm_ioctls::{Kvm, SyncReg};
use std::time::Duration;
use trapline_formats::{Estimate, ExitKind, MsrRange, Price, Unpriced};

/// Rounds.
pub const PRICE_ROUNDS: usize = 31;
/// Exits of each kind in a round.
pub const PRICE_EXITS: usize = 200;
/// Exits of a round that come first and do not count.
const WARM_UP: usize = 20;
/// Guests that exit all the time may take this long.
const LIMIT: Duration = Duration::from_secs(5);
/// SYSENTER_CS (SDM vol. 4): an MSR of every processor.
const MSR: u64 = 0x174;

/// A loop around one instruction that exits.
struct ExitLoop {
    kind: ExitKind,
    what: &'static str,
    code: &'static [u8],
    /// Instructions executed from one exit to the next that do not exit.
    others: u32,
    is_it: fn(Stop) -> bool,
}

const KINDS: &[ExitLoop] = &[
    ExitLoop {
        kind: ExitKind::PortRead,
        what: "IN, one byte",
        code: &[
            0xe4, 0x80, // loop: in al, 0x80
            0xeb, 0xfc, // jmp loop
        ],
        others: 1,
        is_it: |stop| matches!(stop, Stop::PortRead(0x80, ..)),
    },
    ExitLoop {
        kind: ExitKind::PortWrite,
        what: "OUT, one byte",
        code: OUT,
        others: 1,
        is_it: |stop| matches!(stop, Stop::PortWrite(0x80, _)),
    },
    ExitLoop {
        kind: ExitKind::MmioRead,
        what: "MOV from memory of nobody, four bytes",
        code: &[
            0x8b, 0x03, // loop: mov eax, [rbx]
            0xeb, 0xfc, // jmp loop
        ],
        others: 1,
        is_it: |stop| matches!(stop, Stop::MmioRead(..)),
    },
    ExitLoop {
        kind: ExitKind::MmioWrite,
        what: "MOV to memory of nobody, four bytes",
        code: &[
            0x89, 0x03, // loop: mov [rbx], eax
            0xeb, 0xfc, // jmp loop
        ],
        others: 1,
        is_it: |stop| matches!(stop, Stop::MmioWrite(..)),
    },
    ExitLoop {
        kind: ExitKind::MsrRead,
        what: "RDMSR that KVM does not answer",
        // RDMSR leaves ECX as it is.
        code: &[
            0x0f, 0x32, // loop: rdmsr
            0xeb, 0xfc, // jmp loop
        ],
        others: 1,
        is_it: |stop| matches!(stop, Stop::MsrRead(..)),
    },
    ExitLoop {
        kind: ExitKind::MsrWrite,
        what: "WRMSR that KVM does not take",
        code: &[
            0x0f, 0x30, // loop: wrmsr
            0xeb, 0xfc, // jmp loop
        ],
        others: 1,
        is_it: |stop| matches!(stop, Stop::MsrWrite(..)),
    },
    ExitLoop {
        kind: ExitKind::Halt,
        what: "HLT, woken at once (no cost in a report: waiting)",
        code: &[
            0xf4, // loop: hlt
            0xeb, 0xfd, // jmp loop
        ],
        others: 1,
        is_it: |stop| matches!(stop, Stop::Halt),
    },
    ExitLoop {
        kind: ExitKind::InterruptWindow,
        what: "an interrupt window that is open already",
        // The guest is out again before it executes anything, or the window opens late.
        code: &[
            0xff, 0xc1, // loop: inc ecx
            0xeb, 0xfc, // jmp loop
        ],
        others: 0,
        is_it: |stop| matches!(stop, Stop::Window),
    },
    ExitLoop {
        kind: ExitKind::SetTpr,
        what: "MOV to CR8 that lowers it",
        code: &[
            0x44, 0x0f, 0x22, 0xc2, // loop: mov cr8, rdx
            0xeb, 0xfa, // jmp loop
        ],
        others: 1,
        is_it: |stop| matches!(stop, Stop::SetTpr),
    },
    ExitLoop {
        kind: ExitKind::ClockRead,
        what: "RDTSC, rewritten: OUT imm8, AL",
        code: OUT,
        others: 1,
        is_it: |stop| matches!(stop, Stop::PortWrite(0x80, _)),
    },
    ExitLoop {
        kind: ExitKind::Unfinished,
        what: "MOVQ to XMM0 from memory of nobody",
        // It is not finished here: each entry comes to it again.
        code: &[0xf3, 0x0f, 0x7e, 0x03], // movq xmm0, [rbx]
        others: 0,
        is_it: |stop| matches!(stop, Stop::EmulationFailure),
    },
    ExitLoop {
        kind: ExitKind::RandomRead,
        what: "RDRAND, rewritten: OUT imm8, AL",
        code: OUT,
        others: 1,
        is_it: |stop| matches!(stop, Stop::PortWrite(0x80, _)),
    },
];

const OUT: &[u8] = &[
    0xe6, 0x80, // loop: out 0x80, al
    0xeb, 0xfc, // jmp loop
];

/// Why what is not in the list of kinds is not.
const LEFT_OUT: &[(ExitKind, &str)] =
    &[(ExitKind::Shutdown, "a triple fault ends the guest: there is one in a recording at most")];

/// What there is to say of a host's exits.
#[derive(Debug)]
pub struct Prices {
    /// The kinds that were measured.
    pub prices: Vec<Price>,
    /// The kinds that were not.
    pub unpriced: Vec<Unpriced>,
}

/// Measures the exit path of every kind of exit that can be provoked. Takes a few seconds.
pub fn measure_prices(kvm: &Kvm, progress: &mut dyn FnMut(&str)) -> Result<Prices, MachineError> {
    let lab = Lab::new(kvm)?;
    // A filter must allow something (KVM API 4.97): MTRRCAP.
    let setup = Setup { msrs: Msrs::Only(vec![MsrRange { start: 0xfe, end: 0xff }]), ..Setup::default() };
    let mut guest = lab.build(&setup, Mode::Long, &[])?;
    // As a recording has it: KVM copies the general registers at every exit.
    if lab.kvm.check_extension_int(kvm_ioctls::Cap::SyncRegs) as u64 & SyncReg::Register as u64 != 0 {
        guest.vcpu.set_sync_valid_reg(SyncReg::Register);
    }
    let mut rounds: Vec<Result<Vec<f64>, String>> = KINDS.iter().map(|_| Ok(Vec::new())).collect();
    let mut instructions = Vec::new();
    for round in 1..=PRICE_ROUNDS {
        progress(&format!("what exits cost, round {round} of {PRICE_ROUNDS}"));
        instructions.extend(instruction(&mut guest)?);
        for (kind, rounds) in KINDS.iter().zip(&mut rounds) {
            let Ok(medians) = rounds else { continue };
            match exits(&mut guest, kind)? {
                Ok(ticks) => medians.push(ticks),
                Err(why) => *rounds = Err(why),
            }
        }
    }
    let ns = |ticks: f64| (ticks * 1e10 / lab.tick_hz as f64).round() / 10.0;
    let instruction = median(instructions);
    let mut found = Prices { prices: Vec::new(), unpriced: Vec::new() };
    for (kind, rounds) in KINDS.iter().zip(rounds) {
        match rounds.map(median_interval) {
            Ok(Some(interval)) => {
                let guest = f64::from(kind.others) * instruction;
                let path = |ticks: f64| ns((ticks - guest).max(0.0));
                let path_ns = Estimate {
                    low: path(interval.low),
                    median: path(interval.median),
                    high: path(interval.high),
                };
                found.prices.push(Price {
                    kind: kind.kind,
                    what: kind.what.into(),
                    path_ns,
                    guest_ns: ns(guest),
                });
            }
            Ok(None) => found.unpriced.push(unpriced(kind.kind, "too few rounds".into())),
            Err(why) => found.unpriced.push(unpriced(kind.kind, format!("{}: {why}", kind.what))),
        }
    }
    found.unpriced.extend(LEFT_OUT.iter().map(|&(kind, why)| unpriced(kind, why.into())));
    Ok(found)
}

fn unpriced(kind: ExitKind, why: String) -> Unpriced {
    Unpriced { kind, why }
}

/// The median of the ticks of one round of exits; or what the guest came to instead.
fn exits(guest: &mut Guest, kind: &ExitLoop) -> Result<Result<f64, String>, MachineError> {
    guest.load(kind.code)?;
    // OSFXSR, without which there is no SSE.
    guest.set_sregs(|s| s.cr4 |= 0x200)?;
    guest.start(|r| {
        r.rbx = MMIO;
        r.rcx = MSR;
    })?;
    guest.allow(LIMIT);
    let mut samples = Vec::with_capacity(PRICE_EXITS);
    for exit in 0..WARM_UP + PRICE_EXITS {
        let page = guest.page.get_mut();
        page.request_interrupt_window = (kind.kind == ExitKind::InterruptWindow).into();
        // KVM takes CR8 from here at every entry (KVM API 5, `cr8`): so that each write lowers it.
        page.cr8 = if kind.kind == ExitKind::SetTpr { 8 } else { 0 };
        let (stop, ticks) = guest.timed_run();
        if !(kind.is_it)(stop) {
            guest.page.get_mut().request_interrupt_window = 0;
            return Ok(Err(match stop {
                Stop::Kicked => "it does not exit".into(),
                stop => format!("{stop} instead"),
            }));
        }
        if exit >= WARM_UP {
            samples.push(ticks as f64);
        }
    }
    let page = guest.page.get_mut();
    (page.request_interrupt_window, page.cr8) = (0, 0);
    // None of the loops counts but that of the window.
    if guest.regs()?.rcx != MSR {
        return Ok(Err("the guest runs on before it exits".into()));
    }
    Ok(Ok(median(samples)))
}

/// Ticks of one jump, which is what probe guests execute besides; none where the loop does not come to its end.
fn instruction(guest: &mut Guest) -> Result<Option<f64>, MachineError> {
    const LOOPS: u64 = 100;
    const JUMPS: usize = 16;
    let mut code = [0xeb, 0x00].repeat(JUMPS); // loop: jmp next, ...
    code.extend([0xff, 0xce]); // dec esi
    code.extend([0x75, (-(2 * JUMPS as i8 + 4)) as u8]); // jnz loop
    guest.load(&with_end(Mode::Long, &code))?;
    let mut times = [0.0; 2];
    for (time, loops) in times.iter_mut().zip([1, 1 + LOOPS]) {
        let mut runs = Vec::new();
        for _ in 0..5 {
            guest.start(|r| r.rsi = loops)?;
            let (stop, ticks) = guest.timed_run();
            if !guest.is_end(stop) {
                return Ok(None);
            }
            runs.push(ticks as f64);
        }
        *time = median(runs);
    }
    let each = (times[1] - times[0]) / (LOOPS as f64 * (JUMPS + 2) as f64);
    Ok(Some(each.max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_exit_has_a_price_or_a_reason() {
        let prices = measure_prices(&crate::kvm::open().unwrap(), &mut |_| {}).unwrap();
        for kind in ExitKind::ALL {
            let priced = prices.prices.iter().filter(|p| p.kind == kind).count();
            let reasons = prices.unpriced.iter().filter(|u| u.kind == kind && !u.why.is_empty()).count();
            assert_eq!(priced + reasons, 1, "{kind:?}");
        }
        for price in &prices.prices {
            let Estimate { low, median, high } = price.path_ns;
            assert!(0.0 < low && low <= median && median <= high, "{price:?}");
            assert!(price.guest_ns < median, "{price:?}");
        }
        // What every engine can do.
        for kind in
            [ExitKind::PortRead, ExitKind::PortWrite, ExitKind::MmioRead, ExitKind::MsrRead, ExitKind::Halt]
        {
            assert!(prices.prices.iter().any(|p| p.kind == kind), "{:?}", prices.unpriced);
        }
    }

    #[test]
    fn a_guest_that_does_something_else_has_no_price() {
        let kvm = crate::kvm::open().unwrap();
        let mut guest = Lab::new(&kvm).unwrap().guest(Mode::Long, &[]).unwrap();
        let wrong = ExitLoop { is_it: |stop| matches!(stop, Stop::MmioRead(..)), ..KINDS[1] };
        assert_eq!(exits(&mut guest, &wrong).unwrap(), Err("port write (0x80, 0x0) instead".into()));
    }
}
