//! The command line.

mod choices;
mod guest;
mod values;

pub use choices::{By, Clock, ExportFormat, Format, Preempt, Tsc};
pub use guest::{BootProtocol, FlatMode, GuestArgs};
pub use values::{DigestArg, ExitRange, KeyframesArg};

use crate::prices::PricesArg;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;
use trapline_analyzer::{Condition, SymbolFile};
use trapline_recorder::Every;
use values::{address, duration, percent, range};

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
    /// The guest's time stamp counter, as a process or unknown code reads it. `held`: it stands still between exits, and so a replay can
    /// show it again; where this host has TSC scaling (`trapline doctor`). `free`: it counts, and what was read of it is told where it
    /// is found.
    #[arg(long, default_value = "held")]
    pub tsc: Tsc,
    /// End after this much host time: 30s, 500ms, 2m.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// End after this many exits.
    #[arg(long, value_name = "N")]
    pub max_exits: Option<u64>,
    /// End when a line on a console matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub until_console: Option<String>,
    /// Type the content of this file at the serial console; `-`: standard input, as it comes (under the virtual clock all
    /// of it at once).
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Type it once a line on a console matches this regular expression: a prompt, as far as it is printed.
    #[arg(long, value_name = "REGEX", requires = "input")]
    pub input_after: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
