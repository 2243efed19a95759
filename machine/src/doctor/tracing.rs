//! What the host lets us see from outside: tracepoints and performance counters.

#![expect(clippy::unnecessary_wraps, reason = "every probe has one signature")]

use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use super::tables::Mode;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

pub(super) const PROBES: &[Probe] = &[
    Probe("perf-paranoid", "perf_event_paranoid", paranoid),
    Probe("tracefs", "Tracepoints (tracefs)", tracefs),
    Probe("kvm-exit", "Tracepoint kvm:kvm_exit", |_| Ok(exists("kvm_exit"))),
    Probe("kvm-exit-fires", "kvm:kvm_exit fires", |lab| fires(lab, "kvm_exit")),
    Probe("kvm-entry-fires", "kvm:kvm_entry fires", |lab| fires(lab, "kvm_entry")),
    Probe("kvm-pio-fires", "kvm:kvm_pio fires", |lab| fires(lab, "kvm_pio")),
    Probe("pmu", "Instruction counter of the host", pmu),
    Probe("pmu-guest", "Instruction counter for guests", pmu_guest),
];

const NO_TRACEPOINTS: &str =
    "The kernel's share of an exit is estimated from the price list instead of measured.";
/// Exits that the probe guest makes.
const EXITS: usize = 10;

fn paranoid(_: &Lab<'_>) -> Answered {
    let value = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    Ok(match value.map(|v| v.trim().to_owned()) {
        Ok(level) => Answer::info(level),
        Err(e) => Answer::info(format!("not readable: {e}")),
    })
}

/// Where tracefs is mounted, or why it cannot be read.
fn events() -> Result<PathBuf, String> {
    let mut why = "not mounted".to_owned();
    for place in ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"] {
        match fs::read_dir(place) {
            Ok(_) => return Ok(PathBuf::from(place)),
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                why = format!("{place} is for root only");
            }
            Err(_) => {}
        }
    }
    Err(why)
}

fn tracefs(_: &Lab<'_>) -> Answered {
    Ok(match events() {
        Ok(place) => Answer::good(format!("readable: {}", place.display())),
        Err(why) => Answer::limits(why, NO_TRACEPOINTS),
    })
}

fn id(event: &str) -> Option<u64> {
    let path = Path::new(&events().ok()?).join("kvm").join(event).join("id");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn exists(event: &str) -> Answer {
    match id(event) {
        Some(id) => Answer::good(format!("exists, number {id}")),
        None => Answer::info("not to be seen"),
    }
}

/// `struct perf_event_attr`, version 0, the fields that matter here (perf_event_open(2)).
#[repr(C)]
#[derive(Default)]
struct EventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample: [u64; 3],
    flags: u64,
    rest: [u64; 2],
}

const HARDWARE: u32 = 0;
const TRACEPOINT: u32 = 2;
const INSTRUCTIONS: u64 = 1;
const EXCLUDE_HOST: u64 = 1 << 19;
/// PERF_FLAG_FD_CLOEXEC.
const CLOSE_ON_EXEC: u64 = 1 << 3;

/// A counter of this thread.
fn open_counter(kind: u32, config: u64, flags: u64) -> Result<fs::File, std::io::Error> {
    let attr = EventAttr { kind, size: size_of::<EventAttr>() as u32, config, flags, ..Default::default() };
    // SAFETY: perf_event_open reads `size` bytes, all of `attr`, which lives through the call; thread 0 is this one, on any
    // CPU, in no group.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, 0, -1, -1, CLOSE_ON_EXEC) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }.into())
}

fn count(counter: &mut fs::File) -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(counter, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn fires(lab: &Lab<'_>, event: &str) -> Answered {
    let Some(id) = id(event) else { return Ok(Answer::info("not to be seen")) };
    let mut counter = match open_counter(TRACEPOINT, id, 0) {
        Ok(counter) => counter,
        Err(e) => return Ok(Answer::info(format!("not to be counted: {e}"))),
    };
    // loop: out 0x80, al; jmp loop
    let mut guest = lab.guest(Mode::Long, &[0xe6, 0x80, 0xeb, 0xfc])?;
    let before = count(&mut counter).unwrap_or(0);
    for _ in 0..EXITS {
        guest.run();
    }
    let seen = count(&mut counter).unwrap_or(0).saturating_sub(before);
    Ok(Answer::good_if(
        seen >= EXITS as u64,
        if seen == 0 { "never".to_owned() } else { format!("yes: {seen} times in {EXITS} exits") },
        NO_TRACEPOINTS,
    ))
}

fn pmu(_: &Lab<'_>) -> Answered {
    Ok(match open_counter(HARDWARE, INSTRUCTIONS, 0) {
        Ok(_) => Answer::info("there"),
        Err(e) => Answer::info(format!("no: {e}"))
            .meaning("Nothing depends on one; it would shorten the search for a position."),
    })
}

fn pmu_guest(lab: &Lab<'_>) -> Answered {
    let Ok(mut counter) = open_counter(HARDWARE, INSTRUCTIONS, EXCLUDE_HOST) else {
        return Ok(Answer::info("no"));
    };
    // mov ecx, 100000; loop: dec ecx; jnz loop; out
    let code = super::guest::with_end(Mode::Long, &[0xb9, 0xa0, 0x86, 0x01, 0x00, 0xff, 0xc9, 0x75, 0xfc]);
    let mut guest = lab.guest(Mode::Long, &code)?;
    let mut counts = Vec::new();
    for _ in 0..5 {
        guest.start(|_| {})?;
        let before = count(&mut counter).unwrap_or(0);
        guest.run();
        counts.push(count(&mut counter).unwrap_or(0).saturating_sub(before));
    }
    let (min, max) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
    Ok(Answer::info(if *max == 0 {
        "counts nothing".to_owned()
    } else if min == max {
        format!("the same each time: {min} for 200,002")
    } else {
        format!("{min} to {max} for 200,002")
    }))
}
