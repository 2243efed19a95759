//! The gateway: a TCP/IP stack in a thread of its own.

use super::super::frames::ROOM;
use super::super::worker::Bell;
use super::connection::Connection;
use super::wire::Wire;
use super::{GATEWAY, GUEST, PREFIX, Shared};
use crate::timer::StopHandle;
use rustix::event::{PollFd, PollFlags};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpCidr, IpEndpoint, IpProtocol, Ipv4Packet,
    TcpPacket,
};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The gateway's address: see [`super::super::GUEST_MAC`].
const MAC: EthernetAddress = EthernetAddress([0x02, b'T', b'R', b'A', b'P', 2]);
/// The most connections at a time: to the next one it says no.
const CONNECTIONS: usize = 64;
/// Bytes on their way, for each connection and direction.
const BUFFER: usize = 64 << 10;
/// A guest that is silent for so long, though it owes an answer, is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// What listens on loopback answers at once, or its backlog is full.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(250);
/// How long to wait for a guest that takes no frames.
const NAP: std::time::Duration = std::time::Duration::from_millis(100);
/// Local ports of connections to the guest (RFC 6335, 6).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49152..=65535;

/// The stack.
pub(super) struct Stack {
    shared: Arc<Shared>,
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    connections: Vec<Connection>,
    listeners: Vec<(Arc<TcpListener>, u16)>,
    next_port: u16,
    started: std::time::Instant,
}

/// A guest's wish to connect.
struct Wish {
    from: IpEndpoint,
    port: u16,
}

