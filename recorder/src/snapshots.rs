//! When the complete state of the guest is written down, and what of it is new.

use crate::error::RecorderError;
use crate::log::Log;
use std::num::NonZeroU64;
use trapline_formats::digests::{Checkpoint, MemoryDigest};
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{CpuState, Gpa, Keyframe, Pages};
use trapline_machine::{Machine, MemoryWatch, PageSet};

/// Every so many exits the complete state is written down: by their number alone, so that two recordings of one guest under the
/// virtual clock do it at the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    /// A keyframe, to start a replay from; `None`: never.
    pub keyframe: Option<NonZeroU64>,
    /// A checkpoint of the CPU and of memory, to be compared. A keyframe is one, too.
    pub digest: NonZeroU64,
}

impl Every {
    /// Exits from one keyframe to the next, unless told otherwise.
    pub const KEYFRAME: NonZeroU64 = NonZeroU64::new(8192).unwrap();
    /// Exits from one checkpoint to the next, unless told otherwise.
    pub const DIGEST: NonZeroU64 = NonZeroU64::new(4096).unwrap();
}

impl Default for Every {
    fn default() -> Self {
        Self { keyframe: Some(Self::KEYFRAME), digest: Self::DIGEST }
    }
}

/// Keyframes and checkpoints of one recording.
#[derive(Debug)]
pub(crate) struct Snapshots {
    watch: MemoryWatch,
    /// Pages that checkpoints found changed since the last keyframe.
    since_keyframe: PageSet,
    keyframes: u32,
    every: Every,
    next_keyframe: u64,
    next_digest: u64,
    /// The first checkpoint tells of all memory: a replay whose start is not the recording's finds it there.
    is_first: bool,
}

/// Where the guest stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stand {
    /// Exits so far.
    pub(crate) exits: u64,
    pub(crate) window_requested: bool,
    /// Between two exits: see [`Keyframe::carried`].
    pub(crate) carried: bool,
}

impl Stand {
    fn last_exit(&self) -> u64 {
        self.exits.saturating_sub(1)
    }
}

impl Snapshots {
    /// Before the first exit.
    pub(crate) fn new(watch: MemoryWatch, machine: &Machine, every: Every) -> Self {
        Self {
            watch,
            since_keyframe: PageSet::empty(machine.memory().regions()),
            keyframes: 0,
            next_keyframe: every.keyframe.map_or(u64::MAX, NonZeroU64::get),
            next_digest: every.digest.get(),
            is_first: true,
            every,
        }
    }

    /// The number of exits at which the next one is due.
    pub(crate) fn next(&self) -> u64 {
        self.next_keyframe.min(self.next_digest)
    }

    /// Writes down what is due. The guest is settled.
    pub(crate) fn look(
        &mut self,
        machine: &Machine,
        log: &mut Log,
        stand: Stand,
    ) -> Result<(), RecorderError> {
        if stand.exits >= self.next_keyframe && machine.can_be_left()? {
            self.keyframe(machine, log, stand)
        } else if stand.exits >= self.next_digest {
            let changed = self.changed(machine)?;
            let memory = if std::mem::take(&mut self.is_first) {
                MemoryDigest::All(self.watch.hashes().collect())
            } else {
                MemoryDigest::Changed(changed)
            };
            self.checkpoint(machine, log, stand, memory)
        } else {
            Ok(())
        }
    }

    /// The checkpoint that a recording ends with: of all memory, whatever was said to have been written. `visit` sees it.
    pub(crate) fn last(
        &mut self,
        machine: &Machine,
        log: &mut Log,
        stand: Stand,
        visit: impl FnMut(u64, &[u8; PAGE_BYTES]),
    ) -> Result<(), RecorderError> {
        self.watch.look_at_all(machine, visit)?;
        let all = self.watch.hashes().collect();
        self.checkpoint(machine, log, stand, MemoryDigest::All(all))
    }

    fn checkpoint(
        &mut self,
        machine: &Machine,
        log: &mut Log,
        stand: Stand,
        memory: MemoryDigest,
    ) -> Result<(), RecorderError> {
        log.checkpoint(Checkpoint { exit: stand.last_exit(), cpu: machine.save()?, memory });
        self.next_digest = stand.exits.saturating_add(self.every.digest.get());
        Ok(())
    }

    /// Writes a keyframe. Its pages are hashed here; finding out which are stored already, compressing and writing is the writer's.
    pub(crate) fn keyframe(
        &mut self,
        machine: &Machine,
        log: &mut Log,
        stand: Stand,
    ) -> Result<(), RecorderError> {
        self.changed(machine)?;
        self.write_keyframe(machine, log, stand, machine.save()?)
    }

    fn write_keyframe(
        &mut self,
        machine: &Machine,
        log: &mut Log,
        stand: Stand,
        cpu: CpuState,
    ) -> Result<(), RecorderError> {
        let mut pages = Pages::new();
        let (mut changes, mut content) = (0, [0; PAGE_BYTES]);
        for page in self.since_keyframe.iter() {
            machine.memory().read(Gpa(page * PAGE_BYTES as u64), &mut content)?;
            pages.push(page, self.watch.hash(page), &content);
            changes += 1;
            if pages.is_full() {
                log.keyframe_pages(stand.last_exit(), std::mem::replace(&mut pages, Pages::new()))?;
            }
        }
        log.keyframe_pages(stand.last_exit(), pages)?;
        self.since_keyframe.clear();
        let number = self.keyframes;
        log.keyframe(Keyframe {
            number,
            exit: stand.last_exit(),
            carried: stand.carried,
            window_requested: stand.window_requested,
            cpu,
            changes,
        })?;
        self.keyframes += 1;
        let after = |every: NonZeroU64| stand.exits.saturating_add(every.get());
        (self.next_keyframe, self.next_digest) =
            (self.every.keyframe.map_or(u64::MAX, after), after(self.every.digest));
        Ok(())
    }

    /// Writes a keyframe between two exits, if it has at most so many pages: how many. Otherwise one is due at the next exit, which
    /// leaves the next position between exits with less.
    pub(crate) fn carry(
        &mut self,
        machine: &Machine,
        log: &mut Log,
        stand: Stand,
        cpu: &CpuState,
        most: u64,
    ) -> Result<Option<u64>, RecorderError> {
        self.changed(machine)?;
        let pages = self.since_keyframe.iter().count() as u64;
        if pages > most {
            self.next_keyframe = stand.exits;
            return Ok(None);
        }
        self.write_keyframe(machine, log, stand, cpu.clone())?;
        Ok(Some(pages))
    }

    /// Number of the keyframe that was written last.
    pub(crate) fn last_keyframe(&self) -> Option<u32> {
        self.keyframes.checked_sub(1)
    }

    fn changed(&mut self, machine: &Machine) -> Result<Vec<(u64, u64)>, RecorderError> {
        let changed = self.watch.changed(machine)?;
        for changed in &changed {
            self.since_keyframe.insert(changed.page);
        }
        Ok(changed.into_iter().map(|changed| (changed.page, changed.now)).collect())
    }
}
