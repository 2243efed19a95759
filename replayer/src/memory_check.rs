//! Guest memory of a replay beside what the trace says of it.

use crate::error::ReplayError;
use std::collections::{BTreeMap, BTreeSet};
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{Change, Content, Gpa, Keyframe, Keyframes, TraceError};
use trapline_machine::{Changed, Machine, MachineError, MemoryWatch, PageTable};

/// Keyframes behind a checkpoint that are searched for the content of a page.
const SEARCHED: u32 = 16;

/// What memory holds, and where the trace has what it held.
pub(crate) struct MemoryCheck<'t> {
    keyframes: Keyframes<'t>,
    watch: MemoryWatch,
    /// The content of each page at the last keyframe, or at the start.
    contents: PageTable<Content>,
    /// The next keyframe.
    next: u32,
    /// Pages that changed here since the last keyframe, or since the start: what they held there.
    since_keyframe: BTreeMap<u64, u64>,
    /// Pages that differ and are explained: their hash in the recording.
    explained: BTreeMap<u64, u64>,
}

/// A page that differs: XXH3-64 of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) page: u64,
    pub(crate) recorded: u64,
    pub(crate) replayed: u64,
}

impl<'t> MemoryCheck<'t> {
    /// Of a machine that stands at the start, or right behind the keyframe before the one of this number.
    pub(crate) fn start(
        machine: &Machine,
        logs_writes: bool,
        keyframes: Keyframes<'t>,
        contents: PageTable<Content>,
        next: u32,
    ) -> Result<Self, MachineError> {
        let watch = MemoryWatch::start(machine, logs_writes, |_, _, _| {})?;
        Ok(Self {
            keyframes,
            watch,
            contents,
            next,
            since_keyframe: BTreeMap::new(),
            explained: BTreeMap::new(),
        })
    }

    /// Reads a keyframe, and the pages that changed since the one before.
    pub(crate) fn read(&self, number: u32) -> Result<(Keyframe, Vec<Change>), TraceError> {
        let missing = || self.keyframes.missing(number);
        let keyframe = self.keyframes.read(number)?.ok_or_else(missing)?;
        let changes = self.keyframes.changes(number)?.ok_or_else(missing)?;
        Ok((keyframe, changes))
    }

    /// The hash of a page of zeros.
    pub(crate) fn zeros(&self) -> u64 {
        self.watch.zeros()
    }

    /// Looks at what was written since the last look, whatever the trace says.
    pub(crate) fn pass(&mut self, machine: &Machine) -> Result<(), MachineError> {
        self.look(machine)?;
        Ok(())
    }

    /// The same, at a keyframe.
    pub(crate) fn pass_keyframe(&mut self, machine: &Machine) -> Result<(), MachineError> {
        self.look(machine)?;
        self.since_keyframe.clear();
        Ok(())
    }

    fn look(&mut self, machine: &Machine) -> Result<Vec<Changed>, MachineError> {
        let changed = self.watch.changed(machine)?;
        self.remember(&changed);
        Ok(changed)
    }

    fn remember(&mut self, changed: &[Changed]) {
        for Changed { page, before, .. } in changed {
            self.since_keyframe.entry(*page).or_insert(*before);
        }
    }

    /// The pages that differ, where these have changed in the recording since memory was last compared.
    pub(crate) fn compare(
        &mut self,
        machine: &Machine,
        recorded: impl Iterator<Item = (u64, u64)>,
    ) -> Result<Vec<Difference>, MachineError> {
        let changed = self.look(machine)?;
        let before = changed.iter().map(|c| (c.page, c.before)).collect();
        Ok(self.compare_changed(before, recorded))
    }

    /// The same at a keyframe, where these have changed in the recording since the keyframe before. One that left a page out would
    /// bring a replay that starts from it to what the page held before.
    pub(crate) fn compare_keyframe(
        &mut self,
        machine: &Machine,
        recorded: impl Iterator<Item = (u64, u64)>,
    ) -> Result<Vec<Difference>, MachineError> {
        self.look(machine)?;
        let before = std::mem::take(&mut self.since_keyframe);
        Ok(self.compare_changed(before, recorded))
    }

    fn compare_changed(
        &mut self,
        before: BTreeMap<u64, u64>,
        recorded: impl Iterator<Item = (u64, u64)>,
    ) -> Vec<Difference> {
        // A page that changed here, and not there, should hold what it held.
        let mut expected = before;
        expected.extend(std::mem::take(&mut self.explained));
        expected.extend(recorded);
        self.differences(expected.into_iter())
    }

