//! Linux that talks TCP to a program outside.

use crate::devices::{at_least, boot_with, disk_image, with_image};
use crate::kernels::{APICS, PICS};
use crate::support::compare::assert_replays_exactly_with;
use crate::support::host::{Extent, Host};
use crate::support::recorded::Recorded;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use trapline_formats::ClockMode;
use trapline_machine::doctor::user_mode_can_call;
use trapline_recorder::devices::virtio::disk::Disk;
use trapline_recorder::devices::virtio::net::User;

/// What `devices.sh` sends.
const SENT: usize = 100_000;
/// What it says of it, in this order.
const WORDS: &[&str] = &[
    "network: card 02:54:52:41:50:01",
    "network: back came 38d1184d9ef98a357eccdb199ca949cf",
    "network: the page is fd9e81b156d2de86516165f7b248e163",
    "network: where nobody listens: refused",
];

#[test]
fn linux_talks_to_a_program_outside_and_replays_exactly_without_a_network_under_the_host_clock() {
    let Some(host) = talking_host(Extent::Normal) else { return };
    talk(&host, PICS, ClockMode::Host);
}

#[test]
fn linux_talks_to_a_program_outside_and_replays_exactly_without_a_network_under_the_virtual_clock() {
    let Some(host) = talking_host(Extent::Normal) else { return };
    talk(&host, APICS, ClockMode::Virtual);
}

/// A host whose guests' user mode can call the kernel: the network is used by nobody else.
fn talking_host(extent: Extent) -> Option<Host> {
    at_least(extent).filter(|host| user_mode_can_call(host.kvm).unwrap())
}

fn talk(host: &Host, interrupts: &str, clock: ClockMode) {
    let (port, outside) = program();
    let net = User::new(&[]).unwrap();
    let disk = Disk::open(&disk_image(), false, false).unwrap();
    let cmdline = format!("trapline_port={port}");
    let recorded: Recorded = boot_with(host, interrupts, clock, disk, Some((Box::new(net), &cmdline, WORDS)));
    outside.join().unwrap();
    assert_replays_exactly_with(host, &recorded, &with_image(&disk_image()));
}

/// A program that turns round what it hears, and then gives a page.
fn program() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let outside = std::thread::spawn(move || {
        turn_round(&mut listener.accept().unwrap().0);
        give_page(&mut listener.accept().unwrap().0);
    });
    (port, outside)
}

fn turn_round(guest: &mut TcpStream) {
    let mut heard = vec![0; SENT];
    guest.read_exact(&mut heard).unwrap();
    assert!(heard.starts_with(b"1\n2\n3\n"), "it comes as it was sent");
    heard.reverse();
    guest.write_all(&heard).unwrap();
}

fn give_page(guest: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        guest.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    assert!(request.starts_with(b"GET /page HTTP/1.1\r\n"), "{}", request.escape_ascii());
    let page = (0..20_000).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", page.len());
    guest.write_all(head.as_bytes()).unwrap();
    guest.write_all(page.as_bytes()).unwrap();
}
