//! The command line.

use crate::prices::PricesArg;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use trapline_analyzer::{Condition, SymbolFile};
use trapline_recorder::Every;

/// Record any KVM guest, replay it exactly, and price every instruction that trapped.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Say more: once for notes, twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// What this host's KVM can do, measured with built-in probe guests.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Measure what each kind of exit costs here, and what recording adds, and keep it for reports.
        #[arg(long)]
        calibrate: bool,
        /// Keep the price list here, instead of in the user's state directory.
        #[arg(long, value_name = "FILE", requires = "calibrate")]
        prices: Option<PathBuf>,
    },
    /// Record, replay and report a built-in guest: the first minute.
    Demo {
        /// Keep the trace here.
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// No progress bars.
        #[arg(long)]
        quiet: bool,
    },
    /// Run a guest and write everything it could not have known by itself to a trace.
    Record(Box<Record>),
    /// Find clock reads and random numbers that disassembly does not reach, by watching which of them execute.
    Learn(Box<Learn>),
    /// Reproduce a recorded run from its trace, and compare everything the guest shows.
    Replay(Replay),
    /// What each trapped instruction costs.
    Report(Report),
    /// What a trace holds.
    Inspect(Inspect),
    /// Where two recordings part, exit by exit, and what else differs. Exit status 1 where they do.
    Diff(Diff),
    /// Write a trace in another format: a row per exit, or a profile.
    Export(Export),
}

/// The guest, and what it is booted with.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("guest").required(true).multiple(true).args(["firmware", "kernel", "multiboot", "flat"])))]
#[command(group(ArgGroup::new("booted").args(["kernel", "multiboot"])))]
pub struct GuestArgs {
    /// Boot this firmware ROM from the reset vector.
    #[arg(long, value_name = "ROM", conflicts_with_all = ["multiboot", "flat"])]
    pub firmware: Option<PathBuf>,
    /// An option ROM for the firmware, as QEMU's `linuxboot.bin`, which boots the --kernel by its real-mode entry. Once for each.
    #[arg(long, value_name = "FILE", requires = "firmware")]
    pub option_rom: Vec<PathBuf>,
    /// Boot this kernel: a bzImage or an ELF file vmlinux.
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["multiboot", "flat"])]
    pub kernel: Option<PathBuf>,
    /// The kernel's initial RAM disk.
    #[arg(long, value_name = "FILE", requires = "kernel", conflicts_with_all = ["multiboot", "flat"])]
    pub initrd: Option<PathBuf>,
    /// Boot this multiboot 1 kernel: a 32-bit ELF file, or any file whose header says where it goes.
    #[arg(long, value_name = "ELF", conflicts_with = "flat")]
    pub multiboot: Option<PathBuf>,
    /// A module for the multiboot kernel, and the text that goes with it (without one, its name). Give it once for each.
    #[arg(long, value_name = "FILE[=TEXT]", requires = "multiboot", conflicts_with_all = ["firmware", "kernel", "flat"])]
    pub module: Vec<String>,
    /// The kernel's command line, word for word.
    #[arg(long, default_value = "", value_name = "TEXT", requires = "booted", allow_hyphen_values = true)]
    pub cmdline: String,
    /// How the kernel is entered.
    #[arg(long, default_value = "auto", requires = "kernel", conflicts_with = "firmware")]
    pub protocol: BootProtocol,
    /// Load this flat image at 0x8000 and enter it there.
    #[arg(long, value_name = "FILE")]
    pub flat: Option<PathBuf>,
    /// The mode a flat image is entered in.
    #[arg(long, default_value = "64", value_name = "BITS")]
    pub mode: FlatMode,
    /// Guest memory: a number of bytes, or with a suffix K, M, G.
    #[arg(long, default_value = "64M", value_parser = bytes, value_name = "SIZE")]
    pub memory: u64,
}

