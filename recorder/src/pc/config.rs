//! What a PC is built from.

use crate::devices::fw_cfg::Contents;
use crate::devices::virtio;
use crate::guest::Guest;
use std::time::{SystemTime, UNIX_EPOCH};
use trapline_formats::ClockMode;

/// Where RAM stops and the PCI hole begins on a machine with more RAM than that.
const PCI_HOLE: u64 = 0xC000_0000;

/// What a PC is built from.
#[derive(Debug)]
pub struct PcConfig {
    /// Bytes of RAM, all of it.
    pub ram_bytes: u64,
    /// Bytes of RAM below the PCI hole; the rest starts at 4 GiB.
    pub below_4g: u64,
    /// Date and time of the real-time clock at the guest's start, in seconds since 1970 (UTC).
    pub epoch_unix_s: i64,
    /// Rate of the time stamp counter.
    pub tsc_hz: u64,
    /// What is in `fw_cfg` beside the PC's own.
    pub fw_cfg: Contents,
    /// Virtio devices.
    pub virtio: virtio::Config,
}

impl PcConfig {
    /// A PC with this much RAM, of which at most 3 GiB are below the PCI hole; its clock starts at 2000-01-01 and its
    /// TSC runs at 1 GHz.
    pub fn with_ram(ram_bytes: u64) -> Self {
        Self {
            ram_bytes,
            below_4g: ram_bytes.min(PCI_HOLE),
            epoch_unix_s: 946_684_800,
            tsc_hz: 1_000_000_000,
            fw_cfg: Contents::default(),
            virtio: virtio::Config::default(),
        }
    }

    /// The same for this guest.
    pub fn of(guest: &Guest) -> Self {
        Self { fw_cfg: guest.fw_cfg.clone(), ..Self::with_ram(guest.ram_bytes) }
    }

    /// The same, with a real-time clock that follows the clock of the devices: under the host's clock it starts at the host's
    /// date, and under the virtual clock at the same date in every recording.
    #[expect(
        clippy::disallowed_methods,
        reason = "under the host's clock the guest's RTC follows the host: an input like any other"
    )]
    pub fn with_clock(guest: &Guest, clock: ClockMode) -> Self {
        let machine = Self::of(guest);
        match clock {
            ClockMode::Virtual => machine,
            ClockMode::Host => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
                Self { epoch_unix_s: now, ..machine }
            }
        }
    }
}
