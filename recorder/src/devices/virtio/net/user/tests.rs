//! The gateway from both sides: a guest of our own (the same TCP/IP stack at the other end) and real sockets of the host.

use super::super::GUEST_MAC;
use super::*;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A guest on the link.
struct Guest {
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    started: std::time::Instant,
}

struct Card(User);
struct Got(Vec<u8>);
struct Give<'a>(&'a mut User);

impl RxToken for Got {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, look: F) -> R {
        look(&self.0)
    }
}

impl TxToken for Give<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        self.0.send(&frame);
        result
    }
}

impl Device for Card {
    type RxToken<'a> = Got;
    type TxToken<'a> = Give<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Got, Give<'_>)> {
        Some((Got(self.0.receive()?), Give(&mut self.0)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Give<'_>> {
        Some(Give(&mut self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = super::super::LONGEST;
        capabilities
    }
}

#[expect(clippy::disallowed_methods, reason = "a test of what works in host time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

impl Guest {
    fn new(forwards: &[Forward]) -> Self {
        let mut link = User::new(forwards).unwrap();
        link.start(&StopHandle::for_this_thread());
        let mut card = Card(link);
        let config = Config::new(EthernetAddress(GUEST_MAC).into());
        let mut interface = Interface::new(config, &mut card, Instant::ZERO);
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(GUEST.into(), PREFIX)).unwrap());
        Self { card, interface, sockets: SocketSet::new(Vec::new()), started: now() }
    }

    fn socket(&mut self) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; 32 << 10]);
        self.sockets.add(Socket::new(buffer(), buffer()))
    }

    fn connect(&mut self, port: u16, local: u16) -> SocketHandle {
        let handle = self.socket();
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        socket.connect(self.interface.context(), (GATEWAY, port), local).unwrap();
        handle
    }

    /// Goes on until something is true.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut SocketSet<'static>) -> bool) {
        while !done(&mut self.sockets) {
            let time = Instant::from_micros(self.started.elapsed().as_micros() as i64);
            assert!(time < Instant::from_secs(60), "{what}: it did not happen");
            self.interface.poll(time, &mut self.card, &mut self.sockets);
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn state(&self, handle: SocketHandle) -> State {
        self.sockets.get::<Socket<'_>>(handle).state()
    }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// So many bytes, all of them told apart from those around them.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).flat_map(|n| (n * 2_654_435_761).to_le_bytes()).take(count).collect()
}

#[test]
fn a_guest_connects_to_the_host_and_both_say_a_lot() {
    const SAID: usize = 300_000;
    let (listener, port) = listener();
    let host = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        heard.reverse();
        stream.write_all(&heard).unwrap();
    });
    let mut guest = Guest::new(&[]);
    let handle = guest.connect(port, 40000);
    let (say, mut said, mut heard) = (bytes(SAID), 0, Vec::new());
    guest.until("what was said is heard", |sockets| {
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        if socket.can_send() {
            said += socket.send_slice(&say[said..]).unwrap();
            if said == say.len() {
                socket.close();
            }
        }
        if socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), heard.extend_from_slice(bytes))).unwrap();
        }
        heard.len() == SAID && !socket.may_recv()
    });
    heard.reverse();
    assert!(heard == say);
    host.join().unwrap();
    let counts = guest.card.0.counts();
    assert_eq!((counts.dropped, counts.unsent), (0, 0));
    guest.until("the gateway is idle", |_| true);
    while guest.card.0.is_live() {
        guest.until("the end of the connection", |_| true);
        std::thread::park_timeout(Duration::from_millis(1));
        let time = Instant::from_micros(guest.started.elapsed().as_micros() as i64);
        guest.interface.poll(time, &mut guest.card, &mut guest.sockets);
    }
}

