//! The cable between the guest and the gateway, as `smoltcp` sees it.

use super::super::frames::ROOM;
use super::super::link::LONGEST;
use super::Shared;
use crate::timer::StopHandle;
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use std::sync::Arc;

/// The cable: one frame at a time from the guest, frames for the guest as long as there is room.
pub(super) struct Wire {
    shared: Arc<Shared>,
    guest: StopHandle,
    /// From the guest, looked at and not taken yet.
    pub(super) arrived: Option<Vec<u8>>,
}

impl Wire {
    pub(super) fn new(shared: Arc<Shared>, guest: StopHandle) -> Self {
        Self { shared, guest, arrived: None }
    }

    /// Whether a frame for the guest would find a place.
    pub(super) fn has_room(&self) -> bool {
        self.shared.to_guest.len() < ROOM
    }
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = ToGuest<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, ToGuest<'_>)> {
        // What arrives may have to be answered.
        if !self.has_room() {
            return None;
        }
        Some((Arrived(self.arrived.take()?), ToGuest(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToGuest<'_>> {
        self.has_room().then_some(ToGuest(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = LONGEST;
        capabilities
    }
}

/// A frame from the guest.
pub(super) struct Arrived(Vec<u8>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, look: F) -> R {
        look(&self.0)
    }
}

/// Room for a frame to the guest.
pub(super) struct ToGuest<'a>(&'a Wire);

impl phy::TxToken for ToGuest<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        if self.0.shared.to_guest.push(frame) {
            self.0.guest.wake();
        }
        result
    }
}
