//! Recordings and replays through the library, timed.

use regex::bytes::Regex;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trapline_formats::envelope::{BLOCK_HEADER_BYTES, BlockType};
use trapline_formats::{ClockMode, Preempt, Preemption, Spread, Trace};
use trapline_machine::doctor::{user_mode_can_call, window_is_prompt};
use trapline_machine::{Convention, Kvm, describe_host, open_and_probe, process_time, thread_time};
use trapline_recorder::devices::virtio::{self, disk::Disk};
use trapline_recorder::guest::kernel::{self, Kernel, Protocol};
use trapline_recorder::guest::{
    firmware::{self, Firmware},
    flat,
};
use trapline_recorder::pc::{Pc, PcConfig};
use trapline_recorder::{Every, Guest, RecordOptions, Recorder, Recording};
use trapline_replayer::{Outcome, Replay, ReplayOptions, replay};

const RAM: u64 = 4 << 20;

/// A KVM that has been probed.
pub struct Host {
    pub kvm: Kvm,
    convention: Convention,
    window_is_prompt: bool,
}

impl Host {
    pub fn open() -> Self {
        let (kvm, convention) = open_and_probe().unwrap();
        let window_is_prompt = window_is_prompt(&kvm).unwrap();
        Self { kvm, convention, window_is_prompt }
    }

    /// What the figures are figures of, in one line.
    pub fn describe(&self) -> String {
        let host = describe_host(&self.kvm);
        format!("{}, Linux {}, {}", host.engine, host.kernel, host.cpu_brand)
    }
}

/// A guest and where it ends.
#[derive(Clone)]
pub struct Job {
    pub name: &'static str,
    pub guest: Guest,
    pub clock: ClockMode,
    pub max_exits: Option<u64>,
    pub until_console: Option<&'static str>,
    /// The image of its disk, and whether the trace is to hold what is read from it.
    pub disk: Option<(PathBuf, bool)>,
    /// How often its complete state is written down.
    pub every: Every,
}

impl Job {
    fn flat(guest: &trapline_guests::Guest, max_exits: Option<u64>) -> Self {
        let image = flat::from_bytes(guest.image.to_vec(), flat::Mode::Bits64, RAM).unwrap();
        let clock = ClockMode::Host;
        Self {
            name: guest.name,
            guest: image,
            clock,
            max_exits,
            until_console: None,
            disk: None,
            every: Every::default(),
        }
    }

    /// One port read after the other, so many times.
    pub fn port_loop(exits: u64) -> Self {
        Self::flat(&trapline_guests::port_loop(), Some(exits))
    }

    /// A guest that computes without an exit while a timer runs.
    pub fn computing(guest: &trapline_guests::Guest) -> Self {
        let ram = if guest.name == trapline_guests::copy_64().name { trapline_guests::COPY_RAM } else { RAM };
        Self {
            guest: flat::from_bytes(guest.image.to_vec(), flat::Mode::Bits64, ram).unwrap(),
            ..Self::flat(guest, None)
        }
    }

    /// One MMIO read after the other, so many times: by MOV, or by an instruction that has to be finished for KVM.
    pub fn mmio_loop(exits: u64, is_finished: bool) -> Self {
        let guest = if is_finished { trapline_guests::finish_loop() } else { trapline_guests::mmio_loop() };
        Self::flat(&guest, Some(exits))
    }

    /// The built-in guest of `trapline demo`.
    pub fn demo() -> Self {
        Self::flat(&trapline_guests::demo(), None)
    }

    /// A guest that reads a disk from end to end.
    pub fn disk(image: &Path, in_trace: bool) -> Self {
        let guest = trapline_guests::virtio_disk_32();
        let loaded = flat::from_bytes(guest.image.to_vec(), flat::Mode::Bits32, RAM).unwrap();
        Self { guest: loaded, disk: Some((image.to_owned(), in_trace)), ..Self::flat(&guest, None) }
    }

    /// Debian's SeaBIOS until it has found nothing to boot; `None` where it is not installed.
    pub fn seabios(clock: ClockMode) -> Option<Self> {
        let path = ["target/guests/bios.bin", "/usr/share/seabios/bios.bin"].map(PathBuf::from);
        let guest = firmware::load(Firmware::of(path.iter().find(|p| p.exists())?), 64 << 20).unwrap();
        let name = "SeaBIOS";
        let until_console = Some("No bootable device");
        Some(Self { name, guest, clock, max_exits: None, until_console, disk: None, every: Every::default() })
    }

    /// A small Linux to the end of its user space, or of its first process where that cannot call the kernel; `None` where it
    /// has not been built.
    pub fn linux(host: &Host) -> Option<Self> {
        let folder =
            std::env::var_os("TRAPLINE_GUESTS").map_or_else(|| "target/guests".into(), PathBuf::from);
        let calls = user_mode_can_call(&host.kvm).unwrap();
        let (initrd, words) =
            if calls { ("shell.cpio.gz", "") } else { ("first-process.cpio.gz", PLAIN_CPU) };
        let (image, initrd) = (folder.join("linux/vmlinux"), folder.join(initrd));
        if !image.exists() || !initrd.exists() {
            return None;
        }
        let cmdline = format!("{LINUX} {words}");
        let kernel =
            Kernel { image: &image, initrd: Some(&initrd), cmdline: &cmdline, protocol: Protocol::Auto };
        let guest = kernel::load(kernel, 64 << 20).unwrap();
        let clock = ClockMode::Virtual;
        Some(Self {
            name: "Linux",
            guest,
            clock,
            max_exits: None,
            until_console: None,
            disk: None,
            every: Every::default(),
        })
    }
}

