//! Silence: the guest computes and makes no exit. A thread of its own notices, and kicks the vCPU when something is due.
//!
//! A guest that makes exits must pay next to nothing for that: the vCPU's thread only writes down the number of each exit. A number
//! that stays the same for a beat is silence. The first kick then asks the recorder when its timers are due; from there on the
//! thread kicks at these times alone, as long as the silence lasts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use trapline_machine::Kicker;

/// The number of exits is looked at so often.
const BEAT: Duration = Duration::from_millis(1);
/// And so often while the vCPU waits in HLT, when nobody needs a kick.
const SLOW_BEAT: Duration = Duration::from_millis(4);
/// A kick is repeated if nothing has come of it for so long.
const PATIENCE: Duration = Duration::from_millis(20);

/// What the thread is to do about a silence.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// Nobody has looked at this silence yet.
    Look,
    /// Kick then, if there were no more exits than so many.
    Kick { exits: u64, at: Instant },
    /// Nothing is due, as long as there are no more exits than so many.
    Quiet { exits: u64 },
    /// The vCPU waits, and wakes by itself.
    Halted,
    /// End.
    Over,
}

/// What the two threads share.
#[derive(Debug)]
struct Shared {
    exits: AtomicU64,
    plan: Mutex<Plan>,
    changed: Condvar,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        // A plan is one value, and whole whoever panicked.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, plan: Plan) {
        *self.plan() = plan;
        self.changed.notify_one();
    }
}

/// The vCPU's side.
#[derive(Debug, Clone)]
pub(crate) struct Silence {
    shared: Arc<Shared>,
}

impl Default for Silence {
    fn default() -> Self {
        let (exits, plan) = (AtomicU64::new(0), Mutex::new(Plan::Look));
        Self { shared: Arc::new(Shared { exits, plan, changed: Condvar::new() }) }
    }
}

impl Silence {
    /// There were so many exits.
    #[inline]
    pub(crate) fn note(&self, exits: u64) {
        self.shared.exits.store(exits, Ordering::Relaxed);
    }

    /// As long as the guest makes no further exit, it is to be kicked after this time, or not at all.
    #[expect(clippy::disallowed_methods, reason = "a kick comes in host time; where it comes is logged")]
    pub(crate) fn kick_after(&self, exits: u64, time: Option<Duration>) {
        let at = time.and_then(|time| Instant::now().checked_add(time));
        self.shared.set(at.map_or(Plan::Quiet { exits }, |at| Plan::Kick { exits, at }));
    }

    /// Whether the silence since so many exits has been noticed: it has lasted a beat.
    pub(crate) fn is_noticed(&self, exits: u64) -> bool {
        matches!(*self.shared.plan(), Plan::Kick { exits: e, .. } | Plan::Quiet { exits: e } if e == exits)
    }

    /// The vCPU waits in HLT, or goes on.
    pub(crate) fn halted(&self, is_halted: bool) {
        *self.shared.plan() = if is_halted { Plan::Halted } else { Plan::Look };
    }
}

/// The thread that kicks; ends when dropped.
#[derive(Debug)]
pub(crate) struct SilenceWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl SilenceWatch {
    /// Starts to watch the calling thread's vCPU.
    pub(crate) fn start(silence: &Silence) -> Self {
        let (shared, kicker) = (Arc::clone(&silence.shared), Kicker::of_this_thread());
        let watched = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("silence".into()).spawn(move || watch(&watched, &kicker));
        Self { shared, thread: thread.ok() }
    }
}

impl Drop for SilenceWatch {
    fn drop(&mut self) {
        self.shared.set(Plan::Over);
        if let Some(thread) = self.thread.take() {
            // It holds nothing that a panic could leave behind.
            let _ = thread.join();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a kick comes in host time; where it comes is logged")]
fn watch(shared: &Shared, kicker: &Kicker) {
    let mut seen = None;
    let mut plan = shared.plan();
    loop {
        let wait = match *plan {
            Plan::Over => return,
            Plan::Halted => SLOW_BEAT,
            Plan::Kick { at, .. } => at.saturating_duration_since(Instant::now()).min(BEAT),
            Plan::Look | Plan::Quiet { .. } => BEAT,
        };
        plan = shared.changed.wait_timeout(plan, wait).unwrap_or_else(PoisonError::into_inner).0;
        let now = shared.exits.load(Ordering::Relaxed);
        let is_silent = seen.replace(now) == Some(now);
        match *plan {
            Plan::Kick { exits, .. } | Plan::Quiet { exits } if exits != now => *plan = Plan::Look,
            Plan::Kick { at, exits } if at <= Instant::now() => {
                kicker.kick();
                *plan = Plan::Kick { exits, at: Instant::now() + PATIENCE };
            }
            Plan::Look if is_silent => {
                kicker.kick();
                *plan = Plan::Kick { exits: now, at: Instant::now() + PATIENCE };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parks this thread until it is kicked; says whether it was within the time.
    #[expect(clippy::disallowed_methods, reason = "kicks come in host time")]
    fn is_kicked_within(time: Duration) -> bool {
        let end = Instant::now() + time;
        std::thread::park_timeout(time);
        Instant::now() < end
    }

    const SHORT: Duration = Duration::from_millis(60);
    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn silence_is_kicked_once_and_then_when_something_is_due() {
        let silence = Silence::default();
        let _watch = SilenceWatch::start(&silence);
        assert!(is_kicked_within(LONG), "the silence goes unnoticed");
        silence.kick_after(0, None);
        // One that was on its way.
        std::thread::park_timeout(Duration::from_millis(1));
        assert!(!is_kicked_within(SHORT), "nothing is due");
        silence.kick_after(0, Some(Duration::from_millis(5)));
        assert!(is_kicked_within(LONG), "what is due goes unnoticed");
    }

    #[test]
    fn exits_make_a_new_silence() {
        let silence = Silence::default();
        silence.kick_after(0, None);
        let _watch = SilenceWatch::start(&silence);
        assert!(!is_kicked_within(SHORT), "nothing is due");
        silence.note(1);
        assert!(is_kicked_within(LONG), "the next silence goes unnoticed");
    }

    #[test]
    fn a_silence_is_noticed_after_a_beat_and_is_over_with_the_next_exit() {
        let silence = Silence::default();
        silence.note(7);
        assert!(!silence.is_noticed(7));
        let _watch = SilenceWatch::start(&silence);
        assert!(is_kicked_within(LONG), "the silence goes unnoticed");
        assert!(silence.is_noticed(7) && !silence.is_noticed(8));
        silence.kick_after(7, None);
        assert!(silence.is_noticed(7));
    }

    #[test]
    fn a_vcpu_that_waits_is_left_alone() {
        let silence = Silence::default();
        silence.halted(true);
        let _watch = SilenceWatch::start(&silence);
        assert!(!is_kicked_within(SHORT));
        silence.halted(false);
        assert!(is_kicked_within(LONG));
    }
}
