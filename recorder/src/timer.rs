//! Host time around a recording: the time limit, the heartbeat, and requests to stop. None of it is seen by the guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use trapline_formats::EndReason;
use trapline_machine::Kicker;

/// The vCPU is kicked this often, so that chunks are written and stop requests heard while the guest makes no exit.
const HEARTBEAT: Duration = Duration::from_millis(250);

const RUNNING: u8 = 0;
const TIMEOUT: u8 = 1;
const INTERRUPTED: u8 = 2;

/// Ends a recording from another thread.
#[derive(Debug, Clone)]
pub struct StopHandle {
    state: Arc<AtomicU8>,
    kicker: Kicker,
}

impl StopHandle {
    /// A handle for the recording that the calling thread is about to run.
    pub(crate) fn for_this_thread() -> Self {
        Self { state: Arc::new(AtomicU8::new(RUNNING)), kicker: Kicker::of_this_thread() }
    }

    /// Ends the recording as interrupted by the user.
    pub fn interrupt(&self) {
        self.request(INTERRUPTED);
    }

    /// Wakes a waiting guest: console input has come, or a frame.
    pub fn wake(&self) {
        self.kicker.kick();
    }

    fn request(&self, reason: u8) {
        // What the user asks for outranks the time limit.
        self.state.fetch_max(reason, Ordering::Relaxed);
        self.kicker.kick();
    }

    /// Makes the handle fit for one more run, unless the user wanted no more.
    pub(crate) fn forget_timeout(&self) {
        let _ = self.state.compare_exchange(TIMEOUT, RUNNING, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the user wanted to stop.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.state.load(Ordering::Relaxed) == INTERRUPTED
    }

    /// Why the recording is to stop, if it is.
    #[inline]
    pub(crate) fn requested(&self) -> Option<EndReason> {
        match self.state.load(Ordering::Relaxed) {
            TIMEOUT => Some(EndReason::Timeout),
            INTERRUPTED => Some(EndReason::Interrupted),
            _ => None,
        }
    }
}

/// How long a guest has waited in host time for what comes in host time, while virtual time stands still.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    since: Option<Instant>,
}

impl Waiting {
    /// What is left of a wait that virtual time would jump over: all of it has to pass in host time where something may come
    /// meanwhile, nothing elsewhere.
    #[expect(clippy::disallowed_methods, reason = "a live network answers in host time")]
    pub(crate) fn left_of(&mut self, wait: Duration, is_live: bool) -> Duration {
        if !is_live {
            return Duration::ZERO;
        }
        wait.saturating_sub(self.since.get_or_insert_with(Instant::now).elapsed())
    }
}

/// The heartbeat thread; ends when dropped.
#[derive(Debug)]
pub(crate) struct HostTimer {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HostTimer {
    /// Starts the heartbeat, with a time limit if there is one.
    #[expect(clippy::disallowed_methods, reason = "the time limit is host time by definition")]
    pub(crate) fn start(stop: &StopHandle, timeout: Option<Duration>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (stop, is_done) = (stop.clone(), Arc::clone(&done));
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        let thread = std::thread::Builder::new().name("heartbeat".into()).spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
                if left == Some(Duration::ZERO) {
                    stop.request(TIMEOUT);
                }
                std::thread::park_timeout(
                    left.filter(|l| !l.is_zero()).map_or(HEARTBEAT, |l| l.min(HEARTBEAT)),
                );
                if !is_done.load(Ordering::Relaxed) {
                    stop.kicker.kick();
                }
            }
        });
        Self { done, thread: thread.ok() }
    }
}

impl Drop for HostTimer {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It holds nothing that a panic could leave behind.
            let _ = thread.join();
        }
    }
}
