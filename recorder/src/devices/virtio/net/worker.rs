//! The thread of a link, and the bell by which the thread of the vCPU calls it.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Wakes a worker.
#[derive(Debug)]
pub(super) struct Bell {
    fd: OwnedFd,
    is_over: AtomicBool,
}

impl Bell {
    /// A bell that nobody has rung.
    fn new() -> std::io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { fd, is_over: AtomicBool::new(false) })
    }

    /// Rings. It is heard at the next wait, if not in this one.
    pub(super) fn ring(&self) {
        // A counter that is full has been rung before.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// Whether the worker is to end.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Waits until it rings, one of these is ready, or time is up.
    pub(super) fn wait(&self, others: &mut [PollFd<'_>], limit: Option<Duration>) {
        let mut all: Vec<_> = others.to_vec();
        all.push(PollFd::new(&self.fd, PollFlags::IN));
        let limit = limit.map(|d| Timespec { tv_sec: d.as_secs() as i64, tv_nsec: d.subsec_nanos().into() });
        // Interrupted is as good as rung: whoever waits looks again.
        let _ = poll(&mut all, limit.as_ref());
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }
}

/// A thread that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread; `None` where the host has none left.
    pub(super) fn start(work: impl FnOnce(&Bell) + Send + 'static) -> Option<Self> {
        let bell = Arc::new(Bell::new().ok()?);
        let theirs = Arc::clone(&bell);
        let thread = std::thread::Builder::new().name("network".into()).spawn(move || work(&theirs)).ok()?;
        Some(Self { bell, thread: Some(thread) })
    }

    /// Wakes it.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.bell.is_over.store(true, Ordering::Relaxed);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // It holds nothing that a panic could leave behind.
            let _ = thread.join();
        }
    }
}
