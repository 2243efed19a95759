//! The replaying handler: answers each exit from the log and compares everything the guest shows.

mod checks;

use crate::attempts::Attempts;
use crate::divergence::{Divergence, PastExit, What};
use crate::elsewhere::Elsewhere;
use crate::error::ReplayError;
use crate::files::Files;
use crate::memory_check::MemoryCheck;
use crate::observer::Observer;
use crate::replay::{Place, Progress, ReplayOptions};
use crate::silence::Silence;
use crate::source::Source;
use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;
use std::sync::atomic::{AtomicBool, Ordering};
use trapline_formats::digests::{self, compared};
use trapline_formats::{ConsoleText, Difference, Event, ExitKind, Gpa, Site, Spread, Trace, TraceError};
use trapline_machine::{Control, Exit, Flow, Handler, Histogram, Machine, MachineError, SiteTable};

/// Exits kept for a divergence's history.
const HISTORY: usize = 8;
/// Progress is told every so many exits.
const PROGRESS_EXITS: u64 = 1024;

/// What the guest printed.
type Texts<'a> = Box<dyn Iterator<Item = Result<ConsoleText, TraceError>> + 'a>;

/// What came of a replay.
pub(crate) struct Finished {
    /// Exits up to its end, those before its start among them.
    pub(crate) exits: u64,
    pub(crate) divergence: Option<Divergence>,
    /// Why the log had no more exits, where that is not its end.
    pub(crate) lost: Option<TraceError>,
    pub(crate) notes: Vec<String>,
    pub(crate) accessed: Vec<(u64, u64)>,
    pub(crate) executed: Spread,
    pub(crate) carried: Spread,
}

