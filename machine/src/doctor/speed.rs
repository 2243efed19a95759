//! How fast the guest computes between exits.

use super::guest::{Guest, end};
use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use super::tables::Mode;
use crate::error::MachineError;
use crate::ticks::ticks;
use std::time::Duration;

pub(super) const PROBES: &[Probe] = &[
    Probe("speed-kernel", "Computing at CPL 0, 64-bit", |lab| speed(lab, Mode::Long)),
    Probe("speed-user", "Computing at CPL 3, 64-bit", |lab| speed(lab, Mode::User)),
];

const CODE: &[u8] = &[
    0x48, 0xff, 0xc9, // loop: dec rcx
    0x75, 0xfb, // jnz loop
];

/// Below this, KVM interprets: no processor of the last thirty years is so slow.
const INTERPRETED: f64 = 30e6;

fn speed(lab: &Lab<'_>, mode: Mode) -> Answered {
    let mut guest = lab.guest(mode, &[CODE, end(mode)].concat())?;
    let tick_hz = lab.tick_hz as f64;
    // Long enough for a loop to outweigh the exit that ends it: 4 ms.
    let enough = tick_hz / 250.0;
    let mut loops = 2000u64;
    let Some(base) = quickest(&mut guest, 1)? else { return Ok(not_at_end(mode)) };
    loop {
        // The quickest of three: a host that looks elsewhere for a while must not pass for a slow guest.
        let Some(spent) = quickest(&mut guest, loops)? else { return Ok(not_at_end(mode)) };
        let spent = spent - base;
        if spent >= enough || loops > 1 << 33 {
            return Ok(answer(2.0 * loops as f64 * tick_hz / spent.max(1.0)));
        }
        // Aim past the mark, but never by much: a clock may be coarse.
        let factor = (1.5 * enough / spent.max(1.0)).clamp(2.0, 16.0);
        loops = (loops as f64 * factor) as u64;
    }
}

fn quickest(guest: &mut Guest, loops: u64) -> Result<Option<f64>, MachineError> {
    let mut best = None;
    for _ in 0..3 {
        let Some(spent) = run(guest, loops)? else { return Ok(None) };
        best = Some(best.map_or(spent, |b: f64| b.min(spent)));
    }
    Ok(best)
}

fn answer(rate: f64) -> Answer {
    let words = if rate >= 1e9 {
        format!("{:.1} billion instructions/s", rate / 1e9)
    } else {
        format!("{:.1} million instructions/s", rate / 1e6)
    };
    if rate < INTERPRETED {
        Answer::limits(
            format!("{words}: interpreted"),
            "KVM interprets this code instruction by instruction: guests are slow here, and instructions that its \
             interpreter does not know fail (see the instructions below).",
        )
    } else {
        Answer::good(words)
    }
}

fn not_at_end(mode: Mode) -> Answer {
    Answer::limits(
        "the loop does not come to its end",
        format!("Code in {} mode does not run here.", mode.name()),
    )
}

fn run(guest: &mut Guest, loops: u64) -> Result<Option<f64>, MachineError> {
    guest.start(|r| r.rcx = loops)?;
    guest.allow(Duration::from_secs(2));
    let begin = ticks();
    let stop = guest.run();
    let spent = ticks().wrapping_sub(begin);
    Ok(guest.is_end(stop).then_some(spent as f64))
}
