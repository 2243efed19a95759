//! Which virtio devices a guest has.

use super::IRQS;
use super::disk::Disk;
use super::net::{Link, Network};
use crate::error::RecorderError;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use trapline_formats::ClockMode;

/// What there is in the slots, in this order.
#[derive(Default)]
pub struct Config {
    /// Disks.
    pub disks: Vec<Disk>,
    /// A console.
    pub console: bool,
    /// An entropy device whose bytes follow from this.
    pub entropy_seed: Option<u64>,
    /// What a network card is plugged into.
    pub net: Option<Box<dyn Link>>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { disks, console, entropy_seed, net } = self;
        let mut all = f.debug_struct("Config");
        all.field("disks", disks).field("console", console).field("entropy_seed", entropy_seed);
        all.field("net", &net.is_some()).finish()
    }
}

/// What a user asks for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Disk images: names of files, with or without `,readonly` behind them.
    pub disks: &'a [String],
    /// As [`Disk::open`] has it.
    pub in_trace: bool,
    /// A console.
    pub console: bool,
    /// An entropy device: other bytes in each recording under the host's clock, the same under the virtual clock.
    pub entropy: bool,
    /// A network card, and on which network: see [`Network`].
    pub net: Option<&'a str>,
}

impl Config {
    /// Opens what is wanted, if there is a slot for each device.
    pub fn open(wanted: &Wanted<'_>, clock: ClockMode) -> Result<Self, RecorderError> {
        let others = [wanted.console, wanted.entropy, wanted.net.is_some()];
        let asked = wanted.disks.len() + others.into_iter().map(usize::from).sum::<usize>();
        if asked > IRQS.len() {
            return Err(RecorderError::Devices { asked, slots: IRQS.len() });
        }
        let disks = wanted.disks.iter().map(|name| disk(name, wanted.in_trace)).collect::<Result<_, _>>()?;
        let entropy_seed = wanted.entropy.then(|| match clock {
            ClockMode::Virtual => 0,
            ClockMode::Host => RandomState::new().hash_one(0),
        });
        let net = wanted.net.map(network).transpose()?;
        Ok(Self { disks, console: wanted.console, entropy_seed, net })
    }
}

fn network(text: &str) -> Result<Box<dyn Link>, RecorderError> {
    let failed = |reason| RecorderError::Network { asked: text.to_owned(), reason };
    text.parse::<Network>().and_then(|network| network.open()).map_err(failed)
}

fn disk(name: &str, in_trace: bool) -> Result<Disk, RecorderError> {
    let readonly = name.strip_suffix(",readonly");
    let path = Path::new(readonly.unwrap_or(name));
    Disk::open(path, readonly.is_some(), in_trace)
        .map_err(|reason| RecorderError::Disk { path: path.to_owned(), reason })
}
