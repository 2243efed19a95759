//! `trapline record`

use crate::args::{self, Clock, Record};
use crate::guest;
use crate::interrupt::on_interrupt;
use crate::preemption;
use crate::progress::{self, ConsoleOut};
use crate::terminal::RawTerminal;
use crate::triple_fault;
use crate::{FAILED, INTERRUPTED};
use anyhow::{Context, Result, bail};
use indicatif::HumanBytes;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;
use trapline_formats::{ClockMode, End, EndReason, Preempt, Space};
use trapline_machine::doctor::window_is_prompt;
use trapline_machine::open_and_probe;
use trapline_recorder::devices::virtio::{self, net::Counts};
use trapline_recorder::pc::{Pc, PcConfig};
use trapline_recorder::{
    ConsoleInput, Every, Guest, LearnedSites, Progress, RecordOptions, Recorder, StopHandle, Tsc,
};

/// Ends an interactive recording, as in telnet: Ctrl-].
const ESCAPE: u8 = 0x1d;
/// The name that stands for standard input.
const STDIN: &str = "-";

/// Runs the verb.
#[expect(clippy::disallowed_methods, reason = "elapsed time for the user's eyes only")]
pub fn run(args: &Record, verbose: u8) -> Result<u8> {
    let mut guest = guest::load(&args.guest)?;
    if let Some(path) = &args.sites {
        LearnedSites::close_from(path, &mut guest)?;
    }
    if !args.no_log && args.output.exists() && !args.force {
        bail!("{} exists: --force replaces it, -o names another file", args.output.display());
    }
    let (kvm, convention) = open_and_probe()?;
    let clock = match args.clock {
        Clock::Host => ClockMode::Host,
        Clock::Virtual => ClockMode::Virtual,
    };
    let preempt = match args.preempt {
        args::Preempt::Exits => Preempt::Exits,
        args::Preempt::Positions => Preempt::Positions,
    };
    let tsc = match args.tsc {
        args::Tsc::Held => Tsc::Held,
        args::Tsc::Free => Tsc::Free,
    };
    let virtio = devices(args, clock)?;
    let mut pc = Pc::new(PcConfig { virtio, ..PcConfig::with_clock(&guest, clock) });
    let (keys, typed) = mpsc::channel();
    let is_interactive = args.input.is_none() && !args.quiet && std::io::stdin().is_terminal();
    let is_piped = args.input.as_deref() == Some(STDIN.as_ref()) && clock == ClockMode::Host;
    let mut input = match &args.input {
        Some(_) if is_piped => ConsoleInput::live(typed),
        Some(path) => ConsoleInput::from_bytes(read_input(path)?),
        None if is_interactive => ConsoleInput::live(typed),
        None => ConsoleInput::default(),
    };
    if let Some(prompt) = regex("--input-after", args.input_after.as_deref())? {
        input = input.after(prompt);
    }
    let options = RecordOptions {
        output: (!args.no_log).then(|| args.output.clone()),
        replace: args.force,
        clock,
        preempt,
        timeout: args.timeout,
        max_exits: args.max_exits,
        until_console: regex("--until-console", args.until_console.as_deref())?,
        input,
        window_is_prompt: window_is_prompt(&kvm)?,
        every: Every { keyframe: args.keyframes.0, digest: args.digest.0 },
        tsc,
    };
    let recorder = Recorder::new(&kvm, convention, &guest, &mut pc, options)?;
    let stop = recorder.stop_handle();
    let ended = stop.clone();
    on_interrupt(move || ended.interrupt())?;
    let raw = if is_interactive { RawTerminal::enter() } else { None };
    if raw.is_some() {
        eprintln!("trapline: the keyboard is the guest's; Ctrl-] ends the recording");
    }
    // Who types, or a program that does, sees each character at once.
    let is_live = raw.is_some() || is_piped;
    if is_live {
        pass_on(keys, stop, raw.is_some());
    } else {
        drop(keys);
    }

    let bar = progress::bar(None, progress::RECORD, args.quiet || is_live);
    let mut console = ConsoleOut::beside(bar.clone(), is_live);
    let started = Instant::now();
    let result = recorder.record(&mut |progress| match progress {
        Progress::Console(channel, bytes) if !args.quiet => console.print(channel, bytes),
        Progress::Console(..) => {}
        Progress::IdleJumps(jumps) => bar.suspend(|| {
            eprintln!(
                "trapline: note: the guest has been idle through {jumps} timer deadlines of virtual time and will be for \
                 ever; Ctrl-C, --until-console, --max-exits or --timeout end such a recording"
            );
        }),
        Progress::Exits(exits, bytes) => {
            bar.set_position(exits);
            bar.set_message(HumanBytes(bytes).to_string());
        }
    });
    console.finish();
    bar.finish_and_clear();
    drop(raw);
    let recording = result.map_err(|e| readable_part(e.into(), args))?;
    let seconds = started.elapsed().as_secs_f64();
    if !args.quiet {
        summarize(args, &guest, &recording.end, recording.bytes, seconds, verbose);
        for line in preemption::lines(preempt, &recording.end.preemption) {
            eprintln!("trapline: {line}");
        }
        if recording.end.reason == EndReason::TripleFault {
            eprintln!("trapline: {}", triple_fault::place(&recording.machine.save()?));
        }
    }
    if let Some(untyped) = recording.untyped.filter(|_| args.input.is_some()) {
        eprintln!("trapline: {untyped}");
    }
    if let Some(counts) = pc.network() {
        network(&counts, args.quiet);
    }
    Ok(status(&recording.end.reason, &pc))
}