/// As in `tests/end_to_end/kernels.rs`, where the reasons stand.
const LINUX: &str = "console=ttyS0 nokaslr mitigations=off tsc=unstable panic=-1 lpj=1000000 nolapic noapic";
const PLAIN_CPU: &str =
    "clearcpuid=smap,smep,popcnt,cx16,fsgsbase,umip,erms,fsrm,pcid,invpcid,rdrand,rdseed noxsave";

/// A finished run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub exits: u64,
    /// From the first look at the guest to the last byte of the trace.
    pub time: Duration,
    /// Of it, what the thread of the vCPU was running: other programs do not count.
    pub cpu: Duration,
    /// The same of all threads, the kernel's work for them included.
    pub all_cpu: Duration,
}

impl Run {
    fn of<T>(exits: impl FnOnce(&T) -> u64, what: impl FnOnce() -> T) -> (Self, T) {
        let (cpu, all_cpu) = (thread_time(), process_time());
        let (time, result) = timed(what);
        let cpu = thread_time().saturating_sub(cpu);
        let all_cpu = process_time().saturating_sub(all_cpu);
        (Self { exits: exits(&result), time, cpu, all_cpu }, result)
    }

    /// Times something that takes so many exits.
    pub fn timed(exits: u64, what: impl FnOnce()) -> Self {
        Self::of(|()| exits, what).0
    }
}

/// Runs a guest; records it where there is an `output`.
pub fn record(host: &Host, job: &Job, output: Option<&Path>) -> Run {
    recorded(host, job, output, Preempt::Exits).0
}

/// Records a guest with interrupts between exits: what they came to, and bytes of carried positions.
pub fn record_preempted(host: &Host, job: &Job, output: &Path) -> (Preemption, u64) {
    let end = recorded(host, job, Some(output), Preempt::Positions).1.end;
    let trace = Trace::open(output).unwrap();
    let is_carried = |kind| [BlockType::Contents, BlockType::Changes, BlockType::Keyframe].contains(&kind);
    let blocks =
        trace.blocks().iter().filter(|b| BlockType::from_number(b.header.kind).is_some_and(is_carried));
    (end.preemption, blocks.map(|b| u64::from(b.header.stored) + BLOCK_HEADER_BYTES as u64).sum())
}

fn recorded(host: &Host, job: &Job, output: Option<&Path>, preempt: Preempt) -> (Run, Recording) {
    let options = RecordOptions {
        output: output.map(Path::to_owned),
        replace: true,
        clock: job.clock,
        preempt,
        timeout: Some(Duration::from_mins(10)),
        max_exits: job.max_exits,
        until_console: job.until_console.map(|p| Regex::new(p).unwrap()),
        window_is_prompt: host.window_is_prompt,
        every: job.every,
        ..RecordOptions::default()
    };
    let open = |(image, in_trace): &(PathBuf, bool)| Disk::open(image, false, *in_trace).unwrap();
    let virtio = virtio::Config { disks: job.disk.iter().map(open).collect(), ..Default::default() };
    let mut pc = Pc::new(PcConfig { virtio, ..PcConfig::of(&job.guest) });
    Run::of(
        |r: &Recording| r.end.exits,
        || {
            let recorder = Recorder::new(&host.kvm, host.convention, &job.guest, &mut pc, options).unwrap();
            recorder.record(&mut |_| {}).unwrap()
        },
    )
}

/// Replays a trace, which must be faithful.
pub fn replay_trace(host: &Host, path: &Path) -> Run {
    replay_with(host, path, &ReplayOptions::default())
}

/// The same: the time that positions between exits took, executed ones and those that were taken over.
pub fn replay_preempted(host: &Host, path: &Path, execute: bool) -> [Spread; 2] {
    let usual = ReplayOptions::default();
    let options = if execute { usual } else { ReplayOptions { attempt: Duration::ZERO, ..usual } };
    let replay = replayed(host, path, &options).1;
    [replay.executed, replay.carried]
}

/// The same, with what it needs.
pub fn replay_with(host: &Host, path: &Path, options: &ReplayOptions) -> Run {
    replayed(host, path, options).0
}

fn replayed(host: &Host, path: &Path, options: &ReplayOptions) -> (Run, Replay) {
    let (run, replay) = Run::of(
        |r: &Replay| r.exits,
        || {
            let trace = Trace::open(path).unwrap();
            replay(&host.kvm, host.convention, &trace, options, &mut |_| {}).unwrap()
        },
    );
    if let Outcome::Diverged(divergence) = &replay.outcome {
        panic!("the replay diverged:\n{divergence}");
    }
    (run, replay)
}

/// Opens a trace, goes to an exit by the nearest keyframe, and stands there.
#[allow(dead_code, reason = "a bench uses what it measures")]
pub fn seek(host: &Host, path: &Path, exit: u64) -> Run {
    let options = ReplayOptions { from: Some(exit), until: Some(exit), ..ReplayOptions::default() };
    replay_with(host, path, &options)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = what();
    (start.elapsed(), result)
}
