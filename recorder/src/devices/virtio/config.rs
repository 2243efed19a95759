//! Which virtio devices a guest has.

use super::IRQS;
use super::disk::Disk;
use crate::error::RecorderError;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use trapline_formats::ClockMode;

/// What there is in the slots, in this order.
#[derive(Debug, Default)]
pub struct Config {
    /// Disks.
    pub disks: Vec<Disk>,
    /// A console.
    pub console: bool,
    /// An entropy device whose bytes follow from this.
    pub entropy_seed: Option<u64>,
}

impl Config {
    /// With these disks, each a file's name with or without `,readonly` behind it. `in_trace`: as [`Disk::open`].
    pub fn with_disks(names: &[String], in_trace: bool) -> Result<Self, RecorderError> {
        let open = |name: &String| {
            let readonly = name.strip_suffix(",readonly");
            let path = Path::new(readonly.unwrap_or(name));
            Disk::open(path, readonly.is_some(), in_trace)
                .map_err(|reason| RecorderError::Disk { path: path.to_owned(), reason })
        };
        Ok(Self { disks: names.iter().map(open).collect::<Result<_, _>>()?, ..Self::default() })
    }

    /// And an entropy device: other bytes in each recording under the host's clock, the same under the virtual clock.
    #[must_use]
    pub fn and_entropy(self, clock: ClockMode) -> Self {
        let seed = match clock {
            ClockMode::Virtual => 0,
            ClockMode::Host => RandomState::new().hash_one(0),
        };
        Self { entropy_seed: Some(seed), ..self }
    }

    /// Itself, if there is a slot for each device.
    pub fn fitting(self) -> Result<Self, RecorderError> {
        let devices = self.disks.len() + usize::from(self.console) + usize::from(self.entropy_seed.is_some());
        if devices > IRQS.len() {
            return Err(RecorderError::Devices { asked: devices, slots: IRQS.len() });
        }
        Ok(self)
    }
}
