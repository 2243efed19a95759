//! A TCP connection of the guest's, and the one of the host's that goes on where it ends.

use rustix::event::PollFlags;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{Socket, State};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// The two.
pub(super) struct Connection {
    pub(super) handle: SocketHandle,
    pub(super) host: TcpStream,
    /// The host has said all it has to say.
    host_is_done: bool,
    /// And was told that the guest has.
    guest_is_done: bool,
}

/// What became of moving bytes one way.
enum Moved {
    /// The one who gives has no more for now, or who takes has no more room.
    Enough,
    /// Who gives has closed its side.
    End,
    /// The host's side is broken.
    Broken,
}

impl Connection {
    /// Joins a socket of the stack and a stream that does not block.
    pub(super) fn new(handle: SocketHandle, host: TcpStream) -> Self {
        Self { handle, host, host_is_done: false, guest_is_done: false }
    }

    /// Carries over what there is in both directions.
    pub(super) fn carry(&mut self, guest: &mut Socket<'_>) {
        match self.carry_out(guest) {
            Moved::Broken => return guest.abort(),
            Moved::End if !self.guest_is_done => {
                self.guest_is_done = true;
                // It fails where the host has closed everything already.
                let _ = self.host.shutdown(Shutdown::Write);
            }
            _ => {}
        }
        match self.carry_in(guest) {
            Moved::Broken => guest.abort(),
            Moved::End => {
                self.host_is_done = true;
                guest.close();
            }
            Moved::Enough => {}
        }
    }

    fn carry_out(&mut self, guest: &mut Socket<'_>) -> Moved {
        while guest.can_recv() {
            let moved = guest.recv(|bytes| match self.host.write(bytes) {
                Ok(length) => (length, Ok(length)),
                Err(error) => (0, Err(error.kind())),
            });
            match moved {
                Ok(Ok(1..) | Err(ErrorKind::Interrupted)) => {}
                Ok(Err(ErrorKind::WouldBlock)) => return Moved::Enough,
                Ok(_) => return Moved::Broken,
                Err(_) => break,
            }
        }
        let has_closed =
            matches!(guest.state(), State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        if has_closed { Moved::End } else { Moved::Enough }
    }

    fn carry_in(&mut self, guest: &mut Socket<'_>) -> Moved {
        while !self.host_is_done && guest.can_send() {
            let moved = guest.send(|room| match self.host.read(room) {
                Ok(length) => (length, Ok(length)),
                Err(error) => (0, Err(error.kind())),
            });
            match moved {
                Ok(Ok(0)) => return Moved::End,
                Ok(Ok(_) | Err(ErrorKind::Interrupted)) => {}
                Ok(Err(ErrorKind::WouldBlock)) | Err(_) => return Moved::Enough,
                Ok(Err(_)) => return Moved::Broken,
            }
        }
        Moved::Enough
    }

    /// Whether nothing more can come of one whose socket this is.
    pub(super) fn is_over(guest: &Socket<'_>) -> bool {
        matches!(guest.state(), State::Closed | State::TimeWait) && !guest.can_recv()
    }

    /// What of the host's side there is to wait for.
    pub(super) fn interest(&self, guest: &Socket<'_>) -> PollFlags {
        let mut flags = PollFlags::empty();
        if !self.host_is_done && guest.can_send() {
            flags |= PollFlags::IN;
        }
        if guest.can_recv() {
            flags |= PollFlags::OUT;
        }
        flags
    }
}
