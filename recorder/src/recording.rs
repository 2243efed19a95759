//! Recording a guest: building its machine, and the options and outcome of a run.

use crate::clock::Clock;
use crate::error::RecorderError;
use crate::guest::{Guest, Start};
use crate::hand_off::HandOff;
use crate::handler::RecordHandler;
use crate::input::ConsoleInput;
use crate::leak::LeakWatch;
use crate::learn::{Watch, Watched};
use crate::loaded_code::LoadedCode;
use crate::log::Log;
use crate::own_share::Timed;
use crate::platform::{IA32_TSC, MsrAnswer, Platform, Time};
use crate::rewrite::Port;
use crate::silence::{Silence, SilenceWatch};
use crate::snapshots::{Every, Snapshots};
use crate::timer::{HostTimer, StopHandle};
use regex::bytes::Regex;
use std::path::PathBuf;
use std::time::Duration;
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{ClockMode, CpuState, End, Header, Preempt};
use trapline_machine::{
    Convention, Kvm, MSRS_ALLOWED, Machine, MachineConfig, describe_host,
    doctor::{can_hold_tsc, logs_writes, x2apic_exits},
    fixed_table, offer_x2apic, tick_hz,
};

/// What to record, and until when.
#[derive(Debug, Default)]
pub struct RecordOptions {
    /// Where the trace goes; `None`: run without log, digests and timing (`--no-log`).
    pub output: Option<PathBuf>,
    /// Replace an existing trace.
    pub replace: bool,
    /// The clock of the devices.
    pub clock: ClockMode,
    /// Where interrupts may be given to the guest. Between exits only under the host clock: virtual time stands still there.
    pub preempt: Preempt,
    /// End after this much host time.
    pub timeout: Option<Duration>,
    /// End after this many exits.
    pub max_exits: Option<u64>,
    /// End when a console line matches.
    pub until_console: Option<Regex>,
    /// What is typed at the console.
    pub input: ConsoleInput,
    /// Whether interrupt windows open promptly on this engine and may therefore be requested.
    pub window_is_prompt: bool,
    /// How often the complete state is written down.
    pub every: Every,
    /// Clock reads that nothing closed.
    pub tsc: Tsc,
}

/// What a clock read shows that nothing closed, such as a process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tsc {
    /// What the recorder has set: the guest's TSC stands still while the guest runs, where the host has TSC scaling.
    #[default]
    Held,
    /// What the hardware counts. No replay can show it again; where it is found, that is told.
    Free,
}

/// What a recording in progress tells.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Console text, as it is printed: (channel, bytes).
    Console(u8, &'a [u8]),
    /// Now and then: (exits so far, bytes of the trace so far).
    Exits(u64, u64),
    /// Under the virtual clock, the guest has waited through this many deadlines in a row without printing anything. Virtual
    /// time jumps from one to the next, for ever if nothing ends it. Told once.
    IdleJumps(u64),
}

/// A machine with a guest in it, ready to be recorded.
pub struct Recorder<'p, P: Platform + ?Sized> {
    machine: Machine,
    platform: &'p mut P,
    options: RecordOptions,
    header: Header,
    start: CpuState,
    hand_off: Option<HandOff>,
    loaded_code: Option<LoadedCode>,
    /// Number of the platform's first file in the header.
    first_file: u32,
    stop: StopHandle,
    /// KVM logs which pages the guest writes.
    logs_writes: bool,
    /// Clock reads that nothing closes are to show what was set, and do so here.
    holds_tsc: bool,
}

/// A finished recording.
#[derive(Debug)]
pub struct Recording {
    /// How it ended.
    pub end: End,
    /// Size of the trace in bytes; 0 without one.
    pub bytes: u64,
    /// The machine as the guest left it.
    pub machine: Machine,
    /// What of the console input was not typed, and why, in words.
    pub untyped: Option<String>,
}

impl<'p, P: Platform + ?Sized> Recorder<'p, P> {
    /// Builds the machine and loads the guest.
    pub fn new(
        kvm: &Kvm,
        convention: Convention,
        guest: &Guest,
        platform: &'p mut P,
        options: RecordOptions,
    ) -> Result<Self, RecorderError> {
        if (options.clock, options.preempt) == (ClockMode::Virtual, Preempt::Positions) {
            return Err(RecorderError::TimeStandsStill);
        }
        let mut cpuid = fixed_table(kvm)?;
        if platform.cr8().is_some() && x2apic_exits(kvm)? {
            offer_x2apic(&mut cpuid);
        }
        let config = MachineConfig {
            memory: guest.memory.clone(),
            cpuid,
            msrs_allowed: MSRS_ALLOWED.to_vec(),
            stand_ins: guest.stand_ins,
        };
        let mut machine = Machine::new(kvm, &config)?;
        machine.set_convention(convention);
        for (gpa, bytes) in &guest.contents {
            machine.memory().write(*gpa, bytes)?;
        }
        machine.restore(&guest.start.apply(machine.save()?))?;
        let start = machine.save()?;
        let tick_hz = tick_hz(kvm)?;
        let is_recorded = options.output.is_some();
        let holds_tsc = options.tsc == Tsc::Held && can_hold_tsc(kvm)?;
        let header = Header {
            recorder: env!("CARGO_PKG_VERSION").into(),
            host: describe_host(kvm),
            clock: options.clock,
            preempt: options.preempt,
            entry: guest.entry.clone(),
            files: [guest.files.clone(), platform.files()].concat(),
            memory: config.memory,
            cpuid: config.cpuid,
            msrs_allowed: config.msrs_allowed,
            tick_hz,
            tick_source: "tsc".into(),
            stand_ins: guest.stand_ins,
            rewrites: guest.rewrites.clone(),
            suspects: guest.suspects.clone(),
            console_channels: platform.console_channels(),
            names: platform.names(),
        };
        Ok(Self {
            machine,
            platform,
            options,
            header,
            start,
            hand_off: guest.hand_off.clone(),
            // Firmware loads what it boots.
            loaded_code: (guest.start == Start::Reset).then(|| LoadedCode::of(guest)).flatten(),
            first_file: guest.files.len() as u32,
            stop: StopHandle::for_this_thread(),
            logs_writes: is_recorded && logs_writes(kvm)?,
            holds_tsc,
        })
    }