impl Stack {
    #[expect(
        clippy::disallowed_methods,
        reason = "the gateway is outside of the line: its time is the host's"
    )]
    pub(super) fn new(
        shared: Arc<Shared>,
        listeners: Vec<(Arc<TcpListener>, u16)>,
        guest: StopHandle,
    ) -> Self {
        let mut wire = Wire::new(Arc::clone(&shared), guest);
        let config = Config::new(MAC.into());
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // There is room for one, at least.
            let _ = addresses.push(IpCidr::new(GATEWAY.into(), PREFIX));
        });
        Self {
            shared,
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            connections: Vec::new(),
            listeners,
            next_port: *EPHEMERAL.start(),
            started: std::time::Instant::now(),
        }
    }

    /// Works until the bell says that it is over.
    pub(super) fn run(&mut self, bell: &Bell) {
        while !bell.is_over() {
            self.work();
            self.wait(bell);
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as i64)
    }

    /// Does what there is to do.
    fn work(&mut self) {
        self.shared.is_busy.store(true, Ordering::Release);
        for _ in 0..ROOM {
            if !self.wire.has_room() {
                break;
            }
            let Some(frame) = self.shared.from_guest.pop() else { break };
            self.take(frame);
        }
        self.accept();
        for connection in &mut self.connections {
            connection.carry(self.sockets.get_mut(connection.handle));
        }
        let now = self.now();
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        let sockets = &mut self.sockets;
        self.connections.retain(|connection| {
            let is_over = Connection::is_over(sockets.get(connection.handle));
            if is_over {
                sockets.remove(connection.handle);
            }
            !is_over
        });
        self.shared.is_busy.store(!self.connections.is_empty(), Ordering::Release);
    }

    /// Gives a frame of the guest's to the stack; one that asks for a connection, once the host has one for it.
    fn take(&mut self, frame: Vec<u8>) {
        let mut waits = None;
        if let Some(wish) = wish(&frame).filter(|wish| !self.is_known(wish)) {
            match self.connect(wish.port) {
                Ok(connection) => waits = connection,
                // The guest will ask again.
                Err(_) => return,
            }
        }
        self.wire.arrived = Some(frame);
        let now = self.now();
        self.interface.poll_ingress_single(now, &mut self.wire, &mut self.sockets);
        if let Some(connection) = waits {
            if self.sockets.get::<Socket<'_>>(connection.handle).is_listening() {
                // The frame was not what it seemed.
                self.sockets.remove(connection.handle);
            } else {
                self.connections.push(connection);
            }
        }
    }

    /// Whether this wish was granted before: the guest asks twice where the answer was late.
    fn is_known(&self, wish: &Wish) -> bool {
        self.connections.iter().any(|connection| {
            let socket = self.sockets.get::<Socket<'_>>(connection.handle);
            socket.remote_endpoint() == Some(wish.from)
                && socket.local_endpoint().is_some_and(|local| local.port == wish.port)
        })
    }

    /// Connects to a port of the host, and lets the stack listen there: `None` where nobody does, so that the stack refuses.
    fn connect(&mut self, port: u16) -> std::io::Result<Option<Connection>> {
        if self.connections.len() >= CONNECTIONS {
            return Ok(None);
        }
        let host = match TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)
        {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(None),
            other => other?,
        };
        prepare(&host)?;
        let mut socket = socket();
        let listens = socket.listen((IpAddress::from(GATEWAY), port));
        listens.map_err(|_| ErrorKind::InvalidInput)?;
        Ok(Some(Connection::new(self.sockets.add(socket), host)))
    }

    /// Takes connections of the host's to the guest.
    fn accept(&mut self) {
        for index in 0..self.listeners.len() {
            let (listener, port) = &self.listeners[index];
            let (listener, port) = (Arc::clone(listener), *port);
            while self.connections.len() < CONNECTIONS
                && let Ok((host, _)) = listener.accept()
            {
                let mut socket = socket();
                let local = (IpAddress::from(GATEWAY), self.next_port);
                self.next_port = self.next_port.checked_add(1).unwrap_or(*EPHEMERAL.start());
                let remote = (IpAddress::from(GUEST), port);
                if prepare(&host).is_ok() && socket.connect(self.interface.context(), remote, local).is_ok() {
                    self.connections.push(Connection::new(self.sockets.add(socket), host));
                }
            }
        }
    }

    /// Waits for the guest, for the host, or for a time that the stack wants to be called at.
    fn wait(&mut self, bell: &Bell) {
        let now = self.now();
        let delay = self.interface.poll_delay(now, &self.sockets).map(std::time::Duration::from);
        let has_room = self.wire.has_room();
        let mut files: Vec<PollFd<'_>> = Vec::new();
        if self.connections.len() < CONNECTIONS {
            files.extend(self.listeners.iter().map(|(listener, _)| PollFd::new(&**listener, PollFlags::IN)));
        }
        for connection in &self.connections {
            let flags = connection.interest(self.sockets.get(connection.handle));
            if !flags.is_empty() {
                files.push(PollFd::new(&connection.host, flags));
            }
        }
        // Without room the stack can do nothing, whatever it wants: the bell rings once there is some.
        let limit = if has_room { delay } else { Some(NAP) };
        if has_room && !self.shared.from_guest.is_empty() {
            return;
        }
        bell.wait(&mut files, limit);
    }
}

fn socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    // A connection is forgotten where it ends: what it has to say goes out at once.
    socket.set_ack_delay(None);
    socket.set_timeout(Some(SILENCE));
    socket
}

fn prepare(host: &TcpStream) -> std::io::Result<()> {
    host.set_nonblocking(true)?;
    host.set_nodelay(true)
}

/// The wish to connect to the gateway that a frame is, if it is one.
fn wish(frame: &[u8]) -> Option<Wish> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let is_ours = frame.ethertype() == EthernetProtocol::Ipv4
        && packet.next_header() == IpProtocol::Tcp
        && packet.dst_addr() == GATEWAY;
    let segment = TcpPacket::new_checked(packet.payload()).ok().filter(|_| is_ours)?;
    let is_first = segment.syn() && !segment.ack() && !segment.rst() && segment.dst_port() != 0;
    let from = IpEndpoint::new(packet.src_addr().into(), segment.src_port());
    is_first.then(|| Wish { from, port: segment.dst_port() })
}
