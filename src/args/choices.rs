//! What a flag lets choose among.

use clap::ValueEnum;

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
pub enum Tsc {
    /// It stands still while the guest runs, where this host has TSC scaling.
    Held,
    /// It counts.
    Free,
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
