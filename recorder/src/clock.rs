//! The clock of the devices: host time, or virtual time.

use crate::platform::Time;
use fastrand::Rng;
use trapline_formats::ClockMode;
use trapline_machine::ticks;

/// What an exit advances virtual time by, in ns: between what an exit costs on a fast host and on a slow one, so that timeouts which a guest
/// counts in exits and those which it counts in time stay in proportion.
const STEP_NS: u64 = 10_000;

/// Of the random numbers under virtual time: any number will do.
const SEED: u64 = 0x0074_7261_706c_696e;

/// Device time.
#[derive(Debug)]
pub enum Clock {
    /// Follows the host's TSC.
    Host {
        /// TSC at the guest's start.
        start: u64,
        /// Nanoseconds per tick, times 2^32: a multiplication is cheaper than a division at every exit.
        ns_per_tick: u64,
    },
    /// Advances by a fixed step per exit.
    Virtual {
        /// Time now.
        now: u64,
    },
}

impl Clock {
    /// A clock at zero.
    pub fn new(mode: ClockMode, tick_hz: u64) -> Self {
        match mode {
            ClockMode::Host => {
                let ns_per_tick = ((1_000_000_000u128 << 32) / u128::from(tick_hz.max(1))) as u64;
                Self::Host { start: ticks(), ns_per_tick }
            }
            ClockMode::Virtual => Self::Virtual { now: 0 },
        }
    }

    /// The random numbers that go with it: under virtual time the same in every recording. Not for secrets.
    pub fn random_numbers(&self) -> Rng {
        match self {
            Self::Host { .. } => Rng::new(),
            Self::Virtual { .. } => Rng::with_seed(SEED),
        }
    }

    /// Time at an exit: virtual time takes a step.
    #[inline]
    pub fn at_exit(&mut self) -> Time {
        if let Self::Virtual { now } = self {
            *now += STEP_NS;
        }
        self.now()
    }

    /// Time now.
    #[inline]
    pub fn now(&self) -> Time {
        match self {
            Self::Host { start, ns_per_tick } => {
                let passed = ticks().wrapping_sub(*start);
                Time(((u128::from(passed) * u128::from(*ns_per_tick)) >> 32) as u64)
            }
            Self::Virtual { now } => Time(*now),
        }
    }

    /// Whether it follows the host.
    pub fn is_host(&self) -> bool {
        matches!(self, Self::Host { .. })
    }

    /// Virtual time jumps to a deadline; host time cannot.
    pub fn jump(&mut self, to: Time) -> bool {
        match self {
            Self::Host { .. } => false,
            Self::Virtual { now } => {
                *now = to.0.max(*now);
                true
            }
        }
    }
}
