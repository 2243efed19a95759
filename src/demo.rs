//! `trapline demo`: record, replay and report a built-in guest.

use crate::progress::{self, ConsoleOut};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trapline_analyzer::{By, Report};
use trapline_formats::Trace;
use trapline_machine::doctor::window_is_prompt;
use trapline_machine::open_and_probe;
use trapline_recorder::guest::flat;
use trapline_recorder::pc::{Pc, PcConfig};
use trapline_recorder::{RecordOptions, Recorder};
use trapline_replayer::{Outcome, ReplayOptions, replay};

const MEMORY: u64 = 16 << 20;
/// The demonstration runs for a tenth of a second; if it takes this long, something is wrong with KVM.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs the verb.
#[expect(clippy::disallowed_methods, reason = "elapsed time for the user's eyes only")]
pub fn run(output: Option<PathBuf>, quiet: bool) -> Result<u8> {
    let is_kept = output.is_some();
    let path = output
        .unwrap_or_else(|| std::env::temp_dir().join(format!("trapline-demo-{}.trap", std::process::id())));
    let (kvm, convention) = open_and_probe()?;

    say!("1. Recording a built-in guest: it prints, scans PCI, reads clocks, takes timer interrupts.\n");
    let guest = flat::from_bytes(trapline_guests::demo().image.to_vec(), flat::Mode::Bits64, MEMORY)?;
    let mut pc = Pc::new(PcConfig::with_ram(MEMORY));
    let options = RecordOptions {
        output: Some(path.clone()),
        replace: !is_kept,
        timeout: Some(LIMIT),
        window_is_prompt: window_is_prompt(&kvm)?,
        ..RecordOptions::default()
    };
    let bar = progress::bar(None, progress::RECORD, quiet);
    let mut console = ConsoleOut::beside(bar.clone(), false);
    let mut at_line_start = true;
    let started = Instant::now();
    let recording = Recorder::new(&kvm, convention, &guest, &mut pc, options)?.record(&mut |p| {
        if let trapline_recorder::Progress::Console(channel, bytes) = p {
            let margin: &[u8] = if std::mem::take(&mut at_line_start) { b"   | " } else { b"" };
            at_line_start = bytes.ends_with(b"\n");
            console.print(channel, &[margin, bytes].concat());
        }
    })?;
    bar.finish_and_clear();
    let (exits, seconds) = (recording.end.exits, started.elapsed().as_secs_f64());
    say!("\n   {exits} exits in {seconds:.2} s, {} bytes; {}.\n", recording.bytes, recording.end.reason);

    say!("2. Replaying it from the trace alone, without a single device.\n");
    let trace = Trace::open(&path).context("the recording just made cannot be opened")?;
    let started = Instant::now();
    let outcome = replay(&kvm, convention, &trace, &ReplayOptions::default(), &mut |_| {})?.outcome;
    let seconds = started.elapsed().as_secs_f64();
    if let Outcome::Diverged(divergence) = outcome {
        say!("{divergence}");
        bail!(
            "the replay of the built-in guest diverged: please report this, with the output of `trapline doctor`"
        );
    }
    say!("   {exits} exits in {seconds:.2} s: every port, value, instruction and register as recorded.\n");

    say!("3. What each trapped instruction costs here.\n");
    let report = Report::from_trace(&trace, By::Site, &mut |_| {})?;
    say!("{}", report.to_text(Some(10), 100));
    drop(trace);
    if is_kept {
        say!("The trace is {}.", path.display());
    } else {
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    say!(
        "Next:\n  trapline doctor                                    what this host's KVM can do\n  \
         trapline record --firmware /usr/share/seabios/bios.bin --until-console 'No bootable'\n  \
         trapline replay run.trap --console\n  trapline report run.trap --by device"
    );
    Ok(0)
}
