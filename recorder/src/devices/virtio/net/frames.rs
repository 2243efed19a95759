//! Frames on their way between the thread of the vCPU and that of a link: never more than a few.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most frames that wait in one direction. More than a receive queue holds buffers would only make a flood last longer.
pub(super) const ROOM: usize = 256;

/// A bounded queue.
#[derive(Debug, Default)]
pub(super) struct Frames {
    queue: Mutex<VecDeque<Vec<u8>>>,
    /// How many wait, for a look without the lock.
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

impl Frames {
    /// Adds a frame, or counts it where there is no room. True if the queue was empty: whoever takes from it may be waiting.
    pub(super) fn push(&self, frame: Vec<u8>) -> bool {
        let mut queue = self.queue();
        if queue.len() >= ROOM {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        queue.push_back(frame);
        self.waiting.store(queue.len(), Ordering::Release);
        queue.len() == 1
    }

    /// Takes the first frame.
    pub(super) fn pop(&self) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None;
        }
        let mut queue = self.queue();
        let frame = queue.pop_front();
        self.waiting.store(queue.len(), Ordering::Release);
        frame
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The queue holds whole frames whatever became of who held it last.
    fn queue(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
