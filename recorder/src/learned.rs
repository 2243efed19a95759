//! The file of learned sites: for every suspect of an image what watching it has shown.

use crate::error::RecorderError;
use crate::guest::Guest;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use trapline_formats::{EndReason, GuestFile};

/// Version of the file.
const VERSION: u32 = 1;
/// How a trace says that a site was found.
const FOUND_BY: &str = "watching it execute";
/// A file that is larger is none of ours: the largest image that has suspects at all, 16 MiB of ROM, holds a few hundred.
const LARGEST: u64 = 16 << 20;

/// What is known of the suspects of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnedSites {
    version: u32,
    /// How the guest is entered, as its trace says.
    entry: String,
    image: Image,
    suspects: Vec<Learned>,
}

/// The file that holds the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    name: String,
    bytes: u64,
    /// In hexadecimal: a JSON number does not hold 64 bits everywhere.
    xxh3: String,
}

/// A suspect, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// Guest-physical address.
    pub gpa: u64,
    /// The bytes.
    #[serde(with = "hex")]
    pub bytes: Vec<u8>,
    /// What is known.
    pub state: State,
}

/// What is known of a suspect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum State {
    /// Nothing yet.
    NotTried,
    /// It is executed: an instruction, to be rewritten.
    Executes {
        /// Where it begins.
        gpa: u64,
        /// All of it, prefixes included.
        #[serde(with = "hex")]
        bytes: Vec<u8>,
    },
    /// It was not executed as long as the guest was watched.
    NotSeen {
        /// How long that was.
        exits: u64,
        /// What ended it.
        until: Limit,
    },
    /// With these bytes changed the guest comes to another end: data, or an instruction where `OUT` may not be executed.
    Spoils {
        /// The end that it came to, in words.
        end: String,
        /// The end that it comes to otherwise.
        instead_of: String,
    },
    /// It is left alone, for this reason.
    LeftAlone {
        /// In words.
        why: String,
    },
}

/// What ended a run in which a suspect was not seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// `--timeout`, in milliseconds of host time.
    TimeoutMs(u64),
    /// `--max-exits`.
    MaxExits(u64),
    /// `--until-console`.
    Console(String),
    /// The guest, in words: there is no more to be seen of it.
    Guest(String),
}

impl LearnedSites {
    /// Of a guest of which nothing was learned yet.
    pub fn of(guest: &Guest) -> Self {
        let mut sites = Self {
            version: VERSION,
            entry: guest.entry.clone(),
            image: Image::of(guest.files.first()),
            suspects: Vec::new(),
        };
        sites.follow(guest);
        sites
    }

    /// Reads a file, and refuses one of another guest.
    pub fn read(path: &Path, guest: &Guest) -> Result<Self, RecorderError> {
        let failed = |reason: String| RecorderError::Sites { path: path.to_owned(), reason };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|e| failed(e.to_string()))?;
        file.take(LARGEST).read_to_end(&mut bytes).map_err(|e| failed(e.to_string()))?;
        let mut sites = Self::decode(&bytes).map_err(failed)?;
        sites.check(guest).map_err(failed)?;
        sites.follow(guest);
        Ok(sites)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head =
            serde_json::from_slice(bytes).map_err(|e| format!("it is damaged, or no such file: {e}"))?;
        if head.version != VERSION {
            return Err(format!("its version is {}, and this program reads {VERSION}", head.version));
        }
        serde_json::from_slice(bytes).map_err(|e| format!("it is damaged: {e}"))
    }

    /// The reason in words for which it is of another guest.
    fn check(&self, guest: &Guest) -> Result<(), String> {
        let here = Image::of(guest.files.first());
        // A file may be renamed.
        if (self.image.bytes, &self.image.xxh3) != (here.bytes, &here.xxh3) {
            return Err(format!(
                "they were learned from another image: {} with {} bytes and xxh3 {}, not {} with {} bytes and xxh3 {}",
                self.image.name, self.image.bytes, self.image.xxh3, here.name, here.bytes, here.xxh3
            ));
        }
        if self.entry != guest.entry {
            return Err(format!(
                "they were learned from the image entered as {}, not as {}",
                self.entry, guest.entry
            ));
        }
        Ok(())
    }

    /// Brings the list in step with the guest: disassembly may find more or less than when the file was written. What executes
    /// stays.
    fn follow(&mut self, guest: &Guest) {
        let known = std::mem::take(&mut self.suspects);
        let find = |gpa, bytes: &[u8]| known.iter().find(|l| l.gpa == gpa && l.bytes == bytes);
        self.suspects = guest
            .suspects
            .iter()
            .map(|s| {
                let state = find(s.gpa, &s.bytes).map_or(State::NotTried, |l| l.state.clone());
                Learned { gpa: s.gpa, bytes: s.bytes.clone(), state }
            })
            .collect();
        let is_listed = |l: &Learned| guest.suspects.iter().any(|s| s.gpa == l.gpa && s.bytes == l.bytes);
        self.suspects.extend(
            known.iter().filter(|l| matches!(l.state, State::Executes { .. }) && !is_listed(l)).cloned(),
        );
    }

    /// Writes the file, or leaves the one that is there as it was.
    pub fn write(&self, path: &Path) -> Result<(), RecorderError> {
        let failed =
            |e: std::io::Error| RecorderError::Sites { path: path.to_owned(), reason: e.to_string() };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = path.with_file_name(name);
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        };
        write().map_err(failed)
    }

    /// Rewrites in a guest what was learned. The error is a reason in words.
    pub fn close(&self, guest: &mut Guest) -> Result<(), String> {
        self.suspects.iter().try_for_each(|learned| learned.close(guest))
    }

    /// Reads a file of learned sites and rewrites them in its guest.
    pub fn close_from(path: &Path, guest: &mut Guest) -> Result<(), RecorderError> {
        let failed = |reason| RecorderError::Sites { path: path.to_owned(), reason };
        Self::read(path, guest)?.close(guest).map_err(failed)
    }

    /// The suspects.
    pub fn suspects(&self) -> &[Learned] {
        &self.suspects
    }

    pub(crate) fn set(&mut self, index: usize, state: State) {
        self.suspects[index].state = state;
    }
}

