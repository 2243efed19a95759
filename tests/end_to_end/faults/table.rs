//! What became of all faults, as the table of `docs/faults.md`: a section for each engine, and one for its firmware.

use super::campaign::Outcome;
use super::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

/// Names shown of what was named.
const SHOWN: usize = 3;
/// Of so many faults, one may have no effect.
const WITHOUT_EFFECT: usize = 10;
const KINDS: usize = 40;

/// The outcomes of a whole run, in the order of the kinds.
pub struct Table<'a> {
    /// The engine, and the guest where it is but one.
    pub title: &'a str,
    /// Every kind, whether it could be put anywhere or not.
    pub kinds: Vec<&'static str>,
    pub outcomes: &'a BTreeMap<&'static str, Outcome>,
}

impl Table<'_> {
    /// There are enough faults, and enough of them have an effect.
    pub fn check(&self) {
        assert!(self.outcomes.len() >= KINDS, "{} kinds", self.outcomes.len());
        let (faults, none) = (self.all(|_| true), self.all(|verdict| *verdict == Verdict::NoEffect));
        assert!(none * WITHOUT_EFFECT <= faults, "{none} of {faults} have no effect");
    }

    fn all(&self, is_it: impl Fn(&Verdict) -> bool) -> usize {
        self.outcomes.values().map(|outcome| outcome.count(&is_it)).sum()
    }

    /// The section of this run.
    pub fn section(&self) -> String {
        let mut text = format!("## {}\n\n", self.title);
        let (faults, kinds) = (self.all(|_| true), self.outcomes.len());
        let none = self.all(|verdict| *verdict == Verdict::NoEffect);
        let healed = self.all(|verdict| *verdict == Verdict::Healed);
        writeln!(
            text,
            "{faults} faults of {kinds} kinds. {none} have no effect; {healed} took effect and were gone before the next \
             checkpoint; all others were found.\n"
        )
        .unwrap();
        text += "| fault | guests | tried | no effect | gone | at the exit | at the next checkpoint | refused | named |\n";
        text += "|---|---|---:|---:|---:|---:|---:|---:|---|\n";
        for kind in &self.kinds {
            match self.outcomes.get(kind) {
                Some(outcome) => text += &outcome.row(kind),
                None => writeln!(text, "| {kind} | none has a place for it | 0 | | | | | | |").unwrap(),
            }
        }
        text += "\nWithout effect, or gone before anything was compared:\n\n";
        for kind in &self.kinds {
            for (guest, position, verdict) in self.outcomes.get(kind).iter().flat_map(|o| &o.verdicts) {
                let what = match verdict {
                    Verdict::NoEffect => "no effect",
                    Verdict::Healed => "gone",
                    _ => continue,
                };
                writeln!(text, "* {kind}, {guest}, {}: {what}", format!("{position:?}").to_lowercase())
                    .unwrap();
            }
        }
        text
    }

    /// Compares the section with that of the documentation, if it has one of this engine, or writes it there.
    pub fn compare(&self) {
        let path = std::env::var_os("TRAPLINE_DOCS")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs"), PathBuf::from)
            .join("faults.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let section = self.section();
        let title = format!("## {}\n", self.title);
        let begin = page.find(&title).unwrap_or(page.len());
        let after = page[begin..].get(title.len()..).and_then(|rest| rest.find("\n## "));
        let end = after.map_or(page.len(), |at| begin + title.len() + at + 1);
        if std::env::var("BLESS").is_ok_and(|v| v == "1") {
            let gap = if end < page.len() { "\n" } else { "" };
            std::fs::write(&path, format!("{}{section}{gap}{}", &page[..begin], &page[end..])).unwrap();
            return;
        }
        if begin == end {
            // The page is about the engines that it was made on. What holds of every engine, `check` and the campaign have held.
            println!("{} has no section of this engine (BLESS=1 writes one):\n{section}", path.display());
            return;
        }
        let (there, here) = (page[begin..end].trim_end(), section.trim_end());
        assert!(there == here, "{} says something else (BLESS=1 writes it):\n{section}", path.display());
    }
}

impl Outcome {
    fn count(&self, is_it: impl Fn(&Verdict) -> bool) -> usize {
        self.verdicts.iter().filter(|(_, _, verdict)| is_it(verdict)).count()
    }

    fn row(&self, kind: &str) -> String {
        let mut guests: Vec<_> = self.verdicts.iter().map(|(guest, ..)| *guest).collect();
        guests.dedup();
        let counts = [
            self.verdicts.len(),
            self.count(|verdict| *verdict == Verdict::NoEffect),
            self.count(|verdict| *verdict == Verdict::Healed),
            self.count(|verdict| matches!(verdict, Verdict::AtExit(_))),
            self.count(|verdict| matches!(verdict, Verdict::AtCheckpoint(_))),
            self.count(|verdict| *verdict == Verdict::Refused),
        ];
        let counts: Vec<_> =
            counts.iter().map(|n| if *n == 0 { String::new() } else { n.to_string() }).collect();
        format!("| {kind} | {} | {} | {} |\n", guests.join(", "), counts.join(" | "), self.named())
    }

    fn named(&self) -> String {
        let mut names = BTreeSet::new();
        for (_, _, verdict) in &self.verdicts {
            if let Verdict::AtExit(named) | Verdict::AtCheckpoint(named) = verdict {
                names.extend(named.iter().map(String::as_str));
            }
        }
        let more =
            if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
        format!("{}{more}", names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", "))
    }
}
