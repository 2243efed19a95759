//! Carries a trace out without comparing anything with it: answers and events come from the trace, and all that can be seen of
//! the guest is shown to a spectator. The campaign trusts this, so it shares nothing with the replayer.

use crate::support::host::Host;
use crate::support::plain::{Plain, PlainEvent};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use trapline_formats::digests::{Compared, compared};
use trapline_formats::memory::page_hash;
use trapline_formats::{CpuState, Event, Gpa, Site};
use trapline_machine::{
    Control, Exit, Flow, Handler, Kicker, Machine, MachineConfig, MachineError, SiteTable, thread_time,
};

const PAGE: u64 = 4096;
const TICK: Duration = Duration::from_millis(250);
/// So many times its patience, a guest may do nothing at all.
const ASLEEP: u32 = 10;
/// What clock reads yield that nothing closes: no value that a guest was ever given.
const HARDWARE_TSC: u64 = 0x1234_5678_0000_0000;

/// A point in an execution: at an exit, or at the first, second … checkpoint or keyframe behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub exit: u64,
    pub look: usize,
}

/// All that can be seen of a guest at one point.
#[derive(Debug, Clone)]
pub struct Sight {
    pub place: Place,
    /// At an exit: where it comes from, and what the guest wrote. What it reads is zeros.
    pub exit: Option<(Site, Vec<u8>)>,
    pub registers: Compared,
    pub cpu: CpuState,
    /// Pages that are not all zeros: number and hash.
    pub pages: Vec<(u64, u64)>,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With the trace.
    Whole,
    /// The spectator had seen enough.
    Enough,
    /// An event behind this exit cannot be: the guest cannot take it, or stands between no two instructions.
    Impossible(u64),
    /// This exit does not come.
    Silent(u64),
    /// KVM, or this test, cannot do what the trace wants behind so many exits.
    Refused(u64, String),
}

/// What the trace leaves to files.
pub type Disk<'a> = Option<&'a [u8]>;

/// Carries a trace out; `sees` says whether it wants more.
pub fn execute(
    host: &Host,
    plain: &Plain,
    disk: Disk<'_>,
    silence: Duration,
    sees: &mut dyn FnMut(Sight) -> bool,
) -> Ending {
    let mut machine = match machine_at_start(host, plain) {
        Ok(machine) => machine,
        Err(error) => return Ending::Refused(0, error.to_string()),
    };
    let mut executor = Executor {
        plain,
        disk,
        sites: SiteTable::default(),
        next: 0,
        event: 0,
        look: 0,
        quiet: (0, thread_time(), 0),
        patience: silence,
        memory: Memory::default(),
        ending: None,
        sees,
    };
    let done = Arc::new(AtomicBool::new(false));
    let (kicker, is_done) = (Kicker::of_this_thread(), Arc::clone(&done));
    let ticker = std::thread::spawn(move || {
        while !is_done.load(Ordering::Relaxed) {
            std::thread::park_timeout(TICK);
            kicker.kick();
        }
    });
    let result = machine.run(&mut executor);
    done.store(true, Ordering::Relaxed);
    ticker.thread().unpark();
    ticker.join().unwrap();
    match (result, executor.ending) {
        (Err(error), _) => Ending::Refused(executor.next as u64, error.to_string()),
        (Ok(()), ending) => ending.unwrap_or(Ending::Whole),
    }
}

fn machine_at_start(host: &Host, plain: &Plain) -> Result<Machine, MachineError> {
    let header = &plain.header;
    let config = MachineConfig {
        memory: header.memory.clone(),
        cpuid: header.cpuid.clone(),
        msrs_allowed: header.msrs_allowed.clone(),
        stand_ins: header.stand_ins,
    };
    let mut machine = Machine::new(host.kvm, &config)?;
    machine.set_convention(host.convention);
    for (number, content) in &plain.pages {
        machine.memory().write(Gpa(number * PAGE), content)?;
    }
    machine.restore(&plain.start)?;
    machine.set_hardware_tsc(HARDWARE_TSC)?;
    Ok(machine)
}

struct Executor<'a> {
    plain: &'a Plain,
    disk: Disk<'a>,
    sites: SiteTable,
    /// Exits so far.
    next: usize,
    /// Events taken of those behind the last exit, and how many of them were looks.
    event: usize,
    look: usize,
    /// Exits at the last tick, the processor time when they were first as many, and ticks since.
    quiet: (usize, Duration, u32),
    patience: Duration,
    memory: Memory,
    ending: Option<Ending>,
    sees: &'a mut dyn FnMut(Sight) -> bool,
}

