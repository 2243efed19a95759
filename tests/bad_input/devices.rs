//! Disk images and networks that cannot be used, and images that change under the guest.

use crate::program::{Folder, Ran, kvm};
use std::net::TcpListener;
use std::time::Duration;
use trapline_guests::{storm_64, virtio_disk_32};

const DISK: usize = 128 << 10;

fn flat(folder: &Folder, more: &[&str]) -> Ran {
    folder.file("guest.bin", &[0xf4]);
    folder.run(&[&["record", "--flat", "guest.bin"], more].concat())
}

#[test]
fn an_image_that_is_no_disk_is_refused_with_the_reason() {
    let folder = Folder::new();
    folder.file("odd.img", &[0; 513]);
    folder.file("empty.img", &[]);
    flat(&folder, &["--disk", "no.img"]).says(2, &["disk image no.img", "No such file"]);
    flat(&folder, &["--disk", "."]).says(2, &["no regular file"]);
    flat(&folder, &["--disk", "odd.img"]).says(2, &["odd.img", "513 bytes", "sectors of 512"]);
    flat(&folder, &["--disk", "empty.img,readonly"]).says(2, &["empty.img", "0 bytes"]);
}

#[test]
fn more_devices_than_slots_are_refused() {
    let folder = Folder::new();
    folder.file("disk.img", &[0; 512]);
    let disk = ["--disk", "disk.img"];
    let all = [&disk[..], &disk, &disk, &["--virtio-console", "--net", "user"]].concat();
    flat(&folder, &all).says(2, &["5 virtio devices", "4 slots"]);
}

#[test]
fn a_network_that_is_none_is_refused_with_the_reason() {
    let folder = Folder::new();
    folder.file("text.pcap", b"this is no capture at all, but long enough");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = format!("user,forward={}:80", taken.local_addr().unwrap().port());
    for (network, words) in [
        ("bridge", &["`bridge`", "user[,forward=", "tap=NAME", "feed=FILE"][..]),
        ("user,forward=80", &["`forward=80`", "HOSTPORT:GUESTPORT"]),
        ("tap=trapline-none", &["trapline-none", "no such interface", "ip tuntap add"]),
        ("feed=no.pcap", &["no.pcap", "No such file"]),
        ("feed=text.pcap", &["text.pcap", "neither a pcap nor a pcapng file"]),
        (&forward, &["127.0.0.1", "in use"]),
    ] {
        flat(&folder, &["--net", network]).says(2, words);
    }
}

#[test]
fn a_replay_without_the_image_or_with_another_says_so() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("disk.img", &vec![7; DISK]);
    folder.record_guest(&virtio_disk_32(), &["--disk", "disk.img"]).says(0, &[]);
    folder.run(&["replay", "run.trap", "--disk", "disk.img"]).says(0, &[]);
    folder.run(&["replay", "run.trap"]).says(2, &["disk.img", "131072", "--disk"]);
    folder.file("short.img", &[7; 512]);
    folder.run(&["replay", "run.trap", "--disk", "short.img"]).says(2, &["short.img", "512", "131072"]);
    let mut other = vec![7; DISK];
    other[DISK - 1] = 8;
    folder.file("other.img", &other);
    let differs = ["other.img", "its content is not what was recorded", "at 0x10000"];
    folder.run(&["replay", "run.trap", "--disk", "other.img"]).says(2, &differs);
}

#[test]
fn an_image_that_changes_during_the_recording_is_told_and_the_trace_stays() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    let image = folder.file("disk.img", &vec![7; DISK]);
    folder.file("guest.bin", storm_64().image);
    let args = ["record", "--flat", "guest.bin", "--disk", "disk.img", "--timeout", "3s", "--quiet"];
    let recorder = folder.command(&args).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while !folder.path("run.trap").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::fs::write(image, vec![8; DISK]).unwrap();
    let told = ["disk.img", "it was written to while the guest used it"];
    Ran::of(recorder.wait_with_output().unwrap()).says(2, &told);
    folder.run(&["inspect", "run.trap"]).says(0, &[]);
}
