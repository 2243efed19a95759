//! A link that needs no rights: a gateway in our own process, with a TCP/IP stack of its own (`smoltcp`).
//!
//! What the guest connects to at the gateway's address is connected to the same port of the host's loopback interface, and what is
//! connected to a forwarded port of that interface is connected to the guest. Nothing else is reached: no other host, and no other
//! protocol; the gateway answers ARP, and TCP to a port where nobody listens.

mod connection;
mod stack;
mod wire;

use super::frames::{Frames, ROOM};
use super::link::{Counts, Link};
use super::worker::Worker;
use crate::timer::StopHandle;
use stack::Stack;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The gateway, by which the guest reaches the host.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The guest, which has to call itself so.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Bits of the network's number.
const PREFIX: u8 = 24;

/// A port of the host's loopback interface that leads to one of the guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Of the host.
    pub host: u16,
    /// Of the guest.
    pub guest: u16,
}

/// What the two threads share.
#[derive(Debug, Default)]
struct Shared {
    to_guest: Frames,
    from_guest: Frames,
    /// Something is going on that may bring a frame.
    is_busy: AtomicBool,
}

/// The link.
#[derive(Debug)]
pub struct User {
    shared: Arc<Shared>,
    listeners: Vec<(Arc<TcpListener>, u16)>,
    worker: Option<Worker>,
}

impl User {
    /// A gateway that forwards these ports.
    pub fn new(forwards: &[Forward]) -> Result<Self, String> {
        let listen = |forward: &Forward| {
            let failed = |e| format!("port {} of 127.0.0.1 cannot be forwarded: {e}", forward.host);
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, forward.host)).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            Ok((Arc::new(listener), forward.guest))
        };
        let listeners = forwards.iter().map(listen).collect::<Result<_, String>>()?;
        Ok(Self { shared: Arc::default(), listeners, worker: None })
    }

    fn ring(&self) {
        if let Some(worker) = &self.worker {
            worker.ring();
        }
    }
}

impl Link for User {
    fn send(&mut self, frame: &[u8]) {
        if self.shared.from_guest.push(frame.to_vec()) {
            self.ring();
        }
    }

    fn has_frame(&self) -> bool {
        !self.shared.to_guest.is_empty()
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let frame = self.shared.to_guest.pop()?;
        // The gateway waits for room.
        if self.shared.to_guest.len() == ROOM / 2 {
            self.ring();
        }
        Some(frame)
    }

    fn counts(&self) -> Counts {
        let (dropped, unsent) = (self.shared.to_guest.dropped(), self.shared.from_guest.dropped());
        Counts { dropped, unsent, ..Counts::default() }
    }

    fn is_live(&self) -> bool {
        self.worker.is_some()
            && (!self.listeners.is_empty()
                || !self.shared.from_guest.is_empty()
                || self.shared.is_busy.load(Ordering::Acquire))
    }

    fn start(&mut self, guest: &StopHandle) {
        let mut stack = Stack::new(Arc::clone(&self.shared), self.listeners.clone(), guest.clone());
        self.worker = Worker::start(move |bell| stack.run(bell));
    }

    fn stop(&mut self) {
        self.worker = None;
    }
}

#[cfg(test)]
mod tests;
