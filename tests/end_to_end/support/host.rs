//! /dev/kvm, probed once, and how much to do with it.

use std::sync::{Condvar, Mutex, OnceLock};
use trapline_machine::doctor::window_is_prompt;
use trapline_machine::{Convention, Kvm, open_and_probe};

/// A usable KVM, and one of the few places on it.
pub struct Host {
    pub kvm: &'static Kvm,
    pub convention: Convention,
    pub window_is_prompt: bool,
    _place: Place,
}

struct Probed {
    kvm: Kvm,
    convention: Convention,
    window_is_prompt: bool,
}

/// The host; `None` where the user asked for no KVM tests.
pub fn host() -> Option<Host> {
    static PROBED: OnceLock<Probed> = OnceLock::new();
    if std::env::var("TRAPLINE_SKIP_KVM").is_ok_and(|v| v == "1") {
        eprintln!("skipped: TRAPLINE_SKIP_KVM=1");
        return None;
    }
    let place = Place::take();
    let probed = PROBED.get_or_init(|| {
        let (kvm, convention) = open_and_probe().unwrap_or_else(|e| {
            panic!("these tests need a usable /dev/kvm (TRAPLINE_SKIP_KVM=1 leaves them out): {e}")
        });
        let window_is_prompt = window_is_prompt(&kvm).unwrap();
        Probed { kvm, convention, window_is_prompt }
    });
    Some(Host {
        kvm: &probed.kvm,
        convention: probed.convention,
        window_is_prompt: probed.window_is_prompt,
        _place: place,
    })
}

/// At most two guests run at a time, however many threads the test runner has: timers follow host time.
const PLACES: usize = 2;
static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

struct Place;

impl Place {
    fn take() -> Self {
        let taken = TAKEN.lock().unwrap();
        *FREED.wait_while(taken, |taken| *taken >= PLACES).unwrap() += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap() -= 1;
        FREED.notify_one();
    }
}

/// How much to do, from `TRAPLINE_MATRIX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// One replay, under the host clock.
    Quick,
    /// Two replays, under both clocks.
    Normal,
    /// Twenty.
    Full,
}

impl Extent {
    pub fn of_environment() -> Self {
        match std::env::var("TRAPLINE_MATRIX").as_deref() {
            Ok("quick") => Self::Quick,
            Ok("full") => Self::Full,
            Ok("normal") | Err(_) => Self::Normal,
            Ok(other) => panic!("TRAPLINE_MATRIX={other}: quick, normal or full"),
        }
    }

    pub fn replays(self) -> usize {
        match self {
            Self::Quick => 1,
            Self::Normal => 2,
            Self::Full => 20,
        }
    }
}
