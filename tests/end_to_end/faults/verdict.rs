//! What the replayer made of a fault, beside what the oracle says that it comes to.

use super::fault::{Fault, Position};
use super::oracle::Effect;
use super::subject::Subject;
use crate::support::host::Host;
use crate::support::replayed::{Replayed, attempt};
use std::collections::{BTreeMap, BTreeSet};
use tempfile::NamedTempFile;
use trapline_replayer::{Divergence, ReplayError, ReplayOptions, What};

/// How a fault was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has no effect, and the replay was faithful.
    NoEffect,
    /// It took effect, and was gone before anything was compared.
    Healed,
    /// At the very exit. What was named.
    AtExit(BTreeSet<String>),
    /// At the next checkpoint. What was named.
    AtCheckpoint(BTreeSet<String>),
    /// The trace was refused.
    Refused,
}

/// Puts a fault into a guest's trace and replays it; fails if the replay says anything else than the oracle.
pub fn try_fault(host: &Host, subject: &mut Subject, fault: &Fault, place: usize) -> Result<Verdict, String> {
    let mut faulty = subject.plain.clone();
    (fault.put)(&mut faulty, place);
    subject.reference(host);
    let disk = subject.disk.as_ref().map(|(_, content)| content.clone());
    let silence = subject.silence;
    let effect = subject.reference(host).effect(host, &faulty, disk.as_deref(), silence);
    let file = NamedTempFile::new().unwrap();
    faulty.write(file.path());
    let disks = subject.disk.iter().map(|(file, _)| file.path().to_owned()).collect();
    let options = ReplayOptions { silence, disks, ..ReplayOptions::default() };
    judge(&effect, attempt(host, file.path(), &options))
}

type Attempt = Result<Result<Replayed, Box<Divergence>>, ReplayError>;

fn judge(effect: &Effect, attempt: Attempt) -> Result<Verdict, String> {
    if let Some(place) = effect.missed {
        return Err(format!("{place:?} differs, and the trace says nothing of it: {effect:?}"));
    }
    match (attempt, effect) {
        (Ok(Ok(_)), effect) if effect.is_none() => Ok(Verdict::NoEffect),
        (Ok(Ok(_)), Effect { exit: None, checkpoint: None, refused: None, .. }) => Ok(Verdict::Healed),
        (Ok(Ok(_)), effect) => Err(format!("the replay was faithful, and {effect:?}")),
        (Ok(Err(divergence)), Effect { checkpoint: Some((place, unlike)), .. }) => {
            is_found(&divergence, place.exit, &unlike.names, &[What::State, What::Memory])?;
            names_bytes(&divergence, &unlike.contents)?;
            Ok(Verdict::AtCheckpoint(unlike.names.clone()))
        }
        (Ok(Err(divergence)), Effect { exit: Some((exit, names)), .. }) => {
            let whats = [
                What::Site,
                What::Data,
                What::Registers,
                What::Interrupt,
                What::Completion,
                What::Silence,
                What::GaveUp,
            ];
            is_found(&divergence, *exit, names, &whats)?;
            let mut named = names.clone();
            match divergence.what {
                What::Registers => {}
                What::Site => _ = named.insert("exit".into()),
                What::Data => _ = named.insert("data".into()),
                What::Silence | What::GaveUp => _ = named.insert("no exit".into()),
                _ => _ = named.insert("event".into()),
            }
            Ok(Verdict::AtExit(named))
        }
        (Ok(Err(divergence)), Effect { refused: Some(exits), .. }) if divergence.what == What::GaveUp => {
            is_found(&divergence, *exits, &BTreeSet::new(), &[What::GaveUp])?;
            Ok(Verdict::AtExit(BTreeSet::from(["no exit".to_owned()])))
        }
        (Err(_), Effect { refused: Some(_), .. }) => Ok(Verdict::Refused),
        (Ok(Err(divergence)), effect) => Err(format!("a divergence, and {effect:?}:\n{divergence}")),
        (Err(error), effect) => Err(format!("refused ({error}), and {effect:?}")),
    }
}

fn is_found(
    divergence: &Divergence,
    exit: u64,
    names: &BTreeSet<String>,
    whats: &[What],
) -> Result<(), String> {
    let named: BTreeSet<_> = divergence.differences.iter().map(|d| d.name.clone()).collect();
    if divergence.exit == exit && whats.contains(&divergence.what) && named == *names {
        return Ok(());
    }
    Err(format!("it is at exit {exit}, in {names:?}, and was found so:\n{divergence}"))
}

/// Of each page whose recorded content the trace holds, a byte that was recorded so is named.
fn names_bytes(divergence: &Divergence, contents: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    for difference in divergence.differences.iter().filter(|d| contents.contains_key(&d.name)) {
        let content = &contents[&difference.name];
        let is_told = difference.expected.split_once(" at 0x").map_or_else(
            || difference.expected == "all zeros" && content.iter().all(|byte| *byte == 0),
            |(byte, gpa)| {
                let at = usize::from_str_radix(gpa, 16).unwrap() % content.len();
                byte == format!("{:#04x}", content[at])
            },
        );
        if !is_told {
            return Err(format!(
                "the trace holds {}, and no byte of it is named:\n{divergence}",
                difference.name
            ));
        }
    }
    Ok(())
}

/// One fault at one position of one guest, for messages.
pub fn title(fault: &Fault, subject: &Subject, position: Position, place: usize) -> String {
    format!("{}: {} ({position:?}, {place:#x})", subject.name, fault.name)
}