/// The exit status of a finished recording; says what else went wrong.
fn status(reason: &EndReason, pc: &Pc) -> u8 {
    let changes = pc.changed_disks();
    for (path, change) in &changes {
        let path = path.display();
        eprintln!(
            "trapline: the disk image {path}: {change}: what the guest read cannot be replayed from it"
        );
    }
    match reason {
        _ if !changes.is_empty() => FAILED,
        EndReason::Interrupted => INTERRUPTED,
        EndReason::Failed(why) => {
            eprintln!("trapline: the recording could not go on: {why}");
            FAILED
        }
        _ => 0,
    }
}

/// The virtio devices that are asked for.
fn devices(args: &Record, clock: ClockMode) -> Result<virtio::Config> {
    let wanted = virtio::Wanted {
        disks: &args.disk,
        in_trace: args.disk_in_trace,
        console: args.virtio_console,
        entropy: args.entropy,
        net: args.net.as_deref(),
    };
    let virtio = virtio::Config::open(&wanted, clock)?;
    if clock == ClockMode::Virtual && virtio.net.as_ref().is_some_and(|net| !net.follows_clock()) {
        eprintln!(
            "trapline: note: frames come in host time, under the virtual clock too: two recordings will differ"
        );
    }
    Ok(virtio)
}

/// What an option of this name is to match.
pub fn regex(option: &str, pattern: Option<&str>) -> Result<Option<regex::bytes::Regex>> {
    pattern.map(|p| regex::bytes::Regex::new(p).with_context(|| format!("{option} `{p}`"))).transpose()
}

fn read_input(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new(STDIN) {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("cannot read the console input {}", path.display()))
}

/// Passes standard input on to the guest as it comes, from a thread of its own, which ends with the process.
fn pass_on(keys: mpsc::Sender<Vec<u8>>, stop: StopHandle, has_escape: bool) {
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(n @ 1..) = std::io::stdin().read(&mut buffer) {
            if has_escape && buffer[..n].contains(&ESCAPE) {
                stop.interrupt();
                return;
            }
            if keys.send(buffer[..n].to_vec()).is_err() {
                return;
            }
            stop.wake();
        }
    });
}

fn readable_part(error: anyhow::Error, args: &Record) -> anyhow::Error {
    let error = error.context("the recording failed");
    match trapline_formats::Trace::open(&args.output) {
        Ok(_) if !args.no_log => {
            let path = args.output.display();
            error.context(format!(
                "{path} is readable up to where it was written; `trapline inspect {path}` says how far"
            ))
        }
        _ => error,
    }
}

/// What went over the network; what was lost is said in any case.
fn network(counts: &Counts, quiet: bool) {
    if !quiet {
        eprintln!("trapline: the guest received {} frames and sent {}", counts.received, counts.sent);
    }
    for (frames, why) in [
        (counts.dropped, "for the guest were dropped: it took them too slowly"),
        (counts.unsent, "of the guest were dropped: its network took them too slowly"),
        (counts.malformed, "of the guest were dropped: they were too short or too long"),
        (
            counts.unusable,
            "for the guest were left out: cut short where they were captured, too short or too long",
        ),
    ] {
        if frames > 0 {
            eprintln!("trapline: {frames} frames {why}");
        }
    }
}

/// What may close a source that executed unclosed, in a guest with so many suspects.
pub fn what_to_try(suspects: usize) -> String {
    if suspects == 0 {
        return "nothing in the image looks like it: it stands in code that was loaded, unpacked or made while the guest ran, or \
                belongs to a process; on a host with TSC scaling (`trapline doctor`) the guest's TSC can be held still"
            .into();
    }
    format!(
        "{suspects} places in the image look like one: `trapline learn` with the same guest finds those that execute, and \
         `trapline record --sites` closes them"
    )
}

fn summarize(args: &Record, guest: &Guest, end: &End, bytes: u64, seconds: f64, verbose: u8) {
    let exits = end.exits;
    eprintln!("\ntrapline: {exits} exits in {seconds:.1} s; {}", end.reason);
    if !args.no_log {
        let each = if exits == 0 { 0.0 } else { bytes as f64 / exits as f64 };
        eprintln!("trapline: {}: {}, {each:.2} bytes per exit", args.output.display(), HumanBytes(bytes));
    }
    if !end.unclosed.is_empty() {
        let first = &end.unclosed[0];
        eprintln!(
            "trapline: warning: {} executed unclosed (first seen at exit {}: {}); a replay may diverge after it",
            first.source, first.exit, first.evidence
        );
        eprintln!("trapline: {}", what_to_try(guest.suspects.len()));
    }
    if verbose > 0 {
        for u in &end.unclaimed {
            let space = match u.space {
                Space::Port => "port",
                Space::Mmio => "address",
                Space::Msr => "MSR",
            };
            eprintln!(
                "trapline: no device at {space} {:#x}: {} reads, {} writes",
                u.address, u.reads, u.writes
            );
        }
    } else if !end.unclaimed.is_empty() {
        eprintln!(
            "trapline: {} addresses have no device (reads give all ones); -v lists them",
            end.unclaimed.len()
        );
    }
}