    /// A handle that ends the recording from another thread (Ctrl-C).
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Lets this handle end the run, instead of one of its own.
    pub(crate) fn stopped_by(mut self, stop: &StopHandle) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Runs without a log, until the guest or the options end it or an instruction that was made to exit at `port` does.
    pub(crate) fn watch(self, port: Option<Port>) -> Result<Watched, RecorderError> {
        let timer = HostTimer::start(&self.stop, self.options.timeout);
        let nobody = &mut |_: Progress<'_>| {};
        let (mut machine, handler) = self.without_log(nobody);
        let mut watch = Watch::new(handler, port);
        let result = machine.run(&mut watch);
        drop(timer);
        watch.finish(result, &mut machine)
    }

    /// Runs without a log, but timed: the mean VMM time of an exit, in ticks.
    pub(crate) fn time(self) -> Result<f64, RecorderError> {
        let nobody = &mut |_: Progress<'_>| {};
        let (mut machine, handler) = self.without_log(nobody);
        let mut timed = Timed::new(handler);
        machine.start_timing();
        let result = machine.run(&mut timed);
        let mean = timed.mean();
        timed.handler.finish(result, &mut machine)?;
        Ok(mean)
    }

    /// The machine, and what answers it where nothing is written down.
    fn without_log<'a>(self, progress: &'a mut dyn FnMut(Progress<'_>)) -> (Machine, RecordHandler<'a, P>)
    where
        'p: 'a,
    {
        let clock = Clock::new(self.options.clock, self.header.tick_hz);
        let stop = (self.stop, Silence::default());
        let handler = RecordHandler::new(self.platform, clock, self.options, self.hand_off, stop, progress);
        (self.machine, handler)
    }

    /// Has the guest's TSC stand still at what the platform's clock shows, which is returned: where that is wanted, and there is one.
    fn hold_tsc(&mut self) -> Result<Option<u64>, RecorderError> {
        if !self.holds_tsc {
            return Ok(None);
        }
        let MsrAnswer::Value(value) = self.platform.msr_read(Time(0), IA32_TSC) else { return Ok(None) };
        Ok(self.machine.hold_tsc(value)?.then_some(value))
    }

    /// The machine, before the recording starts.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Records until the guest or the options end it.
    pub fn record(mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Recording, RecorderError> {
        let held = self.hold_tsc()?;
        let mut observed = None;
        if let Some(path) = &self.options.output {
            let mut open = Log::create(path, self.options.replace, self.header.tick_hz)?;
            let mut leaks = LeakWatch::start(&mut self.machine)?;
            let look = |page: &[u8; PAGE_BYTES]| leaks.look_at_start(page);
            let watch = open.start(&self.header, &self.start, &self.machine, self.logs_writes, look)?;
            let snapshots = Snapshots::new(watch, &self.machine, self.options.every);
            if let Some(value) = held {
                open.hold_tsc(None, value);
            }
            leaks.timed_from(self.machine.start_timing());
            observed = Some((open, snapshots, leaks));
        }
        let timer = HostTimer::start(&self.stop, self.options.timeout);
        let clock = Clock::new(self.options.clock, self.header.tick_hz);
        let silence = Silence::default();
        let watch = (self.options.preempt == Preempt::Positions).then(|| SilenceWatch::start(&silence));
        let mut handler = RecordHandler::new(
            self.platform,
            clock,
            self.options,
            self.hand_off,
            (self.stop, silence),
            progress,
        );
        if let Some((log, snapshots, leaks)) = observed {
            handler.observe(log, snapshots, leaks, self.first_file);
            if let Some(code) = self.loaded_code {
                handler.follow(code);
            }
        }
        if held.is_some() {
            handler.hold_tsc();
        }
        handler.start();
        let result = self.machine.run(&mut handler);
        drop((timer, watch));
        handler.stop();
        let untyped = handler.untyped();
        let (end, bytes) = handler.finish(result, &mut self.machine)?;
        Ok(Recording { end, bytes, machine: self.machine, untyped })
    }
}
