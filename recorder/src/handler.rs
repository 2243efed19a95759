//! The recording handler: answers each exit from the platform, logs it, and places interrupts.

mod between;
mod hand_off;
mod held_tsc;
mod interrupts;
mod loaded;
mod msr;

use crate::clock::Clock;
use crate::console::ConsoleWatch;
use crate::error::RecorderError;
use crate::hand_off::HandOff;
use crate::input::ConsoleInput;
use crate::leak::LeakWatch;
use crate::loaded_code::LoadedCode;
use crate::log::Log;
use crate::platform::{ApicState, Claim, Platform, Request, Time};
use crate::recording::{Progress, RecordOptions};
use crate::silence::Silence;
use crate::snapshots::{Snapshots, Stand};
use crate::timer::StopHandle;
use crate::transfer::Transfers;
use crate::unclaimed::UnclaimedCounts;
use between::Positions;
use fastrand::Rng;
use trapline_formats::{End, EndReason, Event, ExitKind, Gpa, Gva, LateRewrite, MAX_SITES, Space};
use trapline_machine::{Control, Exit, Flow, Handler, Machine, MachineError, SiteTable};

/// Console input is offered, and progress told, every so many exits: by count, so that it falls at the same exits again.
const POLL_EXITS: u64 = 64;
/// A recording with so many sites ends: every exit up to the next look around may be of a new one.
const MOST_SITES: usize = MAX_SITES - 64 * POLL_EXITS as usize;
/// What is not to happen.
const NEVER: Time = Time(u64::MAX);