impl Learned {
    /// Rewrites it, if it was seen to execute.
    pub(crate) fn close(&self, guest: &mut Guest) -> Result<(), String> {
        match &self.state {
            State::Executes { gpa, bytes } => guest.close(*gpa, bytes, FOUND_BY),
            _ => Ok(()),
        }
    }
}

impl Image {
    fn of(file: Option<&GuestFile>) -> Self {
        Self {
            name: file.map(|f| f.name.clone()).unwrap_or_default(),
            bytes: file.map_or(0, |f| f.bytes),
            xxh3: format!("{:016x}", file.map_or(0, |f| f.xxh3)),
        }
    }
}

impl Limit {
    /// What ended a run that had these limits.
    pub(crate) fn of(end: &EndReason, timeout_ms: u64, exits: u64) -> Self {
        match end {
            EndReason::Timeout => Self::TimeoutMs(timeout_ms),
            EndReason::MaxExits => Self::MaxExits(exits),
            EndReason::ConsoleMatch(pattern) => Self::Console(pattern.clone()),
            end => Self::Guest(end.to_string()),
        }
    }
}

/// Bytes as text: `0f 31`.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let text: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        serializer.serialize_str(&text.join(" "))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |word| u8::from_str_radix(word, 16);
        text.split(' ').map(byte).collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::flat;

    /// `jmp $`, and after it what the bytes say, which nothing reaches.
    fn guest(data: &[u8]) -> Guest {
        flat::from_bytes([&[0xeb, 0xfe], data].concat(), flat::Mode::Bits64, 4 << 20).unwrap()
    }

    fn learned() -> (Guest, LearnedSites) {
        let guest = guest(&[0x0f, 0x31, 0x0f, 0xc7, 0xf0]);
        let mut sites = LearnedSites::of(&guest);
        sites.set(0, State::Executes { gpa: 0x8002, bytes: vec![0x0f, 0x31] });
        sites.set(1, State::NotSeen { exits: 7, until: Limit::TimeoutMs(10) });
        (guest, sites)
    }

    #[test]
    fn what_is_written_is_read_and_closes_what_was_learned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sites");
        let (mut guest, sites) = learned();
        sites.write(&path).unwrap();
        let read = LearnedSites::read(&path, &guest).unwrap();
        assert_eq!(read, sites);
        read.close(&mut guest).unwrap();
        assert_eq!((guest.rewrites.len(), guest.suspects.len()), (1, 1));
        assert_eq!(guest.rewrites[0].found_by, "watching it execute");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn another_image_or_another_way_to_enter_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sites");
        let (mut of, sites) = learned();
        sites.write(&path).unwrap();
        let refused = |guest: &Guest| LearnedSites::read(&path, guest).unwrap_err().to_string();
        assert!(refused(&guest(&[0x0f, 0x31, 0x90, 0x90, 0x90])).contains("another image"));
        of.entry = "flat 32-bit".into();
        assert!(refused(&of).contains("not as flat 32-bit"));
    }

    #[test]
    fn damaged_files_are_refused_with_the_place_and_none_is_believed_about_bytes() {
        let (mut guest, sites) = learned();
        let text = serde_json::to_string(&sites).unwrap();
        for length in 0..text.len() {
            assert!(LearnedSites::decode(&text.as_bytes()[..length]).unwrap_err().contains("damaged"));
        }
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            LearnedSites::decode(text.replace(from, to).as_bytes())
        };
        assert!(changed("\"version\":1", "\"version\":2").unwrap_err().contains("version is 2"));
        assert!(changed("0f 31", "0f 3x").unwrap_err().contains("damaged"));
        assert!(changed("not-seen", "not-known").unwrap_err().contains("damaged"));
        // 0x8000 holds other bytes.
        let lies = changed("\"executes\":{\"gpa\":32770", "\"executes\":{\"gpa\":32768").unwrap();
        assert!(lies.close(&mut guest).unwrap_err().contains("not at 0x8000"));
        let nothing = changed("\"bytes\":\"0f 31\"}", "\"bytes\":\"eb\"}").unwrap();
        assert!(nothing.close(&mut guest).is_err());
    }

    #[test]
    fn a_suspect_that_disassembly_finds_by_now_is_forgotten_unless_it_executes() {
        let (mut guest, mut sites) = learned();
        guest.suspects.clear();
        sites.follow(&guest);
        assert_eq!(sites.suspects().len(), 1);
        assert!(matches!(sites.suspects()[0].state, State::Executes { .. }));
    }
}
