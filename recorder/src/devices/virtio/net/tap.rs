//! A link to a tap interface of the host: whatever its network is, as one more station on it.

use super::frames::Frames;
use super::link::{Counts, LONGEST, Link};
use super::worker::{Bell, Worker};
use crate::timer::StopHandle;
use rustix::event::{PollFd, PollFlags};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use trapline_machine::open_tap;

/// The link.
#[derive(Debug)]
pub struct Tap {
    file: Arc<File>,
    to_guest: Arc<Frames>,
    unusable: Arc<AtomicU64>,
    unsent: u64,
    worker: Option<Worker>,
}

impl Tap {
    /// Takes an interface that is there already.
    pub fn open(name: &str) -> Result<Self, String> {
        let file = open_tap(name).map_err(|e| {
            format!("{e} (`ip tuntap add {name} mode tap user $USER` makes one that is yours, `ip link set {name} up` connects it)")
        })?;
        let (to_guest, unusable) = (Arc::default(), Arc::default());
        Ok(Self { file: Arc::new(file), to_guest, unusable, unsent: 0, worker: None })
    }
}

/// Reads until there is nothing more. True if the guest may be waiting.
fn read_all(mut file: &File, to_guest: &Frames, unusable: &AtomicU64) -> bool {
    let mut wakes = false;
    let mut frame = [0; LONGEST + 1];
    loop {
        match file.read(&mut frame) {
            Ok(length @ 1..=LONGEST) => wakes |= to_guest.push(frame[..length].to_vec()),
            Ok(_) => {
                unusable.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return wakes,
        }
        // A flood has no end: the guest is woken while it lasts.
        if wakes {
            return true;
        }
    }
}

impl Link for Tap {
    fn send(&mut self, frame: &[u8]) {
        if (&*self.file).write(frame).is_err() {
            self.unsent += 1;
        }
    }

    fn has_frame(&self) -> bool {
        !self.to_guest.is_empty()
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.to_guest.pop()
    }

    fn counts(&self) -> Counts {
        let (dropped, unsent) = (self.to_guest.dropped(), self.unsent);
        Counts { dropped, unsent, unusable: self.unusable.load(Ordering::Relaxed), ..Counts::default() }
    }

    fn is_live(&self) -> bool {
        self.worker.is_some()
    }

    fn start(&mut self, guest: &StopHandle) {
        let (file, to_guest, unusable, guest) =
            (Arc::clone(&self.file), Arc::clone(&self.to_guest), Arc::clone(&self.unusable), guest.clone());
        self.worker = Worker::start(move |bell: &Bell| {
            while !bell.is_over() {
                if read_all(&file, &to_guest, &unusable) {
                    guest.wake();
                } else {
                    bell.wait(&mut [PollFd::new(&*file, PollFlags::IN)], None);
                }
            }
        });
    }

    fn stop(&mut self) {
        self.worker = None;
    }
}

#[cfg(test)]
mod tests;
