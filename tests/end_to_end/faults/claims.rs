//! What a trace says that there is at its checkpoints and keyframes.

use super::executor::Sight;
use crate::support::plain::{Plain, PlainEvent};
use std::collections::{BTreeMap, BTreeSet};
use trapline_formats::digests::MemoryDigest;
use trapline_formats::memory::page_hash;
use trapline_formats::{CpuState, RFLAGS_RF};

const PAGE: usize = 4096;

/// What a trace has said so far of memory.
pub struct Claims<'p> {
    plain: &'p Plain,
    /// Hashes of pages; of those that are not here, it is that of zeros.
    hashes: BTreeMap<u64, u64>,
    /// The same at the last keyframe, or at the start: the next one tells what is another since.
    at_keyframe: BTreeMap<u64, u64>,
    /// What pages held at the last keyframe, or at the start.
    contents: BTreeMap<u64, &'p [u8]>,
}

/// What is not as a trace says at a checkpoint or a keyframe: of the processor, or if that is, of memory.
#[derive(Debug, Default)]
pub struct Unlike {
    pub names: BTreeSet<String>,
    /// What should be in the pages among them, where the trace holds it.
    pub contents: BTreeMap<String, Vec<u8>>,
}

impl<'p> Claims<'p> {
    /// At the start.
    pub fn of(plain: &'p Plain) -> Self {
        let mut claims =
            Self { plain, hashes: BTreeMap::new(), at_keyframe: BTreeMap::new(), contents: BTreeMap::new() };
        claims.holds(&plain.pages);
        claims
    }

    fn holds(&mut self, pages: &'p [(u64, Vec<u8>)]) {
        for (number, content) in pages {
            self.contents.insert(*number, content);
            self.at_keyframe.insert(*number, page_hash(content));
        }
        self.hashes = self.at_keyframe.clone();
    }

    /// Goes on to a checkpoint or a keyframe, and compares it.
    pub fn compare(&mut self, sight: &Sight) -> Unlike {
        let Some(look) = sight.place.look.checked_sub(1) else { return Unlike::default() };
        let mut looks = self.plain.exits[sight.place.exit as usize]
            .events
            .iter()
            .filter(|event| !matches!(event, PlainEvent::Plain(_)));
        let cpu = match looks.nth(look).unwrap() {
            PlainEvent::Checkpoint(checkpoint) => {
                match &checkpoint.memory {
                    MemoryDigest::None => {}
                    MemoryDigest::All(pages) => self.hashes = pages.iter().copied().collect(),
                    MemoryDigest::Changed(pages) => self.hashes.extend(pages.iter().copied()),
                }
                &checkpoint.cpu
            }
            PlainEvent::Keyframe(plain) => {
                self.holds(&plain.pages);
                &plain.keyframe.cpu
            }
            PlainEvent::Plain(_) => unreachable!("it is a look"),
        };
        let names = differences(cpu, &sight.cpu);
        if names.is_empty() {
            self.compare_memory(sight)
        } else {
            Unlike { names, contents: BTreeMap::new() }
        }
    }

    fn compare_memory(&self, sight: &Sight) -> Unlike {
        let zeros = page_hash(&[0; PAGE]);
        let seen: BTreeMap<_, _> = sight.pages.iter().copied().collect();
        let numbers: BTreeSet<_> = self.hashes.keys().chain(seen.keys()).collect();
        let mut unlike = Unlike::default();
        for number in numbers {
            let claimed = self.hashes.get(number).copied().unwrap_or(zeros);
            if claimed == seen.get(number).copied().unwrap_or(zeros) {
                continue;
            }
            let name = format!("page {:#x}", number << 12);
            let content = self.contents.get(number).map_or_else(|| vec![0; PAGE], |content| content.to_vec());
            if page_hash(&content) == claimed {
                unlike.contents.insert(name.clone(), content);
            }
            unlike.names.insert(name);
        }
        unlike
    }
}

/// Names what differs. The names are the product's; that nothing else differs is checked here.
fn differences(recorded: &CpuState, seen: &CpuState) -> BTreeSet<String> {
    let names: BTreeSet<_> =
        recorded.differences(seen).into_iter().map(|difference| difference.name).collect();
    let is_same = without_resume_flag(recorded) == without_resume_flag(seen);
    assert_eq!(is_same, names.is_empty(), "whatever differs has a name");
    names
}

/// RF is set or not by how an exit came about.
pub fn without_resume_flag(cpu: &CpuState) -> CpuState {
    let mut cpu = cpu.clone();
    cpu.registers.rflags &= !RFLAGS_RF;
    cpu
}
