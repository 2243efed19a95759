//! Brings what was written to the disk now and then, on a thread of its own: neither the guest nor the writer waits for it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// So often. A recording that ends before is never waited for: it is made again sooner than a disk loses it.
const INTERVAL: Duration = Duration::from_secs(1);

/// The thread; it ends when this is finished or dropped.
#[derive(Debug)]
pub(crate) struct Durable {
    /// Closed when no more will be written.
    open: Option<Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Durable {
    /// Starts it on a file of which so many bytes are written.
    pub(crate) fn start(file: File, written: Arc<AtomicU64>) -> io::Result<Self> {
        let (open, closed) = channel::<()>();
        let thread = std::thread::Builder::new().name("trace-sync".into()).spawn(move || {
            let mut synced = None;
            loop {
                let is_over = closed.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
                let now = written.load(Ordering::Relaxed);
                if synced.is_some_and(|before| before != now) || synced.is_none() && !is_over {
                    sync(&file)?;
                    synced = Some(now);
                }
                if is_over {
                    return Ok(());
                }
            }
        })?;
        Ok(Self { open: Some(open), thread: Some(thread) })
    }

    /// Brings the rest to the disk. Fails if the disk has refused any of it.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.open = None;
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))),
            None => Ok(()),
        }
    }
}

/// What is no file on a disk (a pipe, a terminal) has nothing to be brought there (fdatasync(2), EINVAL).
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}
