//! The command line of Trapline: parses, calls a library, prints.
//!
//! Results go to standard output, progress and messages to standard error. Exit status: 0 done; 1 a divergence or a
//! difference was found, or a condition of `--fail-if` holds;
//! 2 the request could not be carried out; 130 Ctrl-C, with the trace whole.

/// Prints a line on standard output. Whoever reads it may stop reading: an error like any other, not a panic.
macro_rules! say {
    ($($arg:tt)*) => { std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($arg)*)))? };
}

mod args;
mod demo;
mod diff;
mod doctor;
mod export;
mod guest;
mod hex;
mod inspect;
mod interrupt;
mod learn;
mod preemption;
mod prices;
mod progress;
mod record;
mod replay;
mod report;
mod safe;
mod stacks;
mod state;
mod terminal;
mod triple_fault;

use args::{Cli, Verb};
use clap::Parser;
use std::process::ExitCode;

/// Exit status: a divergence was found.
pub const DIVERGED: u8 = 1;
/// Exit status: two recordings differ.
pub const DIFFERENT: u8 = 1;
/// Exit status: a condition of `--fail-if` holds.
pub const CONDITION_HOLDS: u8 = 1;
/// Exit status: the request could not be carried out.
pub const FAILED: u8 = 2;
/// Exit status: Ctrl-C.
pub const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.verb {
        Verb::Doctor { json, calibrate: false, .. } => doctor::run(json),
        Verb::Doctor { json, prices, .. } => prices::calibrate(prices.as_deref(), json),
        Verb::Demo { output, quiet } => demo::run(output, quiet),
        Verb::Record(args) => record::run(&args, cli.verbose),
        Verb::Learn(args) => learn::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Inspect(args) => inspect::run(&args, cli.verbose),
        Verb::Diff(args) => diff::run(&args),
        Verb::Export(args) => export::run(&args),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trapline: {}", trapline_formats::printable(message(&error).as_bytes(), true));
            ExitCode::from(FAILED)
        }
    }
}

/// An error with its causes; a cause that a message already quotes is not said twice.
fn message(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        if said.contains(&cause) {
            said
        } else if said.is_empty() {
            cause
        } else {
            said + ": " + &cause
        }
    })
}

/// Whoever reads our output may stop reading: `trapline inspect --exits .. | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|e| {
        e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
