//! A real interface, in a network of its own that ends with the test.

use super::*;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

/// What makes the interface there, with a station beside it that is the card.
const MAKE: &str =
    "ip tuntap add tap0 mode tap && ip address add 10.9.0.1/24 dev tap0 && ip link set tap0 up &&
    ip neighbor add 10.9.0.2 lladdr 02:54:52:41:50:01 dev tap0 && exec \"$0\" --ignored --exact \"$1\"";

#[test]
fn frames_go_both_ways_over_an_interface_and_a_flood_is_dropped_and_counted() {
    let name = std::thread::current().name().unwrap().replace("frames_go", "inside_frames_go");
    let unshare = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--net"]).args(command).output().expect("util-linux")
    };
    let allowed = unshare(&["ip", "link"]);
    if !allowed.status.success() {
        // Hosts that forbid it to users say so; root is forbidden nothing.
        let why = String::from_utf8_lossy(&allowed.stderr).into_owned();
        assert!(why.contains("not permitted"), "a network of one's own, and iproute2: {why}");
        eprintln!("skipped: {why}");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let output = unshare(&["sh", "-c", MAKE, program.to_str().unwrap(), &name]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}{why}");
}

#[test]
#[ignore = "started by the test above, where there is a tap0"]
fn inside_frames_go_both_ways_over_an_interface_and_a_flood_is_dropped_and_counted() {
    let mut tap = Tap::open("tap0").unwrap();
    assert!(Tap::open("tap0").unwrap_err().contains("busy"), "one at a time");
    assert!(!tap.is_live());
    tap.start(&StopHandle::for_this_thread());
    assert!(tap.is_live());
    let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut greeting = greeted(&mut tap, &socket);

    // The same back: addresses and ports turned, whose sums stay what they were.
    greeting[..12].rotate_left(6);
    greeting[26..34].rotate_left(4);
    greeting[34..38].rotate_left(2);
    tap.send(&greeting);
    let mut answer = [0; 16];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!((&answer[..length], from.port(), port > 0), (&b"hello"[..], 7, true));

    for _ in 0..4000 {
        socket.send_to(&[7; 900], "10.9.0.2:9").unwrap();
    }
    let mut waited = 0;
    while tap.counts().dropped == 0 {
        assert!(waited < 2000, "{:?}", tap.counts());
        std::thread::sleep(Duration::from_millis(10));
        waited += 1;
    }
    assert!(tap.to_guest.len() <= super::super::frames::ROOM);
    tap.stop();
    assert!(!tap.is_live());
}

/// The frame of a greeting, said until it comes: the host connects an interface some time after it
/// was opened, and loses what is sent before. An interface that comes up has something to say by
/// itself, which is passed over.
fn greeted(tap: &mut Tap, socket: &UdpSocket) -> Vec<u8> {
    for _ in 0..2000 {
        socket.send_to(b"hello", "10.9.0.2:7").unwrap();
        std::thread::sleep(Duration::from_millis(10));
        while let Some(frame) = tap.receive() {
            if frame.ends_with(b"hello") {
                return frame;
            }
        }
    }
    panic!("no frame came");
}
