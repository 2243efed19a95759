//! Getting the vCPU thread out of a guest that does not exit by itself.

use super::guest::{IF, TEXT, with_end};
use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use super::stop::Stop;
use super::tables::Mode;
use crate::kick::Kicker;
use crate::ticks::ticks;
use kvm_bindings::kvm_regs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

pub(super) const PROBES: &[Probe] = &[
    Probe("immediate-exit", "immediate_exit keeps the guest from running", immediate),
    Probe("kick-kernel", "Kick of a loop at CPL 0", |lab| kicks(lab, Mode::Long, true)),
    Probe("kick-user", "Kick of a loop at CPL 3", |lab| kicks(lab, Mode::User, true)),
    Probe("kick-interrupts-off", "Kick of a loop with interrupts off", |lab| kicks(lab, Mode::Long, false)),
];

/// Comes to an end by itself, should no kick get through: 120 million instructions.
const LOOPS: u64 = 30_000_000;
const LOOP: &[u8] = &[
    0x48, 0xff, 0xc0, // loop: inc rax
    0x48, 0x89, 0xc2, // mov rdx, rax
    0x48, 0xff, 0xc9, // dec rcx
    0x75, 0xf5, // jnz loop
];

/// Whether the registers are those of an instruction boundary of the loop.
fn is_boundary(r: &kvm_regs) -> bool {
    match r.rip.wrapping_sub(TEXT) {
        0 | 9 => r.rax == r.rdx && r.rcx == LOOPS - r.rax,
        3 => r.rax == r.rdx + 1 && r.rcx == LOOPS - r.rdx,
        6 => r.rax == r.rdx && r.rcx == LOOPS - r.rax + 1,
        _ => false,
    }
}

const ROUNDS: usize = 10;

fn immediate(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::Long, LOOP)?;
    guest.page.get_mut().immediate_exit = 1;
    let stop = guest.run();
    let still = guest.regs()?.rip == TEXT;
    Ok(Answer::good_if(
        stop == Stop::Kicked && still,
        match stop {
            Stop::Kicked if still => "not one instruction".to_owned(),
            Stop::Kicked => "the guest ran before it came back".to_owned(),
            stop => stop.to_string(),
        },
        "Instructions cannot be completed without running on: positions are not exact.",
    ))
}

fn kicks(lab: &Lab<'_>, mode: Mode, interrupts: bool) -> Answered {
    let mut guest = lab.guest(mode, &with_end(mode, LOOP))?;
    let kicker = Kicker::of_this_thread();
    let (kicked_at, stop_all) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (at, stop) = (Arc::clone(&kicked_at), Arc::clone(&stop_all));
    let hand = thread::spawn(move || {
        loop {
            thread::park();
            if stop.load(Ordering::Acquire) {
                return;
            }
            thread::sleep(Duration::from_micros(500));
            at.store(ticks(), Ordering::Release);
            kicker.kick();
        }
    });
    let mut latencies = Vec::new();
    let mut odd = None;
    for _ in 0..ROUNDS {
        guest.start(|r| {
            r.rcx = LOOPS;
            r.rflags &= if interrupts { !0 } else { !IF };
        })?;
        guest.allow(Duration::from_secs(3));
        kicked_at.store(0, Ordering::Release);
        hand.thread().unpark();
        let stop = guest.run();
        let back = ticks();
        let at = kicked_at.load(Ordering::Acquire);
        if guest.is_end(stop) || stop == Stop::Kicked && at == 0 {
            odd = Some("no kick gets through".to_owned());
            break;
        }
        let regs = guest.regs()?;
        if stop != Stop::Kicked {
            odd = Some(stop.to_string());
            break;
        }
        if !is_boundary(&regs) {
            odd = Some(format!("stops inside an instruction, at +{}", regs.rip.wrapping_sub(TEXT)));
            break;
        }
        latencies.push(back.saturating_sub(at) as f64 * 1e6 / lab.tick_hz as f64);
    }
    stop_all.store(true, Ordering::Release);
    hand.thread().unpark();
    let _ = hand.join();
    if let Some(odd) = odd {
        return Ok(Answer::limits(
            odd,
            "Guests that compute like this without exits cannot be stopped: a time limit or Ctrl-C waits for an exit.",
        ));
    }
    latencies.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| latencies[latencies.len() * percent / 100];
    Ok(Answer::good(format!(
        "stops between instructions; {:.0} us ({:.0} to {:.0}) after the kick",
        at(50),
        at(10),
        at(90)
    )))
}