#[derive(Debug, Args)]
pub struct Record {
    #[command(flatten)]
    pub guest: GuestArgs,
    /// Where the trace goes.
    #[arg(short, long, default_value = "run.trap")]
    pub output: PathBuf,
    /// Replace an existing trace.
    #[arg(long)]
    pub force: bool,
    /// What moves the time of the guest's devices. `virtual`: a fixed step per exit, so that two recordings are identical.
    #[arg(long, default_value = "host")]
    pub clock: Clock,
    /// Where interrupts may be given to the guest. `positions`: between exits, too, so that a guest that computes without an exit gets
    /// its timer in time; the trace carries the state at each. Needs `--clock host`.
    #[arg(long, default_value = "exits")]
    pub preempt: Preempt,
    /// End after this much host time: 30s, 500ms, 2m.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// End after this many exits.
    #[arg(long, value_name = "N")]
    pub max_exits: Option<u64>,
    /// End when a line on a console matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub until_console: Option<String>,
    /// Type the content of this file at the serial console; `-`: standard input.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// A disk on virtio-blk; `,readonly` behind it: the guest cannot write to it. The image is never changed: what the guest writes
    /// is gone with it. Once for each disk.
    #[arg(long, value_name = "FILE[,readonly]")]
    pub disk: Vec<String>,
    /// Write what the guest reads from its disks to the trace: a replay then needs no image.
    #[arg(long, requires = "disk")]
    pub disk_in_trace: bool,
    /// Give the guest a virtio console (Linux: `console=hvc0`): what is typed goes there, and no longer to COM1.
    #[arg(long)]
    pub virtio_console: bool,
    /// Give the guest a virtio entropy device.
    #[arg(long)]
    pub entropy: bool,
    /// Give the guest a network card. `user`: what it connects to at 10.0.2.2 is connected to this host's loopback interface
    /// (the guest is 10.0.2.15/24), and forwarded ports of that interface lead to it. `tap`: on this interface. `feed`: it is given the
    /// frames of a pcap or pcapng file, by the clock of its devices.
    #[arg(long, value_name = "user[,forward=HOSTPORT:GUESTPORT...]|tap=NAME|feed=FILE")]
    pub net: Option<String>,
    /// Run the same machine without log, digests and timing: the baseline of our own overhead.
    #[arg(long)]
    pub no_log: bool,
    /// Rewrite what `trapline learn` found in this guest, too.
    #[arg(long, value_name = "FILE")]
    pub sites: Option<PathBuf>,
    /// Write complete state and memory every so many exits, to start a replay from; `none`: never.
    #[arg(long, value_name = "EXITS|none", default_value_t = KeyframesArg(Some(Every::KEYFRAME)))]
    pub keyframes: KeyframesArg,
    /// Write what a replay compares beside the general registers, the rest of the CPU and every page that changed, every so many
    /// exits; `every-exit`: to hunt for a divergence.
    #[arg(long, value_name = "EXITS|every-exit", default_value_t = DigestArg(Every::DIGEST))]
    pub digest: DigestArg,
    /// Neither console nor progress.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Learn {
    #[command(flatten)]
    pub guest: GuestArgs,
    /// Where what is learned goes, after each run. If the file is there, learning goes on where it ended.
    #[arg(short, long, default_value = "learned.sites")]
    pub output: PathBuf,
    /// End each run after this much host time: 30s, 500ms, 2m.
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "10s")]
    pub timeout: Duration,
    /// End each run after this many exits.
    #[arg(long, value_name = "N")]
    pub max_exits: Option<u64>,
    /// End each run when a line on a console matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub until_console: Option<String>,
    /// No progress.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// The trace.
    pub trace: PathBuf,
    /// Start at the last keyframe before this exit, instead of at the start.
    #[arg(long, value_name = "EXIT")]
    pub from: Option<u64>,
    /// Stop after this exit.
    #[arg(long, value_name = "EXIT")]
    pub until: Option<u64>,
    /// The image of the guest's disk, where the trace does not hold what was read from it. Once for each disk.
    #[arg(long, value_name = "FILE")]
    pub disk: Vec<PathBuf>,
    /// Replay so many times; stop at the first divergence.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub repeat: u64,
    /// Print what the guest printed, as it printed it: escape sequences reach your terminal.
    #[arg(long)]
    pub console: bool,
    /// No progress.
    #[arg(long)]
    pub quiet: bool,
}