pub(crate) struct ReplayHandler<'a, O> {
    source: Source,
    /// The dictionary of the trace.
    recorded_sites: &'a [Site],
    by_site: BTreeMap<&'a Site, u32>,
    /// On another engine or processor than the recording's.
    elsewhere: Option<&'a Elsewhere>,
    files: &'a Files,
    /// What was read of a file last: its room is used again.
    from_file: Vec<u8>,
    /// The current recorded exit was not reached: an exit came that only this engine makes.
    awaits: bool,
    /// The dictionary of this run, and what each of its sites is called in the trace.
    sites: SiteTable,
    names: Vec<Option<u32>>,
    console: Peekable<Texts<'a>>,
    memory: MemoryCheck<'a>,
    /// The recording ended where everything can be compared, and with that.
    ends_compared: bool,
    /// The last thing that the host did was to compare.
    is_compared: bool,
    /// Sites that were seen before the replay started are named by what stood there then.
    starts_late: bool,
    until: u64,
    /// Exits so far, those before the start among them.
    exits: u64,
    /// What a user is to know of a replay that was faithful.
    notes: Vec<String>,
    /// Page tables that differ in accessed bits alone: (exit, page number).
    accessed: Vec<(u64, u64)>,
    /// Positions between exits: those that the guest came to by itself, those that were taken over, and the time that took.
    attempts: Attempts<'a>,
    executed: Histogram,
    carried: Histogram,
    tick_hz: u64,
    history: VecDeque<(u64, u32, Vec<u8>)>,
    divergence: Option<Divergence>,
    /// Before this many exits, and perhaps more often, the guest may have seen what its TSC was not held at.
    slipped: Option<u64>,
    silence: Silence,
    observer: &'a mut O,
    /// The user wants no more.
    stop: &'a AtomicBool,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl<'a, O: Observer> ReplayHandler<'a, O> {
    pub(crate) fn new(
        source: Source,
        trace: &'a Trace,
        place: &'a Place<'_>,
        memory: MemoryCheck<'a>,
        options: &'a ReplayOptions,
        observer: &'a mut O,
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> Self {
        let recorded_sites = trace.sites();
        let exits = source.first_exit();
        let by_site = recorded_sites.iter().zip(0u32..).collect();
        Self {
            source,
            recorded_sites,
            by_site,
            elsewhere: place.elsewhere.as_ref(),
            files: &place.files,
            from_file: Vec::new(),
            awaits: false,
            sites: SiteTable::default(),
            names: Vec::new(),
            console: console_from(trace, options.from.unwrap_or(0)).peekable(),
            memory,
            ends_compared: trace.end().is_some_and(|end| end.reason.is_at_position()),
            is_compared: false,
            starts_late: exits > 0,
            until: options.until.unwrap_or(u64::MAX),
            exits,
            notes: Vec::new(),
            accessed: Vec::new(),
            attempts: Attempts::new(place, options.attempt),
            executed: Histogram::default(),
            carried: Histogram::default(),
            tick_hz: place.tick_hz,
            history: VecDeque::with_capacity(HISTORY),
            divergence: None,
            slipped: None,
            silence: Silence::new(options.silence),
            observer,
            stop: &options.stop,
            progress,
        }
    }

    /// What the host did where the machine stands: behind the current exit, or behind the keyframe that the replay starts at.
    pub(crate) fn apply_events(&mut self, machine: &mut Machine) -> Result<(), ReplayError> {
        while self.divergence.is_none()
            && let Some(event) = self.source.next_event()
        {
            self.is_compared = event == Event::Checkpoint;
            self.apply(machine, event)?;
        }
        Ok(())
    }

    /// Nothing may follow the checkpoint that a recording ends with: nothing would compare what comes of it.
    fn check_end(&mut self) {
        if self.divergence.is_none() && self.ends_compared && !self.is_compared && self.source.is_at_end() {
            let note =
                "the recording ended with a comparison of everything, and that is not the last thing here";
            self.diverge(What::State, None, Vec::new(), note.into());
        }
    }

    /// What came of it.
    pub(crate) fn finish(mut self) -> Finished {
        if let (Some(divergence), Some(exit)) = (&mut self.divergence, self.slipped) {
            divergence.add_note(&format!(
                "before exit {exit} this host was too busy to hold the guest's TSC, which may have shown a number more: \
                 replay again"
            ));
        }
        Finished {
            exits: self.exits,
            divergence: self.divergence,
            lost: self.source.take_lost(),
            notes: self.notes,
            accessed: self.accessed,
            executed: self.executed.summary(),
            carried: self.carried.summary(),
        }
    }

    /// Whether the last exit to be replayed is behind.
    fn is_over(&self) -> bool {
        self.exits > self.until || self.source.is_last()
    }

    /// The number in the trace of a site of this run.
    #[inline]
    fn recorded_number(&mut self, number: u32) -> Option<u32> {
        while self.names.len() < self.sites.sites().len() {
            let site = &self.sites.sites()[self.names.len()];
            self.names.push(self.by_site.get(site).copied());
        }
        self.names[number as usize]
    }

    /// Whether a site of this run is that of the trace but for its instruction's bytes. A site keeps the bytes that it was first seen
    /// with, and a replay that starts late may find others there.
    #[cold]
    fn was_seen_before(&self, recorded: u32, number: u32) -> bool {
        const LONGEST: u64 = 15;
        let (recorded, here) =
            (&self.recorded_sites[recorded as usize], &self.sites.sites()[number as usize]);
        let distance = recorded.instruction.address.0.abs_diff(here.instruction.address.0);
        self.starts_late
            && (recorded.kind, recorded.address, recorded.size) == (here.kind, here.address, here.size)
            && distance <= LONGEST
    }

    fn past(&self, index: u64, site: u32, data: &[u8]) -> PastExit {
        let site = self.recorded_sites[site as usize].clone();
        PastExit { index, site, data: data.to_vec() }
    }

    /// The current recorded exit.
    fn expected(&self) -> Option<PastExit> {
        self.source.current().map(|r| self.past(r.index, r.site, r.data))
    }

    fn diverge(&mut self, what: What, actual: Option<PastExit>, differences: Vec<Difference>, note: String) {
        if self.divergence.is_some() {
            return;
        }
        let history = self.history.iter().map(|(index, site, data)| self.past(*index, *site, data)).collect();
        let expected = self.expected();
        let exit = expected.as_ref().map_or(self.exits, |e| e.index);
        let (clock, leads) = (None, Vec::new());
        self.divergence =
            Some(Divergence { exit, what, expected, actual, differences, note, history, clock, leads });
    }

    /// KVM gave up in the middle: a divergence, for the recording went on.
    pub(crate) fn gave_up(&mut self, why: &MachineError) {
        if self.source.advance() {
            self.diverge(What::GaveUp, None, Vec::new(), why.to_string());
        }
    }

    /// Goes on to the next recorded exit, now that the guest has made one.
    #[inline]
    fn goes_on(&mut self, exit: &Exit, number: u32) -> bool {
        if self.source.peek_event().is_none() {
            return self.source.advance();
        }
        // The recording has an event that was waiting for the last exit's instruction to be complete: completing it led here.
        let (site, data) = (self.sites.sites()[number as usize].clone(), exit.data().to_vec());
        let actual = PastExit { index: self.exits, site, data };
        self.diverge(What::Completion, Some(actual), Vec::new(), String::new());
        false
    }

    /// Compares an exit with the recorded one; true if they are the same as far as they can be compared.
    fn compare(&mut self, machine: &Machine, exit: &Exit, number: u32) -> bool {
        let name = self.recorded_number(number);
        let registers = compared(machine.registers());
        let Some(recorded) = self.source.current() else { return true };
        let is_input = exit.kind().is_input();
        let same_site = name == Some(recorded.site) || self.was_seen_before(recorded.site, number);
        let same_size = exit.data().len() == recorded.data.len();
        let same_data = is_input || exit.data() == recorded.data;
        if same_site && same_size && same_data && registers == *recorded.registers {
            return true;
        }
        if self.elsewhere.is_some() {
            let is_shutdown = |kind| kind == ExitKind::Shutdown;
            let kind = self.recorded_sites[recorded.site as usize].kind;
            // What a triple fault leaves of the registers is the engine's: AMD's KVM resets them.
            if is_shutdown(exit.kind()) && is_shutdown(kind)
                || same_site
                    && same_size
                    && same_data
                    && Elsewhere::are_same_registers(recorded.registers, &registers)
            {
                return true;
            }
        }
        let differences: Vec<_> = (0..digests::COMPARED)
            .filter(|&r| registers[r] != recorded.registers[r])
            .map(|r| Difference {
                name: digests::name(r).to_owned(),
                expected: format!("{:#x}", recorded.registers[r]),
                actual: format!("{:#x}", registers[r]),
            })
            .collect();
        let what = if !same_site || !same_size {
            What::Site
        } else if !same_data {
            What::Data
        } else {
            What::Registers
        };
        // What the guest reads is the log's to say, whichever side: shown as recorded only.
        let data = if is_input { vec![0; exit.data().len()] } else { exit.data().to_vec() };
        let data = if is_input && same_site && same_size { recorded.data.to_vec() } else { data };
        let actual =
            PastExit { index: recorded.index, site: self.sites.sites()[number as usize].clone(), data };
        self.diverge(what, Some(actual), differences, String::new());
        false
    }

    /// Brings both sides to an exit that both make. True: this one is made here alone, and is done with.
    #[cold]
    fn passes_over(&mut self, exit: &Exit, number: u32) -> bool {
        let name = self.recorded_number(number);
        loop {
            let Some(recorded) = self.source.current() else { return false };
            if name == Some(recorded.site) {
                return false;
            }
            let kind = self.recorded_sites[recorded.site as usize].kind;
            // An event behind an exit that is not made has no place here.
            if !Elsewhere::is_optional(kind) || self.source.peek_event().is_some() {
                break;
            }
            self.remember();
            self.exits += 1;
            if !self.source.advance() {
                return false;
            }
        }
        self.awaits = Elsewhere::is_optional(exit.kind());
        self.awaits
    }

    fn remember(&mut self) {
        let Some(r) = self.source.current() else { return };
        let entry = (r.index, r.site, r.data.to_vec());
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(entry);
    }

    /// The guest's TSC shows from here on what it showed in the recording: behind this exit, or this carried keyframe.
    #[inline]
    fn hold_tsc(&mut self, machine: &mut Machine, keyframe: Option<u32>) {
        if let Some(value) = self.source.next_held_tsc(self.exits, keyframe) {
            machine.set_held_tsc(value);
        }
    }

    fn print_console(&mut self, index: u64) -> Result<(), ReplayError> {
        while let Some(text) = self.console.next_if(|t| t.as_ref().map_or(true, |t| t.exit <= index)) {
            let text = text?;
            (self.progress)(Progress::Console(text.channel, &text.bytes));
        }
        Ok(())
    }

    fn apply(&mut self, machine: &mut Machine, event: Event) -> Result<(), ReplayError> {
        match event {
            Event::Interrupt { vector } if machine.can_take_interrupt() => {
                machine.inject_interrupt(vector)?;
            }
            Event::Interrupt { vector } => {
                let note = format!("vector {vector:#x}: interrupts are disabled or shadowed");
                self.diverge(What::Interrupt, None, Vec::new(), note);
            }
            Event::Nmi if machine.can_take_nmi()? => machine.inject_nmi()?,
            Event::Nmi => {
                let note = "an NMI: the guest cannot take one here".into();
                self.diverge(What::Interrupt, None, Vec::new(), note);
            }
            Event::TaskPriority { cr8 } => machine.set_cr8(cr8),
            Event::WindowRequested => machine.request_interrupt_window(true),
            Event::WindowCancelled => machine.request_interrupt_window(false),
            Event::Checkpoint => self.check(machine)?,
            Event::Keyframe { number, carried } => self.keyframe(machine, number, carried)?,
            Event::MemoryWrite { gpa, bytes } => machine.memory().write(Gpa(gpa), &bytes)?,
            Event::FileRead { gpa, file, offset, length, xxh3 } => {
                self.from_file.resize(length as usize, 0);
                self.files.read(file, offset, xxh3, &mut self.from_file)?;
                machine.memory().write(Gpa(gpa), &self.from_file)?;
            }
            Event::Jump { rip } => machine.jump(rip)?,
        }
        Ok(())
    }
}

