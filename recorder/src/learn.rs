//! Learns by watching which suspects are instructions: bytes that look like a source, where no disassembly gets to.
//!
//! Each is tried in a run of its own, without a log, in which it alone is made to exit at a port that nothing else uses. If that
//! exit comes, it is an instruction, and the run has told all it can. If the guest comes to another end than otherwise, the bytes
//! are data: a wrong guess spoils its own run and no other. What was learned is closed in the runs that follow.
//!
//! ```no_run
//! # use trapline_recorder::{Guest, LearnedSites, RecorderError, pc::{Pc, PcConfig}};
//! # use trapline_recorder::learn::{Learner, Step, Window};
//! # fn learn(guest: Guest) -> Result<(), Box<dyn std::error::Error>> {
//! let (kvm, convention) = trapline_machine::open_and_probe()?;
//! let (sites, like) = (LearnedSites::of(&guest), guest.clone());
//! let platform = || Box::new(Pc::new(PcConfig::of(&like))) as _;
//! let mut learner = Learner::new(&kvm, convention, guest, &platform, Window::default(), sites)?;
//! while let Step::Decided(_) = learner.step()? {
//!     learner.sites().write("guest.sites".as_ref())?;
//! }
//! # Ok(())
//! # }
//! ```

mod guess;
mod watch;

pub(crate) use watch::{Watch, Watched};

use crate::error::RecorderError;
use crate::guest::Guest;
use crate::learned::{LearnedSites, Limit, State};
use crate::platform::Platform;
use crate::recording::{RecordOptions, Recorder, Tsc};
use crate::rewrite::Port;
use crate::timer::StopHandle;
use guess::{Guess, Meaning, guesses};
use regex::bytes::Regex;
use std::collections::VecDeque;
use std::time::Duration;
use trapline_formats::{ClockMode, End, EndReason, Suspect};
use trapline_machine::{Convention, Kvm};

/// How long the guest is watched in each run.
#[derive(Debug, Clone)]
pub struct Window {
    /// Host time.
    pub timeout: Duration,
    /// Exits.
    pub max_exits: Option<u64>,
    /// A line of its console.
    pub until_console: Option<Regex>,
    /// Whether interrupt windows open promptly on this engine.
    pub window_is_prompt: bool,
}

impl Default for Window {
    fn default() -> Self {
        let timeout = Duration::from_secs(10);
        Self { timeout, max_exits: None, until_console: None, window_is_prompt: false }
    }
}

impl Window {
    fn options(&self) -> RecordOptions {
        RecordOptions {
            clock: ClockMode::Virtual,
            timeout: Some(self.timeout),
            max_exits: self.max_exits,
            until_console: self.until_console.clone(),
            window_is_prompt: self.window_is_prompt,
            // Learning holds nothing: no need to ask at each run whether this host could.
            tsc: Tsc::Free,
            ..RecordOptions::default()
        }
    }

    /// The timeout as files hold it.
    fn timeout_ms(&self) -> u64 {
        self.timeout.as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// Whether more is seen of the guest than was seen when this ended the run.
    fn goes_beyond(&self, limit: &Limit) -> bool {
        match limit {
            Limit::TimeoutMs(ms) => self.timeout_ms() > *ms,
            Limit::MaxExits(exits) => self.max_exits.is_none_or(|max| max > *exits),
            Limit::Console(pattern) => self.until_console.as_ref().is_none_or(|c| c.as_str() != pattern),
            Limit::Guest(_) => false,
        }
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This suspect, by its place in the list, has been tried.
    Decided(usize),
    /// None is left to be tried.
    Done,
    /// The user wanted no more. What was being tried stays as it was.
    Interrupted,
}

/// Tries suspects, one after the other.
pub struct Learner<'a> {
    kvm: &'a Kvm,
    convention: Convention,
    /// With everything closed that is known to be an instruction.
    guest: Guest,
    platform: &'a dyn Fn() -> Box<dyn Platform>,
    window: Window,
    sites: LearnedSites,
    /// Places in the list.
    todo: VecDeque<usize>,
    port: Port,
    /// How the guest ends if nothing is tried.
    usual_end: Option<EndReason>,
    runs: u64,
    stop: StopHandle,
}

impl<'a> Learner<'a> {
    /// To be run by the thread that calls this. `platform` makes the devices of each run; `sites` is what is known so far.
    pub fn new(
        kvm: &'a Kvm,
        convention: Convention,
        mut guest: Guest,
        platform: &'a dyn Fn() -> Box<dyn Platform>,
        window: Window,
        sites: LearnedSites,
    ) -> Result<Self, RecorderError> {
        let port = Port::left_in(&guest).map_err(RecorderError::CannotLearn)?;
        sites.close(&mut guest).map_err(RecorderError::CannotLearn)?;
        let is_open = |state: &State| match state {
            State::NotTried => true,
            State::NotSeen { until, .. } => window.goes_beyond(until),
            State::Executes { .. } | State::Spoils { .. } | State::LeftAlone { .. } => false,
        };
        let todo = (0..sites.suspects().len()).filter(|&i| is_open(&sites.suspects()[i].state)).collect();
        let stop = StopHandle::for_this_thread();
        Ok(Self {
            kvm,
            convention,
            guest,
            platform,
            window,
            sites,
            todo,
            port,
            usual_end: None,
            runs: 0,
            stop,
        })
    }

    /// A handle that ends learning from another thread (Ctrl-C).
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// What is known by now.
    pub fn sites(&self) -> &LearnedSites {
        &self.sites
    }

