//! What is compared at checkpoints and keyframes: the complete state, and memory page by page.

use super::ReplayHandler;
use crate::attempts::Attempt;
use crate::divergence::What;
use crate::elsewhere::{Elsewhere, is_same_but_for_resume_flag};
use crate::error::ReplayError;
use crate::memory_check;
use crate::observer::Observer;
use crate::page;
use std::sync::atomic::Ordering;
use trapline_formats::digests::MemoryDigest;
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{Change, CpuState, Difference, ExitKind, Gpa, Keyframe};
use trapline_machine::{Machine, MachineError, ticks};

impl<O: Observer> ReplayHandler<'_, O> {
    /// Compares the complete state with a checkpoint.
    #[cold]
    pub(super) fn check(&mut self, machine: &Machine) -> Result<(), ReplayError> {
        let Some(checkpoint) = self.source.next_checkpoint() else { return Ok(()) };
        if !self.check_state(machine, &checkpoint.cpu)? {
            return Ok(());
        }
        // Elsewhere, only what is left in the end counts.
        let passes = self.elsewhere.is_some() && !self.source.is_last();
        let differences = match checkpoint.memory {
            MemoryDigest::None => return Ok(()),
            _ if passes => return Ok(self.memory.pass(machine)?),
            MemoryDigest::All(pages) => self.memory.compare_all(machine, &pages)?,
            MemoryDigest::Changed(_) if self.elsewhere.is_some() => return Ok(self.memory.pass(machine)?),
            MemoryDigest::Changed(pages) => self.memory.compare(machine, pages.into_iter())?,
        };
        self.judge(machine, differences)
    }

    /// Compares the complete state with a keyframe, or takes it over where it is carried.
    #[cold]
    pub(super) fn keyframe(
        &mut self,
        machine: &mut Machine,
        number: u32,
        carried: bool,
    ) -> Result<(), ReplayError> {
        let (keyframe, changes) = match self.memory.read(number) {
            Ok((keyframe, changes)) => (keyframe, changes),
            Err(error) if carried => return Err(error.into()),
            // It is there to be compared, and to start from: what follows can be replayed without.
            Err(error) => {
                self.notes.push(format!("keyframe {number} was not compared: {error}"));
                return Ok(self.memory.pass_keyframe(machine)?);
            }
        };
        if carried {
            return self.come_between(machine, &keyframe, &changes);
        }
        self.memory.note(number, &changes);
        if !self.check_state(machine, &keyframe.cpu)? {
            return Ok(());
        }
        if self.elsewhere.is_some() {
            return Ok(self.memory.pass_keyframe(machine)?);
        }
        let recorded = changes.iter().map(|change| (change.page, change.hash));
        let differences = self.memory.compare_keyframe(machine, recorded)?;
        self.judge(machine, differences)
    }

    /// Brings the machine to a position between two exits: by executing, where that leads there, and in any case to the state that the
    /// recording went on from.
    fn come_between(
        &mut self,
        machine: &mut Machine,
        keyframe: &Keyframe,
        changes: &[Change],
    ) -> Result<(), ReplayError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ReplayError::Interrupted { exits: self.exits });
        }
        // It goes on, if without exits.
        self.silence.forget();
        let start = ticks();
        let attempt = self.attempts.make(machine, &mut self.memory, keyframe, changes)?;
        let came = matches!(attempt, Attempt::Came);
        if let Attempt::Never(differences, pages) = attempt {
            self.memory.note(keyframe.number, changes);
            self.judge_round(machine, differences, pages)?;
            if self.divergence.is_some() {
                return Ok(());
            }
        }
        self.memory.carry(machine, keyframe, changes)?;
        let passed = u128::from(ticks().wrapping_sub(start));
        let ns = (passed * 1_000_000_000 / u128::from(self.tick_hz.max(1))) as u64;
        let times = if came { &mut self.executed } else { &mut self.carried };
        times.note(ns);
        self.hold_tsc(machine, Some(keyframe.number));
        Ok(())
    }

    /// Diverges where the guest comes round to the same state for ever, and not to the one that the trace carries.
    fn judge_round(
        &mut self,
        machine: &Machine,
        differences: Vec<Difference>,
        pages: Vec<memory_check::Difference>,
    ) -> Result<(), ReplayError> {
        const NOTE: &str = "between this exit and the next the guest comes round to the same state for ever, and not to the one that \
                            the trace carries";
        if differences.is_empty() {
            self.judge(machine, pages)?;
            if let Some(divergence) = &mut self.divergence {
                divergence.add_note(NOTE);
            }
        } else {
            self.diverge(What::State, None, differences, NOTE.into());
        }
        Ok(())
    }

    fn check_state(&mut self, machine: &Machine, recorded: &CpuState) -> Result<bool, ReplayError> {
        let differences = self.state_differences(machine, recorded)?;
        let is_same = differences.is_empty();
        if !is_same {
            self.diverge(What::State, None, differences, "after the exit's instruction completed".into());
        }
        Ok(is_same)
    }

    fn state_differences(
        &self,
        machine: &Machine,
        recorded: &CpuState,
    ) -> Result<Vec<Difference>, MachineError> {
        let replayed = machine.save()?;
        if self.elsewhere.is_none() {
            return Ok(recorded.differences(&replayed));
        }
        let kind = self.source.current().map(|r| self.recorded_sites[r.site as usize].kind);
        if kind == Some(ExitKind::Shutdown) {
            return Ok(Vec::new());
        }
        Ok(Elsewhere::differences(recorded, &replayed, machine))
    }

    /// Diverges for pages that differ, unless that is explained.
    fn judge(
        &mut self,
        machine: &Machine,
        differences: Vec<memory_check::Difference>,
    ) -> Result<(), ReplayError> {
        let mut unexplained = Vec::new();
        for difference in differences {
            let mut replayed = vec![0; PAGE_BYTES];
            machine.memory().read(Gpa(difference.page * PAGE_BYTES as u64), &mut replayed)?;
            if self.elsewhere.is_some() {
                if !is_same_but_for_resume_flag(&replayed, difference.recorded) {
                    unexplained.push(page::hashes(difference, self.memory.zeros()));
                }
                continue;
            }
            match self.memory.recorded(difference) {
                Some(recorded) if page::differs_in_accessed_bits(&recorded, &replayed, machine.memory()) => {
                    self.memory.explain(difference);
                    let exit = self.source.current().map_or(self.exits, |r| r.index);
                    self.accessed.push((exit, difference.page));
                }
                Some(recorded) => unexplained.push(page::first_byte(difference.page, &recorded, &replayed)),
                None => unexplained.push(page::hashes(difference, self.memory.zeros())),
            }
        }
        if !unexplained.is_empty() {
            let note = "the first byte that differs of each page, or its XXH3-64 where the trace does not hold the page";
            self.diverge(What::Memory, None, unexplained, note.into());
        }
        Ok(())
    }
}