impl Executor<'_> {
    fn show(&mut self, machine: &Machine, exit: Option<(Site, Vec<u8>)>) -> Result<(), MachineError> {
        self.look = if exit.is_some() { 0 } else { self.look + 1 };
        let number = if exit.is_some() { self.next } else { self.next - 1 };
        let cpu = machine.save()?;
        let registers = compared(if exit.is_some() { machine.registers() } else { &cpu.registers });
        let place = Place { exit: number as u64, look: self.look };
        let sight = Sight { place, exit, registers, cpu, pages: self.memory.look(machine) };
        if !(self.sees)(sight) {
            self.end(Ending::Enough);
        }
        Ok(())
    }

    fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// The events behind the last exit that have not been taken.
    fn waiting(&self) -> &[PlainEvent] {
        match self.next.checked_sub(1) {
            Some(last) => &self.plain.exits[last].events[self.event..],
            None => &[],
        }
    }

    fn apply(&mut self, machine: &mut Machine, event: &Event) -> Result<(), MachineError> {
        let impossible = Ending::Impossible(self.next as u64 - 1);
        match event {
            Event::Interrupt { vector } if machine.can_take_interrupt() => {
                machine.inject_interrupt(*vector)?;
            }
            Event::Nmi if machine.can_take_nmi()? => machine.inject_nmi()?,
            Event::Interrupt { .. } | Event::Nmi => self.end(impossible),
            Event::TaskPriority { cr8 } => machine.set_cr8(*cr8),
            Event::WindowRequested => machine.request_interrupt_window(true),
            Event::WindowCancelled => machine.request_interrupt_window(false),
            Event::MemoryWrite { gpa, bytes } => machine.memory().write(Gpa(*gpa), bytes)?,
            Event::FileRead { gpa, offset, length, xxh3, .. } => {
                let end = offset.saturating_add(u64::from(*length)) as usize;
                let bytes = self.disk.and_then(|disk| disk.get(*offset as usize..end));
                match bytes.filter(|bytes| page_hash(bytes) == *xxh3) {
                    Some(bytes) => machine.memory().write(Gpa(*gpa), bytes)?,
                    None => {
                        self.end(Ending::Refused(self.next as u64, "the file holds something else".into()));
                    }
                }
            }
            Event::Jump { rip } => machine.jump(*rip)?,
            other => panic!("{} is no event of its own", other.name()),
        }
        Ok(())
    }
}

impl Handler for Executor<'_> {
    type Error = MachineError;

    fn exit(&mut self, machine: &mut Machine, exit: &mut Exit) -> Result<Flow, MachineError> {
        if self.ending.is_some() || self.next == self.plain.exits.len() {
            return Ok(Flow::Settle);
        }
        if !self.waiting().is_empty() {
            // Completing an instruction led here, where the trace has an event.
            self.end(Ending::Impossible(self.next as u64 - 1));
            return Ok(Flow::Settle);
        }
        let number = self.sites.number(machine, exit)?;
        let site = self.sites.sites()[number as usize].clone();
        self.show(machine, Some((site, exit.data().to_vec())))?;
        let recorded = &self.plain.exits[self.next];
        (self.next, self.event) = (self.next + 1, 0);
        if self.ending.is_some() {
            return Ok(Flow::Settle);
        }
        if exit.kind().is_input() {
            exit.data_mut().copy_from_slice(&recorded.data);
        }
        exit.fault = recorded.fault;
        // What KVM takes at its next entry, completed or not.
        while let [PlainEvent::Plain(event), ..] = self.waiting()
            && matches!(event, Event::WindowRequested | Event::WindowCancelled | Event::TaskPriority { .. })
        {
            let event = event.clone();
            self.event += 1;
            self.apply(machine, &event)?;
        }
        let settles = !self.waiting().is_empty() || self.next == self.plain.exits.len();
        Ok(if settles { Flow::Settle } else { Flow::Continue })
    }

    fn settled(&mut self, machine: &mut Machine) -> Result<Control, MachineError> {
        while self.ending.is_none()
            && let Some(event) = self.waiting().first().cloned()
        {
            self.event += 1;
            match event {
                PlainEvent::Plain(event) => self.apply(machine, &event)?,
                PlainEvent::Checkpoint(_) | PlainEvent::Keyframe(_) => self.show(machine, None)?,
            }
        }
        let is_over = self.ending.is_some() || self.next == self.plain.exits.len();
        Ok(if is_over { Control::Stop } else { Control::Continue })
    }

    fn kicked(&mut self, _: &mut Machine) -> Result<Control, MachineError> {
        // Of this thread alone: other programs take no patience from the guest. Unless it sleeps.
        let (exits, since, ticks) = self.quiet;
        self.quiet =
            if exits == self.next { (exits, since, ticks + 1) } else { (self.next, thread_time(), 0) };
        let (_, since, ticks) = self.quiet;
        if thread_time().saturating_sub(since) < self.patience && TICK * ticks < self.patience * ASLEEP {
            return Ok(Control::Continue);
        }
        self.end(Ending::Silent(self.next as u64));
        Ok(Control::Stop)
    }
}

/// What memory held at the last look. All of it is read at every look, but only what has become another is hashed.
#[derive(Default)]
struct Memory {
    content: Vec<u8>,
    /// Pages that are not all zeros: number and hash.
    hashes: BTreeMap<u64, u64>,
}

impl Memory {
    /// Pages that are not all zeros, in order.
    fn look(&mut self, machine: &Machine) -> Vec<(u64, u64)> {
        let regions = machine.memory().regions();
        self.content.resize(regions.iter().map(|region| region.bytes as usize).sum(), 0);
        let numbers = regions.iter().flat_map(|r| r.gpa / PAGE..(r.gpa + r.bytes) / PAGE);
        let mut now = [0; PAGE as usize];
        for (number, before) in numbers.zip(self.content.chunks_exact_mut(PAGE as usize)) {
            machine.memory().read(Gpa(number * PAGE), &mut now).unwrap();
            if now == *before {
                continue;
            }
            before.copy_from_slice(&now);
            if now == [0; PAGE as usize] {
                self.hashes.remove(&number);
            } else {
                self.hashes.insert(number, page_hash(&now));
            }
        }
        self.hashes.iter().map(|(number, hash)| (*number, *hash)).collect()
    }
}
