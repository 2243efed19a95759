//! What reading a trace may cost, and whether it stayed within.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trapline_analyzer::{By, Diff, DiffOptions, Report, Symbols};
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{Trace, TraceError};

/// Beyond the guest's own memory.
const MOST_BYTES: u64 = 256 << 20;
/// Reading takes milliseconds; a machine that is busy with other things may need much longer.
const MOST_TIME: Duration = Duration::from_secs(30);

/// One test at a time: they measure the memory of the process.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How many cases to try: all of them in the full run.
pub fn cases(normal: u64, full: u64) -> u64 {
    if std::env::var("TRAPLINE_MATRIX").is_ok_and(|m| m == "full") { full } else { normal }
}

/// A folder in memory, where there is one: a file is written anew for each of many cases.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Does something to a trace that must neither panic nor take much, whatever the trace is.
pub fn within_bounds<T>(what: &str, work: impl FnOnce() -> T) -> T {
    // Resets the peak of resident memory (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, started) = (resident("VmRSS:"), now());
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let (taken, time) = (resident("VmHWM:").saturating_sub(before), started.elapsed());
    assert!(taken <= MOST_BYTES, "{what}: {} MiB", taken >> 20);
    assert!(time <= MOST_TIME, "{what}: {time:?}");
    result.unwrap_or_else(|_| panic!("{what}: it panicked"))
}

fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[expect(clippy::disallowed_methods, reason = "that nothing hangs is measured in host time")]
fn now() -> Instant {
    Instant::now()
}

/// Reads everything in a trace. Whether all of it could be read.
pub fn reads(path: &Path) -> bool {
    let Ok(trace) = Trace::open(path) else { return false };
    // No short circuit: all of it is to be met.
    let parts = [
        trace.damage().is_none() && trace.end().is_some(),
        trace.start_state().is_ok(),
        trace.start_memory(|_, _| {}).is_ok(),
        trace.inputs_with_digests().all(|chunk| chunk.is_ok()),
        trace.timing().all(|chunk| chunk.is_ok()),
        trace.console().all(|chunk| chunk.is_ok()),
        reads_keyframes(&trace).is_ok(),
        trace.check().is_ok_and(|damage| damage.is_none()),
    ];
    parts == [true; 8]
}

fn reads_keyframes(trace: &Trace) -> Result<(), TraceError> {
    let keyframes = trace.keyframes();
    for number in 0..keyframes.len() {
        keyframes.read(number)?;
        let changes = keyframes.changes(number)?.unwrap_or_default();
        keyframes.load(changes, |_, content| assert_eq!(content.len(), PAGE_BYTES))?;
    }
    Ok(())
}

/// The same, and that its index is believed: a stranger's is not, whose blocks moved.
pub fn is_whole(path: &Path) -> bool {
    reads(path) && Trace::open(path).is_ok_and(|trace| trace.has_index())
}

/// Reports a trace and compares it with another: damage ends either, and is no reason to panic.
pub fn report_and_compare(path: &Path, other: &Path) {
    let Ok(trace) = Trace::open(path) else { return };
    let other = Trace::open(other).unwrap();
    for trace in [&trace, &other] {
        if let Ok(report) = Report::from_trace(trace, By::Site, &mut |_| {}) {
            drop((report.to_text(None, 100), report.to_json(None)));
        }
    }
    let none = Symbols::none();
    let options = DiffOptions { symbols: [&none, &none], prices: [None, None] };
    if let Ok(diff) = Diff::of(&trace, &other, options, &mut |_| {}) {
        drop((diff.to_text(None, 100), diff.to_json()));
    }
}