pub(crate) struct RecordHandler<'a, P: Platform + ?Sized> {
    platform: &'a mut P,
    clock: Clock,
    now: Time,
    random: Rng,
    sites: SiteTable,
    log: Option<Log>,
    snapshots: Option<Snapshots>,
    leaks: Option<LeakWatch>,
    /// Number of the platform's first file in the header.
    first_file: u32,
    exits: u64,
    /// From this exit on there is more to do than to answer: see [`RecordHandler::look_around`].
    next_look: u64,
    /// From this exit on a keyframe or a checkpoint is due.
    next_snapshot: u64,
    /// From then on the guest's TSC is to show another value; never, where it is not held.
    next_tsc: Time,
    halted: bool,
    /// What the platform knows of the CPU's part of the local APIC.
    apic: Option<ApicState>,
    /// The instruction of the last exit is to be completed: the guest halts, ends, or is compared there.
    must_settle: bool,
    hand_off: Option<HandOff>,
    /// The jump of the unpacking code that exited: where it is.
    jump: Option<Gva>,
    late_rewrites: Vec<LateRewrite>,
    loaded_code: Option<LoadedCode>,
    /// From this site on nothing is known of the code around it.
    next_site: u32,
    /// The guest has just exited in code of which nothing is known.
    in_new_code: bool,
    window_requested: bool,
    window_is_prompt: bool,
    end: Option<EndReason>,
    /// The guest stands right after the last exit: a place that a replay reaches too.
    at_position: bool,
    stop_seen: bool,
    /// Jumps of virtual time since the guest last printed something.
    idle_jumps: u64,
    console: Option<ConsoleWatch>,
    max_exits: u64,
    input: ConsoleInput,
    unclaimed: UnclaimedCounts,
    positions: Positions,
    silence: Silence,
    stop: StopHandle,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl<'a, P: Platform + ?Sized> RecordHandler<'a, P> {
    pub(crate) fn new(
        platform: &'a mut P,
        clock: Clock,
        options: RecordOptions,
        hand_off: Option<HandOff>,
        (stop, silence): (StopHandle, Silence),
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> Self {
        let max_exits = options.max_exits.unwrap_or(u64::MAX);
        Self {
            platform,
            random: clock.random_numbers(),
            clock,
            now: Time(0),
            sites: SiteTable::default(),
            log: None,
            snapshots: None,
            leaks: None,
            first_file: 0,
            exits: 0,
            next_look: POLL_EXITS.min(max_exits.saturating_sub(1)),
            next_snapshot: u64::MAX,
            next_tsc: NEVER,
            halted: false,
            apic: None,
            must_settle: false,
            hand_off,
            jump: None,
            late_rewrites: Vec::new(),
            loaded_code: None,
            next_site: u32::MAX,
            in_new_code: false,
            window_requested: false,
            window_is_prompt: options.window_is_prompt,
            end: None,
            at_position: false,
            stop_seen: false,
            idle_jumps: 0,
            console: options.until_console.map(ConsoleWatch::new),
            max_exits,
            input: options.input,
            unclaimed: UnclaimedCounts::default(),
            positions: Positions::new(options.preempt),
            silence,
            stop,
            progress,
        }
    }

    /// Adds what a recording has and a plain run has not.
    pub(crate) fn observe(&mut self, log: Log, snapshots: Snapshots, leaks: LeakWatch, first_file: u32) {
        self.next_snapshot = snapshots.next();
        (self.log, self.snapshots, self.leaks) = (Some(log), Some(snapshots), Some(leaks));
        self.first_file = first_file;
        self.plan_look();
    }

    /// Closes clock reads of code that the guest loads, as well.
    pub(crate) fn follow(&mut self, loaded_code: LoadedCode) {
        (self.loaded_code, self.next_site) = (Some(loaded_code), 0);
    }

    /// Lets the platform begin with what comes in host time.
    pub(crate) fn start(&mut self) {
        self.platform.start(&self.stop);
    }

    /// The run is over, for the platform too.
    pub(crate) fn stop(&mut self) {
        self.platform.stop();
    }

    /// Answers the exit from the platform.
    #[inline]
    fn answer(&mut self, exit: &mut Exit) {
        let (now, address) = (self.now, exit.address);
        match exit.kind() {
            ExitKind::PortRead if exit.is_scalar() => {
                if self.platform.port_read(now, address as u16, exit.data_mut()) == Claim::Nobody {
                    self.unclaimed.count(Space::Port, address, false);
                }
            }
            ExitKind::PortRead => {
                let size = usize::from(exit.size.max(1));
                for element in exit.data_mut().chunks_mut(size) {
                    if self.platform.port_read(now, address as u16, element) == Claim::Nobody {
                        self.unclaimed.count(Space::Port, address, false);
                    }
                }
            }
            ExitKind::PortWrite if self.stands_for_jump(address) => self.must_settle = true,
            ExitKind::PortWrite => {
                for element in exit.data().chunks(usize::from(exit.size.max(1))) {
                    if self.platform.port_write(now, address as u16, element) == Claim::Nobody {
                        self.unclaimed.count(Space::Port, address, true);
                    }
                }
                self.take_effects(self.exits);
            }
            ExitKind::MmioRead => {
                if self.platform.mmio_read(now, Gpa(address), exit.data_mut()) == Claim::Nobody {
                    self.unclaimed.count(Space::Mmio, address, false);
                }
            }
            ExitKind::MmioWrite => {
                if self.platform.mmio_write(now, Gpa(address), exit.data()) == Claim::Nobody {
                    self.unclaimed.count(Space::Mmio, address, true);
                }
                self.take_effects(self.exits);
            }
            ExitKind::MsrRead => self.read_msr(exit),
            ExitKind::MsrWrite => {
                self.write_msr(exit);
                self.take_effects(self.exits);
            }
            ExitKind::ClockRead => {
                if let Some(value) = self.tsc() {
                    exit.set_value(value);
                }
            }
            ExitKind::RandomRead => exit.set_value(self.random.u64(..)),
            ExitKind::Halt => (self.halted, self.must_settle) = (true, true),
            ExitKind::Shutdown => (self.end, self.must_settle) = (Some(EndReason::TripleFault), true),
            ExitKind::InterruptWindow => self.window_requested = false,
            ExitKind::SetTpr | ExitKind::Unfinished => {}
        }
    }

    /// Takes what the guest asked for or printed with this write, or had transferred at this exit.
    #[inline]
    fn take_effects(&mut self, exit: u64) {
        if let Some(request) = self.platform.take_request() {
            self.end = Some(match request {
                Request::Reset => EndReason::Reset,
                Request::PowerOff => EndReason::PowerOff,
                Request::Exit(code) => EndReason::ExitDevice(code),
            });
        }
        let (log, console, end, progress) =
            (&mut self.log, &mut self.console, &mut self.end, &mut self.progress);
        let input = &mut self.input;
        let idle_jumps = &mut self.idle_jumps;
        self.platform.take_console(&mut |channel, bytes| {
            *idle_jumps = 0;
            if let Some(log) = log {
                log.console(exit, channel, bytes);
            }
            input.printed(channel, bytes);
            progress(Progress::Console(channel, bytes));
            if console.as_mut().is_some_and(|c| c.push(channel, bytes)) && end.is_none() {
                *end = console.as_ref().map(|c| EndReason::ConsoleMatch(c.pattern().to_owned()));
            }
        });
        self.must_settle |= self.end.is_some() || self.platform.has_transfer();
    }

    /// What is due every so many exits, before the next one is answered: console input, cutting the log, and whether the run
    /// is to end or to be compared after it. A request to stop comes with a kick, which makes it due at once.
    #[inline(never)]
    fn look_around(&mut self) -> Result<(), RecorderError> {
        let is_poll = self.exits.is_multiple_of(POLL_EXITS);
        if is_poll {
            self.input.offer(self.platform, self.now);
            if self.log.as_ref().is_some_and(Log::is_due) {
                self.cut()?;
            }
        }
        // What comes in host time may be given anywhere, all else only where a second recording gives it, too.
        if is_poll || self.platform.is_live() {
            self.must_settle |= self.platform.has_transfer();
        }
        self.must_settle |= self.exits >= self.next_settled() || self.stop.requested().is_some();
        self.plan_look();
        Ok(())
    }

    /// The exit that has to be settled: the last one, or one after which something is due.
    fn next_settled(&self) -> u64 {
        self.max_exits.min(self.next_snapshot).saturating_sub(1)
    }

    fn plan_look(&mut self) {
        let next_poll = self.exits - self.exits % POLL_EXITS + POLL_EXITS;
        self.next_look = next_poll.min(self.next_settled());
    }

    /// Looks for a reason to end here, other than the guest's own.
    fn look_for_end(&mut self) {
        if self.end.is_some() {
            return;
        }
        self.end = if self.exits >= self.max_exits {
            Some(EndReason::MaxExits)
        } else if self.sites.sites().len() >= MOST_SITES {
            Some(EndReason::Failed("its exits are of more sites than a trace holds".into()))
        } else {
            self.stop.requested()
        };
    }

    /// Lets the devices read and write guest memory.
    pub(super) fn transfer(&mut self, machine: &Machine) -> Result<(), RecorderError> {
        let mut memory = match &mut self.log {
            Some(log) => Transfers::logged(machine.memory(), log, self.sites.sites(), self.first_file),
            None => Transfers::unlogged(machine.memory()),
        };
        self.platform.transfer(self.now, &mut memory);
        memory.finish()?;
        self.look_at_transferred(machine)?;
        self.take_effects(self.exits.saturating_sub(1));
        Ok(())
    }

    fn event(&mut self, event: Event) {
        if let Some(log) = &mut self.log {
            log.event(event);
        }
    }

    fn write_if_old(&mut self) -> Result<(), RecorderError> {
        if self.log.as_ref().is_some_and(Log::is_old) { self.cut() } else { Ok(()) }
    }

    /// Hands what was logged to the writer.
    fn cut(&mut self) -> Result<(), RecorderError> {
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Some(leaks) = &mut self.leaks {
            let (first, exits) = log.exits();
            leaks.look(first, exits);
        }
        log.cut(self.sites.sites())?;
        (self.progress)(Progress::Exits(self.exits, log.bytes_written()));
        Ok(())
    }

    fn stand(&self) -> Stand {
        Stand { exits: self.exits, window_requested: self.window_requested, carried: false }
    }

    /// Writes down the complete state, where that is due.
    #[cold]
    fn snapshot(&mut self, machine: &Machine) -> Result<(), RecorderError> {
        let stand = self.stand();
        let (Some(log), Some(snapshots)) = (&mut self.log, &mut self.snapshots) else { return Ok(()) };
        snapshots.look(machine, log, stand)?;
        self.next_snapshot = snapshots.next();
        self.plan_look();
        Ok(())
    }

    /// What of the console input was not typed, and why.
    pub(crate) fn untyped(&self) -> Option<String> {
        self.input.untyped()
    }

    /// Ends the log. Returns how the recording ended, and the size of the trace.
    pub(crate) fn finish(
        mut self,
        result: Result<(), RecorderError>,
        machine: &mut Machine,
    ) -> Result<(End, u64), RecorderError> {
        match result {
            Ok(()) => {}
            Err(RecorderError::Machine(MachineError::GaveUp(why))) => {
                self.end = Some(EndReason::Failed(why.to_string()));
            }
            Err(error) => return Err(error),
        }
        let stand = self.stand();
        if let (Some(log), Some(snapshots)) = (&mut self.log, &mut self.snapshots)
            && self.at_position
            && self.exits > 0
        {
            let leaks = &mut self.leaks;
            snapshots.last(machine, log, stand, |page, content| {
                if let Some(leaks) = leaks {
                    leaks.look_at_end(page, content);
                }
            })?;
        }
        self.cut()?;
        let end = End {
            reason: self.end.take().unwrap_or(EndReason::Interrupted),
            exits: self.exits,
            unclaimed: self.unclaimed.into_list(),
            unclosed: self.leaks.map_or_else(Vec::new, |l| l.into_found(self.exits.saturating_sub(1))),
            rewrites: self.late_rewrites,
            preemption: self.positions.into_count(),
        };
        let Some(mut log) = self.log else { return Ok((end, 0)) };
        log.finish(self.sites.sites(), &end)?;
        Ok((end, log.bytes_written()))
    }
}

impl<P: Platform + ?Sized> Handler for RecordHandler<'_, P> {
    type Error = RecorderError;

    #[inline]
    fn exit(&mut self, machine: &mut Machine, exit: &mut Exit) -> Result<Flow, RecorderError> {
        self.at_position = false;
        self.now = self.clock.at_exit();
        if self.exits >= self.next_look {
            self.look_around()?;
        }
        let mut site = 0;
        if machine.tsc_has_slipped() {
            self.note_slips(machine);
        }
        if self.log.is_some() {
            site = self.sites.number(machine, exit)?;
            if site >= self.next_site {
                self.note_new_site(machine, site)?;
            }
        } else if exit.kind() == ExitKind::PortWrite
            && machine.stand_ins().clock.map(u64::from) == Some(exit.address)
        {
            self.sites.number(machine, exit)?;
        }
        self.look_at_apic(machine);
        self.answer(exit);
        if let Some(log) = &mut self.log {
            let spent = machine.take_timing();
            log.exit(site, exit, machine.registers(), spent);
        }
        if self.now >= self.next_tsc {
            self.move_tsc(machine, None);
        }
        self.exits += 1;
        self.silence.note(self.exits);
        if matches!(exit.kind(), ExitKind::PortWrite | ExitKind::MmioWrite | ExitKind::MsrWrite) {
            self.follow_task_priority(machine);
            if exit.kind() == ExitKind::PortWrite && self.stands_for_jump(exit.address) {
                self.note_jump_exit(machine, exit)?;
            }
        }
        if self.must_settle {
            return Ok(Flow::Settle);
        }
        let is_pending = self.platform.interrupt_pending(self.now);
        if self.platform.nmi_pending() {
            return Ok(Flow::Settle);
        }
        if !is_pending {
            return Ok(Flow::Continue);
        }
        if machine.interrupts_enabled() {
            // What may shadow it still (STI, MOV SS) ends with this instruction.
            return Ok(Flow::Settle);
        }
        self.want_window(machine);
        Ok(Flow::Continue)
    }

    fn settled(&mut self, machine: &mut Machine) -> Result<Control, RecorderError> {
        self.at_position = true;
        self.must_settle = false;
        if self.exits >= self.next_snapshot {
            self.snapshot(machine)?;
        }
        if let Some(jump) = self.jump.take() {
            self.hand_off(machine, jump)?;
        }
        if std::mem::take(&mut self.in_new_code) {
            self.look_at_new_code(machine)?;
        }
        let halted = std::mem::take(&mut self.halted);
        if self.platform.has_transfer() {
            self.transfer(machine)?;
        }
        self.look_for_end();
        if self.end.is_none() && halted {
            self.wait(machine)?;
        } else if self.end.is_none() && !self.interrupt(machine)? && self.platform.interrupt_pending(self.now)
        {
            self.want_window(machine);
        }
        if self.end.is_some() {
            return Ok(Control::Stop);
        }
        Ok(Control::Continue)
    }

    fn kicked(&mut self, machine: &mut Machine) -> Result<Control, RecorderError> {
        self.at_position = false;
        self.write_if_old()?;
        let requested = self.stop.requested();
        if requested.is_some() || self.platform.is_live() {
            self.next_look = self.exits;
        }
        let Some(reason) = requested else {
            self.look_between(machine)?;
            self.let_tsc_run_on(machine);
            // What was transferred here may have ended it.
            self.at_position = self.end.is_some();
            return Ok(if self.at_position { Control::Stop } else { Control::Continue });
        };
        // The next exit is a better place to end: a replay can compare everything there. One heartbeat long it may come.
        if std::mem::replace(&mut self.stop_seen, true) {
            self.end = Some(reason);
            self.at_position = self.end_between(machine)?;
            return Ok(Control::Stop);
        }
        Ok(Control::Continue)
    }
}
