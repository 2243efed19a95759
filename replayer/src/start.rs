//! Where a replay starts: at the start of the recording, or at a keyframe.

use crate::error::ReplayError;
use crate::memory_check::write_pages;
use std::collections::BTreeMap;
use trapline_formats::{Change, Content, Gpa, Keyframe, Trace};
use trapline_machine::{Convention, Kvm, Machine, MachineConfig, PageTable, available_memory};

/// A machine that stands where a replay starts.
pub(crate) struct Start {
    pub(crate) machine: Machine,
    /// The content of each page there.
    pub(crate) contents: PageTable<Content>,
    /// The keyframe; `None` at the start of the recording.
    pub(crate) keyframe: Option<Keyframe>,
    /// Keyframes that could not be used, and why.
    pub(crate) unusable: Vec<String>,
}

impl Start {
    /// At the last keyframe before this exit that can be used; otherwise at the start.
    pub(crate) fn before(
        kvm: &Kvm,
        convention: Convention,
        trace: &Trace,
        exit: u64,
    ) -> Result<Self, ReplayError> {
        let last = trace.keyframes().before(exit);
        let mut unusable = Vec::new();
        for number in (0..last.map_or(0, |number| number + 1)).rev() {
            match Self::at(kvm, convention, trace, number) {
                Ok(Some(start)) => return Ok(Self { unusable, ..start }),
                Ok(None) => {}
                Err(ReplayError::Trace(error)) => unusable.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(Self { unusable, ..Self::of_recording(kvm, convention, trace)? })
    }

    /// At the start of the recording.
    pub(crate) fn of_recording(
        kvm: &Kvm,
        convention: Convention,
        trace: &Trace,
    ) -> Result<Self, ReplayError> {
        let mut machine = empty_machine(kvm, convention, trace)?;
        let contents = load_start(&machine, trace, |_| true)?;
        machine.restore(&trace.start_state()?)?;
        Ok(Self { machine, contents, keyframe: None, unusable: Vec::new() })
    }

    fn at(
        kvm: &Kvm,
        convention: Convention,
        trace: &Trace,
        number: u32,
    ) -> Result<Option<Self>, ReplayError> {
        let keyframes = trace.keyframes();
        let Some(keyframe) = keyframes.read(number)? else { return Ok(None) };
        // First of all: a guest that has more memory than there is is refused, and its pages are many.
        let mut machine = empty_machine(kvm, convention, trace)?;
        let mut changed = BTreeMap::<u64, Change>::new();
        for earlier in 0..=number {
            let changes = keyframes.changes(earlier)?.unwrap_or_default();
            changed.extend(changes.into_iter().map(|change| (change.page, change)));
        }
        let mut contents = load_start(&machine, trace, |page| !changed.contains_key(&page))?;
        for change in changed.values() {
            if let Some(content) = contents.get_mut(change.page) {
                *content = change.content;
            }
        }
        machine.bring_to(&keyframe.cpu, keyframe.window_requested, |machine| {
            write_pages(machine, &keyframes, changed.into_values().collect()).map(|()| true)
        })?;
        Ok(Some(Self { machine, contents, keyframe: Some(keyframe), unusable: Vec::new() }))
    }
}

/// Writes the pages of the start that are wanted. Their contents are numbered whether they are or not.
fn load_start(
    machine: &Machine,
    trace: &Trace,
    is_wanted: impl Fn(u64) -> bool,
) -> Result<PageTable<Content>, ReplayError> {
    let mut contents = PageTable::filled(machine.memory().regions(), Content::Zeros);
    let mut failed = None;
    let mut next = 0;
    trace.start_memory(|page, bytes| {
        if let Some(content) = contents.get_mut(page) {
            *content = Content::Stored(next);
        }
        next += 1;
        if !is_wanted(page) {
            return;
        }
        let gpa = Gpa(page.saturating_mul(bytes.len() as u64));
        if let Err(error) = machine.memory().write(gpa, bytes) {
            failed.get_or_insert(error);
        }
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(contents),
    }
}

fn empty_machine(kvm: &Kvm, convention: Convention, trace: &Trace) -> Result<Machine, ReplayError> {
    let header = trace.header();
    let wanted = header.memory.iter().fold(0u64, |all, r| all.saturating_add(r.bytes));
    if wanted > available_memory() {
        let (wanted, available) = (wanted >> 20, available_memory() >> 20);
        let why =
            format!("its guest has {wanted} MiB of memory, and this host has {available} MiB available");
        return Err(ReplayError::Host(why));
    }
    let config = MachineConfig {
        memory: header.memory.clone(),
        cpuid: header.cpuid.clone(),
        msrs_allowed: header.msrs_allowed.clone(),
        stand_ins: header.stand_ins,
    };
    let mut machine = Machine::new(kvm, &config)?;
    machine.set_convention(convention);
    Ok(machine)
}
