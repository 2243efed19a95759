//! Linux that talks TCP to a program outside.

use crate::devices::{LIMIT, RAM, at_least, boot_with, disk_image, with_image};
use crate::kernels::{APICS, PICS};
use crate::positions::ORDINARY;
use crate::support::compare::{assert_replays_exactly, assert_replays_exactly_with};
use crate::support::host::{Extent, Host};
use crate::support::images::image;
use crate::support::recorded::{Recorded, record_on};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use trapline_formats::{ClockMode, EndReason, Preempt};
use trapline_machine::doctor::user_mode_can_call;
use trapline_recorder::RecordOptions;
use trapline_recorder::devices::virtio::{self, disk::Disk, net::User};
use trapline_recorder::guest::kernel::{self, Kernel, Protocol};
use trapline_recorder::pc::PcConfig;

/// What is sent.
const SENT: usize = 100_000;
/// The MD5 of what comes back.
const TURNED: &str = "38d1184d9ef98a357eccdb199ca949cf";
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

#[test]
fn linux_talks_to_a_program_outside_beside_a_process_that_computes_with_interrupts_between_exits() {
    let Some(host) = talking_host(Extent::Normal) else { return };
    let (port, outside) = program(&[turn_round]);
    // No driver asks whether a frame has come: its interrupt comes while the other process computes, or at the next timer.
    let talk = format!(
        "rdinit=/bin/busybox -- sh -c \"/bin/busybox ifconfig eth0 10.0.2.15 up; while :; do :; done & /bin/busybox seq 20000 | \
         /bin/busybox head -c {SENT} | /bin/busybox nc 10.0.2.2 {port} | /bin/busybox md5sum; /bin/busybox poweroff -f\""
    );
    let initrd = image("initramfs", "devices.cpio.gz");
    let guest = kernel::load(
        Kernel {
            image: &image("linux", "linux/vmlinux"),
            initrd: Some(&initrd),
            cmdline: &format!("{ORDINARY} {talk}"),
            protocol: Protocol::Auto,
        },
        RAM,
    )
    .unwrap();
    let virtio = virtio::Config { net: Some(Box::new(User::new(&[]).unwrap())), ..virtio::Config::default() };
    let options =
        RecordOptions { preempt: Preempt::Positions, timeout: Some(LIMIT), ..RecordOptions::default() };
    let recorded = record_on(&host, &guest, PcConfig { virtio, ..PcConfig::with_ram(RAM) }, options);
    let text = String::from_utf8_lossy(recorded.com1()).into_owned();
    assert_eq!(recorded.end.reason, EndReason::PowerOff, "it said:\n{text}");
    outside.join().unwrap();
    assert!(text.contains(TURNED), "it said:\n{text}");
    assert_eq!(recorded.end.unclosed, [], "no clock read was missed");
    assert!(recorded.end.preemption.positions.count > 0);
    assert_replays_exactly(&host, &recorded);
}

/// A host whose guests' user mode can call the kernel: the network is used by nobody else.
fn talking_host(extent: Extent) -> Option<Host> {
    at_least(extent).filter(|host| user_mode_can_call(host.kvm).unwrap())
}

fn talk(host: &Host, interrupts: &str, clock: ClockMode) {
    let (port, outside) = program(&[turn_round, give_page]);
    let net = User::new(&[]).unwrap();
    let disk = Disk::open(&disk_image(), false, false).unwrap();
    let cmdline = format!("trapline_port={port}");
    let recorded: Recorded = boot_with(host, interrupts, clock, disk, Some((Box::new(net), &cmdline, WORDS)));
    outside.join().unwrap();
    assert_replays_exactly_with(host, &recorded, &with_image(&disk_image()));
}

/// A program that answers so, one connection after the other.
fn program(answers: &'static [fn(&mut TcpStream)]) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let outside = std::thread::spawn(move || {
        for answer in answers {
            answer(&mut listener.accept().unwrap().0);
        }
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