/// What functions are called, and who called them.
#[derive(Debug, Args)]
pub struct Naming {
    /// Name functions by this file: ELF, bzImage, System.map or /proc/kallsyms text; `@0xADDRESS` behind it moves it. A Linux
    /// kernel in the trace names itself.
    #[arg(long, value_name = "FILE[@ADDRESS]")]
    pub symbols: Vec<SymbolFile>,
    /// Name no functions.
    #[arg(long, conflicts_with = "symbols")]
    pub no_symbols: bool,
    /// Who called: replay the recording once, here, and unwind the guest's stack at every exit. By instruction.
    #[arg(long)]
    pub stacks: bool,
    /// With --stacks: as for `trapline replay`.
    #[arg(long, value_name = "FILE", requires = "stacks")]
    pub disk: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Report {
    /// The trace.
    pub trace: PathBuf,
    /// What a row stands for.
    #[arg(long, default_value = "instruction")]
    pub by: By,
    #[command(flatten)]
    pub naming: Naming,
    /// Price exits by this list (`trapline doctor --calibrate` makes one), or `none`: by the shortest intervals of the trace.
    /// Otherwise by the list kept for the trace's host, if there is one.
    #[arg(long, value_name = "FILE|none")]
    pub prices: Option<PricesArg>,
    /// Compare with this recording, site by site: more or fewer exits, slower or faster. By instruction; text, HTML or JSON.
    #[arg(long, value_name = "TRACE", conflicts_with = "stacks")]
    pub against: Option<PathBuf>,
    /// With --against: differences of less than this many percent are none.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, requires = "against", value_parser = percent)]
    pub least_change: f64,
    /// Leave with status 1 where this holds, as `count(COM1) > 1000`: count, cost_ms, cost_percent or vmm_ms of a kind of exit,
    /// device, function or address (docs/ci.md). Repeatable.
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Condition>,
    /// Only the first N rows; 0: all. The text report shows 20 unless told otherwise, files hold all.
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// The form of the report.
    #[arg(long, default_value = "text")]
    pub format: Format,
    /// How often each time occurred: of JSON, in it; of CSV and Parquet, that table instead of the rows.
    #[arg(long)]
    pub histograms: bool,
    /// Write the report here.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Replace an existing file.
    #[arg(long)]
    pub force: bool,
    /// No progress.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// The trace.
    pub trace: PathBuf,
    /// List these exits: A..B (B not included), A.., ..B, or one number.
    #[arg(long, value_parser = range, value_name = "A..B", allow_hyphen_values = true)]
    pub exits: Option<ExitRange>,
    /// Replay to this exit, here, and show the guest behind it: registers, and the code that comes next.
    #[arg(long, value_name = "EXIT", conflicts_with = "exits")]
    pub state: Option<u64>,
    /// With --state: how the page tables translate this linear address, and what stands there.
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "state")]
    pub address: Option<u64>,
    /// With --address: so many bytes.
    #[arg(long, value_name = "N", default_value_t = 64, requires = "address", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub length: u32,
    /// With --address: the address is guest-physical.
    #[arg(long, requires = "address")]
    pub physical: bool,
    /// With --state: as for `trapline replay`.
    #[arg(long, value_name = "FILE", requires = "state")]
    pub disk: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// The first trace.
    pub a: PathBuf,
    /// The second.
    pub b: PathBuf,
    /// Name functions by this file, as for `trapline report`: of both traces. A Linux kernel in a trace names itself.
    #[arg(long, value_name = "FILE[@ADDRESS]")]
    pub symbols: Vec<SymbolFile>,
    /// Name no functions.
    #[arg(long, conflicts_with = "symbols")]
    pub no_symbols: bool,
    /// As for `trapline report`.
    #[arg(long, value_name = "FILE|none")]
    pub prices: Option<PricesArg>,
    /// Rows of each table in the text; 0: all. JSON has all.
    #[arg(long, value_name = "N", conflicts_with = "json")]
    pub top: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Write it here.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Replace an existing file.
    #[arg(long)]
    pub force: bool,
    /// No progress.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The trace.
    pub trace: PathBuf,
    /// The format.
    #[arg(long, value_name = "FORMAT")]
    pub to: ExportFormat,
    #[command(flatten)]
    pub naming: Naming,
    /// As for `trapline report`; of profiles.
    #[arg(long, value_name = "FILE|none")]
    pub prices: Option<PricesArg>,
    /// What changed since this recording, as for `trapline report`: `--to folded` has two numbers a line, before (of this one) and
    /// now; `--to flamegraph` is as wide as now, red where it is more than before and blue where it is less.
    #[arg(long, value_name = "TRACE")]
    pub against: Option<PathBuf>,
    /// Where it goes.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Replace an existing file.
    #[arg(long)]
    pub force: bool,
    /// No progress.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FlatMode {
    #[value(name = "16")]
    Bits16,
    #[value(name = "32")]
    Bits32,
    #[value(name = "64")]
    Bits64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BootProtocol {
    /// Linux by its 64-bit protocol, any other ELF file by PVH where it has that entry.
    Auto,
    /// PVH, in 32-bit mode.
    Pvh,
    /// Linux's 64-bit protocol.
    Linux64,
    /// Linux's 32-bit protocol.
    Linux32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Clock {
    /// Timers follow host time.
    Host,
    /// Time advances by a fixed step per exit and jumps to the next deadline at HLT.
    Virtual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preempt {
    /// After exits, and at interrupt windows.
    Exits,
    /// Also between exits.
    Positions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Instruction, kind of exit, and port, address or MSR.
    Instruction,
    /// Function.
    Symbol,
    /// Kind of exit.
    Reason,
    /// Device.
    Device,
    /// Port, address or MSR.
    Address,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    Csv,
    Parquet,
    /// One page for a browser, offline, with pictures; by instruction.
    Html,
    /// A log for the tools of HdrHistogram: two tagged histograms for each row, in nanoseconds.
    Hdr,
    /// The percentile distribution of the VMM times of all exits but HLT, for HdrHistogram's plotter, in microseconds.
    Hgrm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One row per exit.
    Parquet,
    /// A profile for profiler.firefox.com.
    Firefox,
    /// Track events for ui.perfetto.dev.
    Perfetto,
    /// A profile for pprof, compressed.
    Pprof,
    /// Folded stacks for flame graphs, in nanoseconds.
    Folded,
    /// An interactive flame graph, as SVG for a browser.
    #[value(name = "flamegraph")]
    FlameGraph,
}

/// Exits from one keyframe to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyframesArg(pub Option<NonZeroU64>);

impl FromStr for KeyframesArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = || text.parse().map_err(|_| "a number of exits, from 1 on, or `none`".to_owned());
        if text == "none" { Ok(Self(None)) } else { number().map(|n| Self(Some(n))) }
    }
}