    /// The pages that differ, where these are all that are not all zeros. All of memory is looked at.
    pub(crate) fn compare_all(
        &mut self,
        machine: &Machine,
        recorded: &[(u64, u64)],
    ) -> Result<Vec<Difference>, MachineError> {
        let changed = self.watch.look_at_all(machine, |_, _| {})?;
        self.remember(&changed);
        self.explained.clear();
        let recorded: BTreeMap<u64, u64> = recorded.iter().copied().collect();
        let pages: BTreeSet<u64> =
            recorded.keys().copied().chain(self.watch.hashes().map(|(page, _)| page)).collect();
        let zeros = self.zeros();
        let expected = pages.into_iter().map(|page| (page, recorded.get(&page).copied().unwrap_or(zeros)));
        Ok(self.differences(expected))
    }

    fn differences(&self, expected: impl Iterator<Item = (u64, u64)>) -> Vec<Difference> {
        expected
            .map(|(page, recorded)| Difference { page, recorded, replayed: self.watch.hash(page) })
            .filter(|d| d.recorded != d.replayed)
            .collect()
    }

    /// A page that differs will go on differing, and that is explained.
    pub(crate) fn explain(&mut self, difference: Difference) {
        self.explained.insert(difference.page, difference.recorded);
    }

    /// Notes where the contents of these pages are, of the keyframe of this number.
    pub(crate) fn note(&mut self, number: u32, changes: &[Change]) {
        self.next = number.saturating_add(1);
        for change in changes {
            if let Some(content) = self.contents.get_mut(change.page) {
                *content = change.content;
            }
        }
    }

    /// Looks at what was written since the last look: whether that left anything another.
    pub(crate) fn has_changed(&mut self, machine: &Machine) -> Result<bool, MachineError> {
        Ok(!self.look(machine)?.is_empty())
    }

    /// The pages that differ from a keyframe, where these have changed in the recording since the keyframe before, as they were at the last
    /// look. The keyframe stays the next one.
    pub(crate) fn differences_from(&self, changes: &[Change]) -> Vec<Difference> {
        let mut expected = self.since_keyframe.clone();
        expected.extend(&self.explained);
        expected.extend(changes.iter().map(|change| (change.page, change.hash)));
        self.differences(expected.into_iter())
    }

    /// What a page held in the recording, where the trace has it.
    pub(crate) fn recorded(&self, difference: Difference) -> Option<Vec<u8>> {
        let Difference { page, recorded: hash, .. } = difference;
        let load = |content| {
            let mut found = None;
            let wanted = vec![Change { page, hash, content }];
            self.keyframes.load(wanted, |_, bytes| found = Some(bytes.to_vec())).ok()?;
            found
        };
        if hash == self.zeros() {
            return Some(vec![0; PAGE_BYTES]);
        }
        let later = (self.next..self.next.saturating_add(SEARCHED))
            .filter_map(|number| self.keyframes.changes(number).ok()?)
            .flatten()
            .filter(|change| (change.page, change.hash) == (page, hash))
            .map(|change| change.content);
        self.contents.get(page).into_iter().chain(later).find_map(load)
    }

    /// Brings the machine to a keyframe that is carried.
    pub(crate) fn carry(
        &mut self,
        machine: &mut Machine,
        keyframe: &Keyframe,
        changes: &[Change],
    ) -> Result<(), ReplayError> {
        machine.bring_to(&keyframe.cpu, keyframe.window_requested, |machine| {
            let recorded = changes.iter().map(|change| (change.page, change.hash));
            let wrong = self.compare_keyframe(machine, recorded)?;
            self.note(keyframe.number, changes);
            let wanted = wrong.iter().map(|d| {
                let content = self.contents.get(d.page).unwrap_or(Content::Zeros);
                Change { page: d.page, hash: d.recorded, content }
            });
            write_pages(machine, &self.keyframes, wanted.collect()).map(|()| !wrong.is_empty())
        })?;
        self.pass_keyframe(machine).map_err(Into::into)
    }
}

/// Writes pages into guest memory.
pub(crate) fn write_pages(
    machine: &Machine,
    keyframes: &Keyframes<'_>,
    pages: Vec<Change>,
) -> Result<(), ReplayError> {
    let mut failed = None;
    keyframes.load(pages, |page, content| {
        let gpa = Gpa(page.saturating_mul(PAGE_BYTES as u64));
        if let Err(error) = machine.memory().write(gpa, content) {
            failed.get_or_insert(error);
        }
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
