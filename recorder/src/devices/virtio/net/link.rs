//! What a network card is plugged into.

use crate::platform::Time;
use crate::timer::StopHandle;
use trapline_formats::GuestFile;

/// The longest frame, without a VLAN tag and without its check sequence (IEEE 802.3, 3.1.1).
pub const LONGEST: usize = 1514;

/// The other end of a network card. It never blocks, and keeps a bounded number of frames.
pub trait Link: Send {
    /// Takes a frame from the guest.
    fn send(&mut self, frame: &[u8]);
    /// Whether a frame for the guest waits.
    fn has_frame(&self) -> bool;
    /// The next frame for the guest: at most [`LONGEST`] bytes.
    fn receive(&mut self) -> Option<Vec<u8>>;
    /// Frames that were lost, and why.
    fn counts(&self) -> Counts;

    /// The file that the frames come from.
    fn file(&self) -> Option<GuestFile> {
        None
    }
    /// The guest has given a buffer for a frame: somebody is there.
    fn begin(&mut self, now: Time) {
        let _ = now;
    }
    /// When the next frame comes, where the clock of the devices decides that.
    fn deadline(&self) -> Option<Time> {
        None
    }
    /// The frames that are due by the clock of the devices come.
    fn fire(&mut self, now: Time) {
        let _ = now;
    }

    /// Whether its frames come by the clock of the devices, and by nothing else.
    fn follows_clock(&self) -> bool {
        false
    }
    /// Whether a frame may come at any moment of host time.
    fn is_live(&self) -> bool {
        false
    }
    /// A recording starts: frames that come in host time wake its guest.
    fn start(&mut self, guest: &StopHandle) {
        let _ = guest;
    }
    /// The recording is at its end: nothing may wake its guest any more.
    fn stop(&mut self) {}
}

/// What went over a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames that the guest was given.
    pub received: u64,
    /// Frames that the guest sent.
    pub sent: u64,
    /// What the guest sent that is no frame: too short or too long.
    pub malformed: u64,
    /// Frames for the guest that were dropped because too many waited for it already.
    pub dropped: u64,
    /// Frames of the guest that were dropped because nobody took them fast enough.
    pub unsent: u64,
    /// Frames for the guest that it cannot be given: longer than [`LONGEST`], or cut short where they were captured.
    pub unusable: u64,
}
