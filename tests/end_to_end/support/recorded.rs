//! A recording made through the library, with the machine as the guest left it.

use super::host::Host;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use trapline_formats::{ClockMode, End, EndReason, Preempt};
use trapline_guests::{Ends, Guest, Mode};
use trapline_machine::Machine;
use trapline_recorder::guest::flat;
use trapline_recorder::pc::{Pc, PcConfig};
use trapline_recorder::platform::Platform;
use trapline_recorder::{ConsoleInput, Every, Progress, RecordOptions, Recorder};

/// RAM of an assembly guest: `mmio.s` knows where it ends.
pub const RAM: u64 = 4 << 20;
/// A guest that should end has not, if it takes this long.
const LIMIT: Duration = Duration::from_mins(2);
/// How long a guest is watched that never ends.
const WATCH: Duration = Duration::from_millis(400);

/// A finished recording.
pub struct Recorded {
    pub path: PathBuf,
    pub end: End,
    /// What was printed, by channel.
    pub console: BTreeMap<u8, Vec<u8>>,
    pub machine: Machine,
    /// Removed with the recording.
    _folder: TempDir,
}

impl Recorded {
    /// What was printed on COM1.
    pub fn com1(&self) -> &[u8] {
        self.console.get(&0).map_or(&[], Vec::as_slice)
    }
}

/// Records an assembly guest until it ends.
pub fn record(host: &Host, guest: &Guest, clock: ClockMode) -> Recorded {
    record_every(host, guest, clock, Every::default())
}

/// The same, with its complete state written down so often.
pub fn record_every(host: &Host, guest: &Guest, clock: ClockMode, every: Every) -> Recorded {
    record_flat(host, guest, RAM, RecordOptions { clock, every, ..RecordOptions::default() })
}

/// The same, with interrupts between exits.
pub fn record_preempted(host: &Host, guest: &Guest, ram_bytes: u64) -> Recorded {
    let preempt = Preempt::Positions;
    record_flat(host, guest, ram_bytes, RecordOptions { preempt, ..RecordOptions::default() })
}

/// Records an assembly guest, with what it wants typed; as long as it takes, where the options do not say how long.
pub fn record_flat(host: &Host, guest: &Guest, ram_bytes: u64, options: RecordOptions) -> Recorded {
    let limit = if guest.ends == Ends::Never { WATCH } else { LIMIT };
    let input = ConsoleInput::from_bytes(guest.types.as_bytes().to_vec());
    let timeout = options.timeout.or(Some(limit));
    record_loaded(host, &loaded(guest, ram_bytes), RecordOptions { input, timeout, ..options })
}

/// Records an assembly guest on a platform of one's own.
pub fn record_with(
    host: &Host,
    guest: &Guest,
    platform: &mut impl Platform,
    options: RecordOptions,
) -> Recorded {
    record_platform(host, &loaded(guest, RAM), platform, options)
}

fn loaded(guest: &Guest, ram_bytes: u64) -> trapline_recorder::Guest {
    let mode = match guest.mode {
        Mode::Bits16 => flat::Mode::Bits16,
        Mode::Bits32 => flat::Mode::Bits32,
        Mode::Bits64 => flat::Mode::Bits64,
    };
    flat::from_bytes(guest.image.to_vec(), mode, ram_bytes).unwrap()
}

/// Records a loaded guest into a folder of its own.
pub fn record_loaded(host: &Host, guest: &trapline_recorder::Guest, options: RecordOptions) -> Recorded {
    record_on(host, guest, PcConfig::of(guest), options)
}

/// Records a loaded guest on a PC of one's choice.
pub fn record_on(
    host: &Host,
    guest: &trapline_recorder::Guest,
    config: PcConfig,
    options: RecordOptions,
) -> Recorded {
    record_platform(host, guest, &mut Pc::new(config), options)
}

fn record_platform(
    host: &Host,
    guest: &trapline_recorder::Guest,
    platform: &mut impl Platform,
    options: RecordOptions,
) -> Recorded {
    let folder = TempDir::with_prefix("trapline-").unwrap();
    let path = folder.path().join("run.trap");
    let options =
        RecordOptions { output: Some(path.clone()), window_is_prompt: host.window_is_prompt, ..options };
    let mut console = BTreeMap::<u8, Vec<u8>>::new();
    let recorder = Recorder::new(host.kvm, host.convention, guest, platform, options).unwrap();
    let recording = recorder
        .record(&mut |progress| {
            if let Progress::Console(channel, bytes) = progress {
                console.entry(channel).or_default().extend_from_slice(bytes);
            }
        })
        .unwrap();
    keep(&path);
    Recorded { path, end: recording.end, console, machine: recording.machine, _folder: folder }
}

/// Leaves a copy of a trace for the reader in `examples/`, where somebody wants it to read them all.
fn keep(path: &Path) {
    static KEPT: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = std::env::var_os("TRAPLINE_TRACES") else { return };
    let name = format!("{}.trap", KEPT.fetch_add(1, Ordering::Relaxed));
    std::fs::copy(path, Path::new(&folder).join(name)).unwrap();
}

/// How the trace of such a guest says that it ended.
pub fn reason(ends: Ends) -> EndReason {
    match ends {
        Ends::Exit(code) => EndReason::ExitDevice(code),
        Ends::Halted => EndReason::Halted,
        Ends::Idle => EndReason::Idle,
        Ends::TripleFault => EndReason::TripleFault,
        Ends::Reset => EndReason::Reset,
        Ends::PowerOff => EndReason::PowerOff,
        Ends::Never => EndReason::Timeout,
    }
}