/// What was printed from this exit on.
fn console_from(trace: &Trace, exit: u64) -> Texts<'_> {
    let texts = trace.console().flat_map(|chunk| match chunk {
        Ok(texts) => texts.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    Box::new(texts.filter(move |text| text.as_ref().map_or(true, |text| text.exit >= exit)))
}

impl<O: Observer> Handler for ReplayHandler<'_, O> {
    type Error = ReplayError;

    #[inline]
    fn exit(&mut self, machine: &mut Machine, exit: &mut Exit) -> Result<Flow, ReplayError> {
        if self.divergence.is_some() {
            return Ok(Flow::Settle);
        }
        if machine.tsc_has_slipped() {
            machine.take_tsc_slips();
            self.slipped = Some(self.exits);
        }
        let number = self.sites.number(machine, exit)?;
        if !std::mem::take(&mut self.awaits) && !self.goes_on(exit, number) {
            return Ok(Flow::Settle);
        }
        if self.elsewhere.is_some() && self.passes_over(exit, number) {
            return Ok(Flow::Continue);
        }
        if !self.compare(machine, exit, number) {
            return Ok(Flow::Settle);
        }
        if let Some(recorded) = self.source.current() {
            if exit.kind().is_input() {
                exit.data_mut().copy_from_slice(recorded.data);
            }
            exit.fault = recorded.fault;
            let (index, site) = (recorded.index, recorded.site);
            self.observer.exit(index, site, machine)?;
            self.print_console(index)?;
        }
        self.remember();
        self.exits += 1;
        self.hold_tsc(machine, None);
        if self.exits.is_multiple_of(PROGRESS_EXITS) {
            (self.progress)(Progress::Exits(self.exits));
        }
        // What KVM takes from `kvm_run` at its next entry, whether or not that completes the instruction.
        while let Some(Event::WindowRequested | Event::WindowCancelled | Event::TaskPriority { .. }) =
            self.source.peek_event()
            && let Some(event) = self.source.next_event()
        {
            self.apply(machine, event)?;
        }
        let settle = self.is_over() || self.source.peek_event().is_some();
        Ok(if settle { Flow::Settle } else { Flow::Continue })
    }

    fn settled(&mut self, machine: &mut Machine) -> Result<Control, ReplayError> {
        self.is_compared = false;
        self.apply_events(machine)?;
        self.check_end();
        if self.divergence.is_none() && self.source.is_last() {
            // What was printed behind the last exit, by a transfer.
            self.print_console(u64::MAX)?;
        }
        let is_over = self.divergence.is_some() || self.is_over();
        Ok(if is_over { Control::Stop } else { Control::Continue })
    }

    fn kicked(&mut self, _: &mut Machine) -> Result<Control, ReplayError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ReplayError::Interrupted { exits: self.exits });
        }
        if !self.silence.is_too_long(self.exits) {
            return Ok(Control::Continue);
        }
        self.source.advance();
        self.diverge(
            What::Silence,
            None,
            Vec::new(),
            "it computes without an exit where the recording had one".into(),
        );
        Ok(Control::Stop)
    }
}