#[test]
fn a_port_where_nobody_listens_refuses() {
    let (listener, port) = listener();
    drop(listener);
    let mut guest = Guest::new(&[]);
    let handle = guest.connect(port, 40000);
    guest.until("the answer", |sockets| sockets.get::<Socket<'_>>(handle).state() == State::Closed);
    assert!(!guest.card.0.shared.is_busy.load(Ordering::Acquire));
}

#[test]
fn a_forwarded_port_leads_to_the_guest() {
    let (listener, port) = listener();
    drop(listener);
    let mut guest = Guest::new(&[Forward { host: port, guest: 80 }]);
    assert!(guest.card.0.is_live(), "somebody may connect");
    let handle = guest.socket();
    guest.sockets.get_mut::<Socket<'_>>(handle).listen(80).unwrap();
    let host = std::thread::spawn(move || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    guest.until("the greeting and its answer", |sockets| {
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        let greeting = socket.can_recv() && socket.recv(|b| (0, b == b"hello")).unwrap();
        if greeting {
            socket.recv(|b| (b.len(), ())).unwrap();
            socket.send_slice(b"good day").unwrap();
            socket.close();
        }
        socket.state() == State::FinWait2
            || socket.state() == State::TimeWait
            || socket.state() == State::Closed
    });
    guest.until("the last of it", |_| host.is_finished());
    assert_eq!(host.join().unwrap(), b"good day");
}

#[test]
fn a_port_that_is_taken_cannot_be_forwarded() {
    let (_listener, port) = listener();
    let refusal = User::new(&[Forward { host: port, guest: 1 }]).unwrap_err();
    assert!(refusal.contains(&format!("port {port} of 127.0.0.1")), "{refusal}");
}

#[test]
fn more_connections_than_there_are_places_are_refused_and_a_closed_one_makes_room() {
    let (listener, port) = listener();
    let mut guest = Guest::new(&[]);
    let handles: Vec<_> = (0..64).map(|n| guest.connect(port, 41000 + n)).collect();
    let state = |sockets: &mut SocketSet<'static>, handle| sockets.get::<Socket<'_>>(handle).state();
    // The host has to take them: its backlog may be shorter.
    let taken: Vec<_> = {
        listener.set_nonblocking(true).unwrap();
        let mut taken = Vec::new();
        guest.until("64 connections", |sockets| {
            taken.extend(std::iter::from_fn(|| listener.accept().ok()));
            taken.len() == 64 && handles.iter().all(|h| state(sockets, *h) == State::Established)
        });
        taken
    };
    let one_more = guest.connect(port, 42000);
    guest.until("the refusal", |sockets| state(sockets, one_more) == State::Closed);
    drop(taken);
    guest.until("the end of all", |sockets| handles.iter().all(|h| state(sockets, *h) == State::CloseWait));
    for handle in &handles {
        guest.sockets.get_mut::<Socket<'_>>(*handle).close();
    }
    guest.until("their places", |sockets| handles.iter().all(|h| state(sockets, *h) == State::Closed));
    let again = guest.connect(port, 43000);
    guest.until("a new one", |sockets| state(sockets, again) == State::Established);
    assert_eq!(guest.state(again), State::Established);
}

#[test]
fn a_host_that_floods_waits_for_a_guest_that_takes_nothing() {
    let (listener, port) = listener();
    let mut guest = Guest::new(&[]);
    let handle = guest.connect(port, 40000);
    guest.until("the connection", |sockets| sockets.get::<Socket<'_>>(handle).state() == State::Established);
    let mut host = listener.accept().unwrap().0;
    host.set_nonblocking(true).unwrap();
    let mut written = 0;
    guest.until("the host can write no more", |_| {
        // What the kernel and the gateway keep is bounded.
        while let Ok(length) = host.write(&[0; 16384]) {
            written += length;
        }
        assert!(written < 64 << 20);
        std::thread::park_timeout(Duration::from_millis(300));
        matches!(host.write(&[0; 1]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(guest.card.0.shared.to_guest.len() <= ROOM);
}

#[test]
fn frames_that_are_nonsense_do_nothing() {
    let mut guest = Guest::new(&[]);
    for length in 14..200 {
        for seed in 0..8 {
            let mut frame = bytes(length);
            frame.rotate_left(seed * 7 % length);
            frame[12..14].copy_from_slice(&[8, 0]);
            if seed % 2 == 0 && length > 34 {
                // An IPv4 header with TCP behind it, to the gateway.
                frame[14] = 0x45;
                frame[23] = 6;
                frame[30..34].copy_from_slice(&GATEWAY.octets());
            }
            guest.card.0.send(&frame);
        }
    }
    let (listener, port) = listener();
    let handle = guest.connect(port, 40000);
    guest.until("a connection after all that", |sockets| {
        sockets.get::<Socket<'_>>(handle).state() == State::Established
    });
    drop(listener);
}
