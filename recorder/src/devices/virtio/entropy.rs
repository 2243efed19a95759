//! The entropy device (Virtual I/O Device 1.2, 5.4): fills what the driver gives it with random bytes.

use super::Device;
use super::request::{Broken, Request};
use crate::transfer::Transfers;
use fastrand::Rng;

const QUEUE: u16 = 64;
/// The most bytes that one request is given: it may be given less than it asks for.
const MOST: usize = 4096;

/// The device.
pub struct Entropy {
    random: Rng,
}

impl Entropy {
    /// A device whose bytes follow from a seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed) }
    }
}

impl Device for Entropy {
    fn id(&self) -> u32 {
        4
    }

    fn name(&self) -> String {
        "virtio-rng".into()
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE]
    }

    fn serve(&mut self, _: usize, request: &Request, memory: &mut Transfers<'_>) -> Result<u32, Broken> {
        let mut given = 0;
        for buffer in &request.writable {
            let mut bytes = vec![0; buffer.length.min(MOST - given)];
            self.random.fill(&mut bytes);
            memory.write(buffer.gpa, &bytes)?;
            given += bytes.len();
        }
        Ok(given as u32)
    }
}
