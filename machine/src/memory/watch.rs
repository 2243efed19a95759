//! Which pages of guest memory hold something else than when they were last looked at.
//!
//! KVM's log of written pages says where to look, joined with our own bitmap of what we wrote. What is written there is no more
//! than a hint: only a page whose content is another counts, so that a host that logs a page without need, or that has no log at
//! all, gives the same answer.

use super::{Memory, PageTable};
use crate::error::MachineError;
use crate::machine::Machine;
use trapline_formats::Gpa;
use trapline_formats::memory::{PAGE_BYTES, is_zero, page_hash};

/// What memory held when it was last looked at.
#[derive(Debug)]
pub struct MemoryWatch {
    /// XXH3-64 of each page.
    hashes: PageTable<u64>,
    /// That of a page of zeros.
    zeros: u64,
    /// KVM logs what the guest writes.
    is_logged: bool,
}

/// A page that holds something else than when it was last looked at: XXH3-64 of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// Its number.
    pub page: u64,
    /// What it held.
    pub before: u64,
    /// What it holds.
    pub now: u64,
}

impl MemoryWatch {
    /// Looks at all of memory, and from now on at what is written. `visit` gets every page that is not all zeros, ascending:
    /// (number, hash, content). `logs_writes` is what [`logs_writes`](crate::doctor::logs_writes) found.
    pub fn start(
        machine: &Machine,
        logs_writes: bool,
        mut visit: impl FnMut(u64, u64, &[u8; PAGE_BYTES]),
    ) -> Result<Self, MachineError> {
        let zeros = page_hash(&[0; PAGE_BYTES]);
        let memory = machine.memory();
        let is_logged = logs_writes && memory.log_writes(machine.vm())?;
        // What was written so far is looked at now.
        memory.take_written(machine.vm(), is_logged)?;
        let mut hashes = PageTable::filled(memory.regions(), zeros);
        memory.for_each_page(|page, content| {
            let hash = page_hash(content);
            if let Some(place) = hashes.get_mut(page) {
                *place = hash;
            }
            visit(page, hash, content);
        })?;
        Ok(Self { hashes, zeros, is_logged })
    }

    /// The hash of a page when it was last looked at.
    pub fn hash(&self, page: u64) -> u64 {
        self.hashes.get(page).unwrap_or(self.zeros)
    }

    /// The hash of a page of zeros.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// The pages that are not all zeros, as they were when they were last looked at: (number, hash), ascending.
    pub fn hashes(&self) -> impl Iterator<Item = (u64, u64)> {
        self.hashes.iter().filter(|(_, hash)| *hash != self.zeros)
    }

    /// Looks at what was written since the last look: the pages that hold something else, ascending. The guest must stand still.
    pub fn changed(&mut self, machine: &Machine) -> Result<Vec<Changed>, MachineError> {
        let written = machine.memory().take_written(machine.vm(), self.is_logged)?;
        self.look(machine.memory(), written.iter(), |_, _| {})
    }

    /// Looks at every page that may hold something, whether or not it is said to have been written. `visit` sees it: (number, content).
    pub fn look_at_all(
        &mut self,
        machine: &Machine,
        visit: impl FnMut(u64, &[u8; PAGE_BYTES]),
    ) -> Result<Vec<Changed>, MachineError> {
        machine.memory().take_written(machine.vm(), self.is_logged)?;
        self.look(machine.memory(), machine.memory().in_use().iter(), visit)
    }

    fn look(
        &mut self,
        memory: &Memory,
        pages: impl Iterator<Item = u64>,
        mut visit: impl FnMut(u64, &[u8; PAGE_BYTES]),
    ) -> Result<Vec<Changed>, MachineError> {
        let mut changed = Vec::new();
        let mut content = [0; PAGE_BYTES];
        for page in pages {
            memory.read(Gpa(page * PAGE_BYTES as u64), &mut content)?;
            visit(page, &content);
            let now = if is_zero(&content) { self.zeros } else { page_hash(&content) };
            if let Some(place) = self.hashes.get_mut(page) {
                let before = std::mem::replace(place, now);
                if before != now {
                    changed.push(Changed { page, before, now });
                }
            }
        }
        Ok(changed)
    }
}