    /// Suspects that are still to be tried.
    pub fn left(&self) -> usize {
        self.todo.len()
    }

    /// Runs of the guest so far.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Tries the next suspect.
    pub fn step(&mut self) -> Result<Step, RecorderError> {
        let Some(&index) = self.todo.front() else { return Ok(Step::Done) };
        if self.stop.is_interrupted() {
            return Ok(Step::Interrupted);
        }
        let Some(state) = self.try_one(index)? else { return Ok(Step::Interrupted) };
        self.todo.pop_front();
        if matches!(state, State::Executes { .. }) {
            // Its clock is another one from now on: the guest may come to another end.
            self.usual_end = None;
        }
        self.sites.set(index, state);
        Ok(Step::Decided(index))
    }

    /// What a suspect turns out to be; `None` if the user wanted no more.
    fn try_one(&mut self, index: usize) -> Result<Option<State>, RecorderError> {
        let learned = &self.sites.suspects()[index];
        let suspect = Suspect { gpa: learned.gpa, bytes: learned.bytes.clone() };
        let left_alone = |why: &str| Ok(Some(State::LeftAlone { why: why.into() }));
        if self.guest.bytes_at(suspect.gpa, suspect.bytes.len()) != Some(&suspect.bytes) {
            return left_alone("it lies within an instruction that is rewritten");
        }
        let mut last = None;
        for guess in guesses(&self.guest, &suspect) {
            match self.run(Some(&guess))? {
                Watched::Ended(End { reason: EndReason::Interrupted, .. }) => return Ok(None),
                Watched::Ended(end) => last = Some(end),
                Watched::Executed(mode) => match guess.meaning(mode) {
                    Meaning::Source => return Ok(Some(self.close(guess))),
                    Meaning::Other => return left_alone("another instruction has these bytes in it"),
                    Meaning::Shorter => {}
                },
            }
        }
        match last {
            Some(end) => self.judge(&end),
            None => left_alone("nothing can stand for these bytes"),
        }
    }

    /// Closes an instruction that was executed.
    fn close(&mut self, Guess { gpa, original }: Guess) -> State {
        let state = State::Executes { gpa, bytes: original };
        let learned = crate::Learned { gpa, bytes: Vec::new(), state: state.clone() };
        match learned.close(&mut self.guest) {
            Ok(()) => state,
            Err(why) => State::LeftAlone { why: format!("it is executed, but {why}") },
        }
    }

    /// What it means that a run ended so, and the suspect was not executed.
    fn judge(&mut self, end: &End) -> Result<Option<State>, RecorderError> {
        let usual = match self.usual_end.take() {
            Some(reason) => reason,
            None => match self.run(None)? {
                Watched::Ended(End { reason: EndReason::Interrupted, .. }) | Watched::Executed(_) => {
                    return Ok(None);
                }
                Watched::Ended(End { reason, .. }) => reason,
            },
        };
        let state = if is_as_usual(&end.reason, &usual) {
            let until = Limit::of(&end.reason, self.window.timeout_ms(), end.exits);
            State::NotSeen { exits: end.exits, until }
        } else {
            State::Spoils { end: end.reason.to_string(), instead_of: usual.to_string() }
        };
        self.usual_end = Some(usual);
        Ok(Some(state))
    }

    /// Runs the guest, with a guess made to exit.
    fn run(&mut self, guess: Option<&Guess>) -> Result<Watched, RecorderError> {
        let mut guest = self.guest.clone();
        if let Some(guess) = guess {
            guest.put(guess.gpa, &guess.trap(self.port));
        }
        self.runs += 1;
        self.stop.forget_timeout();
        let mut platform = (self.platform)();
        let recorder =
            Recorder::new(self.kvm, self.convention, &guest, &mut *platform, self.window.options())?;
        recorder.stopped_by(&self.stop).watch(guess.map(|_| self.port))
    }
}

/// Whether a run with a suspect changed ended as the guest does without. How far host time lets it get differs from run to run.
fn is_as_usual(end: &EndReason, usual: &EndReason) -> bool {
    let may_be_slower = *end == EndReason::Timeout;
    let may_be_faster =
        *usual == EndReason::Timeout && matches!(end, EndReason::MaxExits | EndReason::ConsoleMatch(_));
    end == usual || may_be_slower || may_be_faster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_longer_only_where_what_ended_the_run_comes_later() {
        let window = Window {
            timeout: Duration::from_secs(2),
            max_exits: Some(100),
            until_console: Regex::new("login:").ok(),
            window_is_prompt: false,
        };
        let beyond = |limit| window.goes_beyond(&limit);
        assert!(beyond(Limit::TimeoutMs(1999)) && !beyond(Limit::TimeoutMs(2000)));
        assert!(beyond(Limit::MaxExits(99)) && !beyond(Limit::MaxExits(100)));
        assert!(beyond(Limit::Console("boot".into())) && !beyond(Limit::Console("login:".into())));
        assert!(!beyond(Limit::Guest("it halted".into())));
        assert!(Window::default().goes_beyond(&Limit::MaxExits(u64::MAX)));
    }

    #[test]
    fn only_an_end_that_host_time_cannot_explain_is_unusual() {
        let exit = EndReason::ExitDevice;
        assert!(is_as_usual(&exit(0), &exit(0)));
        assert!(!is_as_usual(&exit(1), &exit(0)));
        assert!(is_as_usual(&EndReason::Timeout, &exit(0)));
        assert!(is_as_usual(&EndReason::MaxExits, &EndReason::Timeout));
        assert!(!is_as_usual(&EndReason::TripleFault, &EndReason::Timeout));
    }
}
