//! `trapline learn`: which suspects are instructions.

use crate::args::Learn;
use crate::interrupt::on_interrupt;
use crate::progress;
use crate::record::regex;
use crate::{INTERRUPTED, safe};
use crate::{guest, hex};
use anyhow::{Context, Result};
use trapline_machine::doctor::window_is_prompt;
use trapline_machine::open_and_probe;
use trapline_recorder::learn::{Learner, Step, Window};
use trapline_recorder::pc::{Pc, PcConfig};
use trapline_recorder::{Learned, LearnedSites, Limit, State};

/// Runs the verb.
pub fn run(args: &Learn) -> Result<u8> {
    let guest = guest::load(&args.guest)?;
    let sites = if args.output.exists() {
        LearnedSites::read(&args.output, &guest).context("-o names another file to begin anew")?
    } else {
        LearnedSites::of(&guest)
    };
    // Before minutes go by.
    sites.write(&args.output)?;
    let (kvm, convention) = open_and_probe()?;
    let window = Window {
        timeout: args.timeout,
        max_exits: args.max_exits,
        until_console: regex("--until-console", args.until_console.as_deref())?,
        window_is_prompt: window_is_prompt(&kvm)?,
    };
    let like = guest.clone();
    let platform = || Box::new(Pc::new(PcConfig::of(&like))) as _;
    let mut learner = Learner::new(&kvm, convention, guest, &platform, window, sites)?;
    let stop = learner.stop_handle();
    on_interrupt(move || stop.interrupt())?;
    let bar = progress::bar(Some(learner.left() as u64), progress::LEARN, args.quiet);
    let last = loop {
        if let Step::Decided(_) = learner.step()? {
            learner.sites().write(&args.output)?;
            bar.inc(1);
        } else {
            break learner.left();
        }
    };
    bar.finish_and_clear();
    summarize(args, &learner, last)?;
    Ok(if last == 0 { 0 } else { INTERRUPTED })
}

fn summarize(args: &Learn, learner: &Learner<'_>, left: usize) -> Result<()> {
    let suspects = learner.sites().suspects();
    for learned in suspects {
        say!("{:#012x}  {:<12} {}", learned.gpa, hex::spaced(&learned.bytes), said(learned));
    }
    let executing = suspects.iter().filter(|l| matches!(l.state, State::Executes { .. })).count();
    let file = args.output.display();
    say!(
        "{} suspects, {executing} of them execute, {left} left to try; {} runs; {file}",
        suspects.len(),
        learner.runs()
    );
    if left > 0 {
        say!("interrupted: the same command goes on");
    } else if executing > 0 {
        say!("`trapline record --sites {file}` closes them");
    }
    Ok(())
}

/// What is known of a suspect, in words.
fn said(learned: &Learned) -> String {
    match &learned.state {
        State::NotTried => "not tried yet".into(),
        State::Executes { gpa, bytes } => format!("executes: {} at {gpa:#x}", hex::spaced(bytes)),
        State::NotSeen { exits, until } => format!("not seen in {exits} exits, until {}", limit(until)),
        State::Spoils { end, instead_of } => {
            format!("spoils the guest: {}; otherwise: {}", safe::text(end), safe::text(instead_of))
        }
        State::LeftAlone { why } => format!("left alone: {}", safe::text(why)),
    }
}

fn limit(limit: &Limit) -> String {
    match limit {
        Limit::TimeoutMs(ms) => format!("the time limit of {ms} ms"),
        Limit::MaxExits(_) => "the limit of exits".into(),
        Limit::Console(pattern) => format!("the console matched `{}`", safe::text(pattern)),
        Limit::Guest(end) => safe::text(end),
    }
}
