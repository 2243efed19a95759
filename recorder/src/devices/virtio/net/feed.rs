//! A link on which a captured network plays: its frames come by the clock of the devices, whatever the guest says.

mod capture;

use super::frames::ROOM;
#[cfg(test)]
use super::link::LONGEST;
use super::link::{Counts, Link};
use crate::platform::Time;
use std::collections::VecDeque;
use std::path::Path;
use trapline_formats::GuestFile;
use xxhash_rust::xxh3::xxh3_64;

use capture::Captured;

/// Larger captures are cut by other tools: this one is kept in memory.
const MOST_BYTES: u64 = 256 << 20;

/// The link.
#[derive(Debug)]
pub struct Feed {
    file: GuestFile,
    /// What has not come yet, with its time since the first.
    frames: VecDeque<Captured>,
    /// When the first frame comes: when the guest first takes one.
    start: Option<Time>,
    waiting: VecDeque<Vec<u8>>,
    counts: Counts,
}

impl Feed {
    /// Reads a capture, all of it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
        if bytes > MOST_BYTES {
            return Err(format!(
                "it has {bytes} bytes, and at most {MOST_BYTES} are read: take a part of it"
            ));
        }
        let content = std::fs::read(path).map_err(|e| e.to_string())?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Self::of_capture(&content, name)
    }

    /// A capture that is in memory, and what it is called.
    pub fn of_capture(content: &[u8], name: String) -> Result<Self, String> {
        let capture = capture::read(content)?;
        if capture.frames.is_empty() {
            let unusable = capture.unusable;
            return Err(format!(
                "it has no whole Ethernet frame, and {unusable} that are cut short or too long"
            ));
        }
        let (bytes, xxh3) = (content.len() as u64, xxh3_64(content));
        let file = GuestFile { role: "network feed".into(), name, bytes, xxh3 };
        let counts = Counts { unusable: capture.unusable, ..Counts::default() };
        Ok(Self { file, frames: capture.frames.into(), start: None, waiting: VecDeque::new(), counts })
    }
}

impl Link for Feed {
    /// Nobody is there.
    fn send(&mut self, _: &[u8]) {}

    fn has_frame(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.waiting.pop_front()
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn follows_clock(&self) -> bool {
        true
    }

    fn begin(&mut self, now: Time) {
        self.start.get_or_insert(now);
    }

    fn deadline(&self) -> Option<Time> {
        Some(Time(self.start?.0.saturating_add(self.frames.front()?.after_ns)))
    }

    fn fire(&mut self, now: Time) {
        while self.deadline().is_some_and(|due| due <= now)
            && let Some(frame) = self.frames.pop_front()
        {
            if self.waiting.len() < ROOM {
                self.waiting.push_back(frame.bytes);
            } else {
                self.counts.dropped += 1;
            }
        }
    }

    fn file(&self) -> Option<GuestFile> {
        Some(self.file.clone())
    }
}

#[cfg(test)]
mod tests;
