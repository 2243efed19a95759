//! Wakes the replay when the guest makes no exit: a diverged guest may spin for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use trapline_machine::Kicker;

/// Kicks the vCPU at intervals; ends when dropped.
pub(crate) struct Watchdog {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn start(interval: Duration) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (kicker, is_done) = (Kicker::of_this_thread(), Arc::clone(&done));
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                std::thread::park_timeout(interval);
                if !is_done.load(Ordering::Relaxed) {
                    kicker.kick();
                }
            }
        });
        Self { done, thread: thread.ok() }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