impl fmt::Display for KeyframesArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(exits) => exits.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// Exits from one checkpoint to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestArg(pub NonZeroU64);

impl FromStr for DigestArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = || text.parse().map_err(|_| "a number of exits, from 1 on, or `every-exit`".to_owned());
        if text == "every-exit" { Ok(Self(NonZeroU64::MIN)) } else { number().map(Self) }
    }
}

impl fmt::Display for DigestArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A half-open range of exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitRange {
    pub start: u64,
    pub end: u64,
}

fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((i, 'k' | 'K')) => (&text[..i], 10),
        Some((i, 'm' | 'M')) => (&text[..i], 20),
        Some((i, 'g' | 'G')) => (&text[..i], 30),
        _ => (text, 0),
    };
    let number: u64 =
        digits.parse().map_err(|_| "a size is a number, with K, M or G behind it if you like".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more than 64 bits can count".to_owned())
}

fn address(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| "an address is a number, hexadecimal with 0x before it".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|_| "a number of percent".to_owned())?;
    if (0.0..=1e6).contains(&number) { Ok(number) } else { Err("no less than 0".into()) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((text, 1.0));
    let value: f64 =
        number.parse().map_err(|_| "a time is a number and a unit: 500ms, 30s, 2m".to_owned())?;
    Duration::try_from_secs_f64(value * unit).map_err(|e| e.to_string())
}

fn range(text: &str) -> Result<ExitRange, String> {
    let number = |t: &str, default| {
        if t.is_empty() { Ok(default) } else { t.parse().map_err(|_| format!("`{t}` is no exit")) }
    };
    match text.split_once("..") {
        Some((a, b)) => {
            let range = ExitRange { start: number(a, 0)?, end: number(b, u64::MAX)? };
            if range.start <= range.end { Ok(range) } else { Err("it ends before it begins".into()) }
        }
        None => number(text, 0).map(|start| ExitRange { start, end: start.saturating_add(1) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_times_and_ranges_are_read_as_people_write_them() {
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("4096"), Ok(4096));
        assert!(bytes("many").is_err() && bytes("99999999999G").is_err());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("-1s").is_err());
        assert_eq!(range("3..7"), Ok(ExitRange { start: 3, end: 7 }));
        assert_eq!(range("..7"), Ok(ExitRange { start: 0, end: 7 }));
        assert_eq!(range("5"), Ok(ExitRange { start: 5, end: 6 }));
        assert!(range("7..3").is_err());
    }
}
