//! The network card (Virtual I/O Device 1.2, 5.1), without offloads: a frame is a request. What it is plugged into is a [`Link`].

mod feed;
mod frames;
mod link;
mod network;
mod tap;
mod user;
mod worker;

use super::Device;
use super::request::{Broken, Request};
use crate::platform::Time;
use crate::timer::StopHandle;
use crate::transfer::Transfers;

pub use feed::Feed;
pub use link::{Counts, LONGEST, Link};
pub use network::Network;
pub use tap::Tap;
pub use user::{Forward, GATEWAY, GUEST, User};

const QUEUE: u16 = 256;
const RECEIVE: usize = 0;
/// Bytes of the header before each frame: with version 1, `num_buffers` is always there (5.1.6).
const HEADER: usize = 12;
/// `num_buffers` without VIRTIO_NET_F_MRG_RXBUF (5.1.6.4.1). All else is zero: no offload was agreed on.
const ONE_BUFFER: [u8; HEADER] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
/// The shortest frame: two addresses and a type (IEEE 802.3, 3.1.1). Padding is the business of cables.
const SHORTEST: usize = 14;

/// VIRTIO_NET_F_MAC (5.1.3).
const MAC: u64 = 1 << 5;

/// The address of the guest's card, the same in each recording: locally administered (IEEE 802, 8.2.2), and "TRAP".
pub const GUEST_MAC: [u8; 6] = [0x02, b'T', b'R', b'A', b'P', 1];

/// The card.
pub struct Net {
    link: Box<dyn Link>,
    /// Frames that the guest was given, and sent.
    received: u64,
    sent: u64,
    /// Frames of the guest that are none.
    malformed: u64,
}

impl Net {
    /// A card on this link.
    pub fn new(link: Box<dyn Link>) -> Self {
        Self { link, received: 0, sent: 0, malformed: 0 }
    }

    /// What it is plugged into.
    pub fn link(&self) -> &dyn Link {
        &*self.link
    }

    /// The frames that are due come.
    pub fn fire(&mut self, now: Time) {
        self.link.fire(now);
    }

    /// From now on frames wake the guest.
    pub fn start(&mut self, guest: &StopHandle) {
        self.link.start(guest);
    }

    /// Nothing wakes the guest any more.
    pub fn stop(&mut self) {
        self.link.stop();
    }

    /// What went over it.
    pub fn counts(&self) -> Counts {
        let Self { received, sent, malformed, .. } = *self;
        Counts { received, sent, malformed, ..self.link.counts() }
    }

    fn receive(&mut self, request: &Request, memory: &mut Transfers<'_>) -> Result<u32, Broken> {
        let room: usize = request.writable.iter().map(|b| b.length).sum();
        // What an honest driver gives has room for any frame (5.1.6.3.1).
        if room < HEADER + LONGEST || !request.readable.is_empty() {
            return Err(Broken);
        }
        let Some(frame) = self.link.receive() else { return Ok(0) };
        let bytes = [&ONE_BUFFER[..], &frame].concat();
        let mut rest = bytes.as_slice();
        for buffer in &request.writable {
            let (piece, behind) = rest.split_at(buffer.length.min(rest.len()));
            memory.write(buffer.gpa, piece)?;
            rest = behind;
        }
        self.received += 1;
        Ok(bytes.len() as u32)
    }

    fn send(&mut self, request: &Request, memory: &Transfers<'_>) -> Result<(), Broken> {
        let length: usize = request.readable.iter().map(|b| b.length).sum();
        let Some(frame) = length.checked_sub(HEADER) else { return Err(Broken) };
        if (SHORTEST..=LONGEST).contains(&frame) {
            self.link.send(&request.read(memory)?[HEADER..]);
            self.sent += 1;
        } else {
            self.malformed += 1;
        }
        Ok(())
    }
}

impl Device for Net {
    fn id(&self) -> u32 {
        1
    }

    fn name(&self) -> String {
        "virtio-net".into()
    }

    fn features(&self) -> u64 {
        MAC
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE, QUEUE]
    }

    fn configuration(&self) -> &[u8] {
        &GUEST_MAC
    }

    fn notified(&mut self, now: Time, queue: usize) {
        if queue == RECEIVE {
            self.link.begin(now);
        }
    }

    fn wants(&self, queue: usize) -> bool {
        queue != RECEIVE || self.link.has_frame()
    }

    fn serve(&mut self, queue: usize, request: &Request, memory: &mut Transfers<'_>) -> Result<u32, Broken> {
        if queue == RECEIVE {
            return self.receive(request, memory);
        }
        self.send(request, memory).map(|()| 0)
    }

    fn net(&self) -> Option<&Net> {
        Some(self)
    }

    fn net_mut(&mut self) -> Option<&mut Net> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
