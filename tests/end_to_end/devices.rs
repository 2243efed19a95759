//! Devices that write guest memory: Linux with an ext4 disk and an entropy device.

use crate::kernels::{APICS, LINUX, PICS, PLAIN_CPU};
use crate::support::compare::assert_replays_exactly_with;
use crate::support::host::{Extent, Host, host};
use crate::support::images::image;
use crate::support::plain::{Plain, PlainEvent};
use crate::support::recorded::{Recorded, record_on};
use crate::support::replayed::{attempt, try_replay};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;
use trapline_formats::{ClockMode, EndReason, Event};
use trapline_machine::doctor::user_mode_can_call;
use trapline_recorder::devices::virtio::{self, disk::Disk, net::Link};
use trapline_recorder::guest::kernel::{self, Kernel, Protocol};
use trapline_recorder::pc::PcConfig;
use trapline_recorder::{ConsoleInput, RecordOptions};
use trapline_replayer::{ReplayError, ReplayOptions};

pub const RAM: u64 = 64 << 20;
/// The channel of the virtio console.
const VIRTIO_CONSOLE: u8 = 3;
pub const LIMIT: Duration = Duration::from_mins(30);
/// What `devices.sh` says, in this order.
const SCRIPT: &[&str] = &[
    "step 1 disk: 32768 sectors, serial trapline-disk0",
    "step 2 read: 0e10426a1d5bddffcef02f1345787128, hello from the disk",
    "step 3 written and read back: e3f5c6d1c219f7b0016239a8cf596c8a",
    "step 4 mounted again: 200000 lines",
    "step 5 random numbers by virtio_rng.0",
    "step 6 console: hello over there",
    "step 7 end: power off",
];
/// What Linux says where its first process cannot call it: the kernel itself mounts the disk as its root.
const ROOT: &[&str] = &[
    "VFS: Mounted root (ext4 filesystem) on device 254:0.",
    "Run /sbin/init as init process",
    "traps: init[1] trap invalid opcode",
];

#[test]
fn linux_uses_a_disk_and_replays_exactly_with_its_image_under_the_host_clock() {
    let Some(host) = at_least(Extent::Normal) else { return };
    let recorded = boot(&host, PICS, ClockMode::Host, false);
    assert_replays_exactly_with(&host, &recorded, &with_image(&disk_image()));
}

#[test]
fn linux_uses_a_disk_and_replays_exactly_without_its_image_where_the_trace_holds_what_was_read() {
    let Some(host) = at_least(Extent::Full) else { return };
    let recorded = boot(&host, APICS, ClockMode::Virtual, true);
    let plain = Plain::read(&recorded.path);
    let of_file = |e: &PlainEvent| matches!(e, PlainEvent::Plain(Event::FileRead { .. }));
    assert!(!plain.exits.iter().flat_map(|exit| &exit.events).any(of_file));
    assert_replays_exactly_with(&host, &recorded, &ReplayOptions::default());
    let again = boot(&host, APICS, ClockMode::Virtual, true);
    assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
}

#[test]
fn a_replay_says_what_is_wrong_with_the_image_and_notices_a_byte_of_a_transfer() {
    let Some(host) = at_least(Extent::Normal) else { return };
    if !user_mode_can_call(host.kvm).unwrap() && at_least(Extent::Full).is_none() {
        // An engine that interprets takes minutes for it, and it is about the replayer.
        return;
    }
    let recorded = boot(&host, PICS, ClockMode::Virtual, false);
    let refusal = |options: &ReplayOptions| match attempt(&host, &recorded.path, options) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was replayed"),
    };
    let missing = refusal(&ReplayOptions::default());
    assert!(missing.contains("`disk.img`") && missing.contains("--disk"), "{missing}");
    let shorter = NamedTempFile::new().unwrap();
    std::fs::write(shorter.path(), [0; 512]).unwrap();
    let shorter = refusal(&with_image(shorter.path()));
    assert!(
        shorter.contains("it has 512 bytes, and the disk `disk.img` of the recording had 16777216"),
        "{shorter}"
    );
    let other = changed_image();
    let other = refusal(&with_image(other.path()));
    assert!(other.contains("its content is not what was recorded"), "{other}");
    let second = ReplayOptions { disks: vec![disk_image(), disk_image()], ..ReplayOptions::default() };
    assert!(matches!(attempt(&host, &recorded.path, &second), Err(ReplayError::Disk { .. })));

    let mut plain = Plain::read(&recorded.path);
    let changed = fail_a_request(&mut plain);
    plain.write(&recorded.path);
    let divergence = try_replay(&host, &recorded.path, &with_image(&disk_image())).err().unwrap();
    assert!(divergence.exit >= changed, "{divergence}");
}

pub fn at_least(extent: Extent) -> Option<Host> {
    if Extent::of_environment() < extent { None } else { host() }
}

pub fn disk_image() -> PathBuf {
    image("initramfs", "disk.img")
}

pub fn with_image(path: &Path) -> ReplayOptions {
    ReplayOptions { disks: vec![path.to_owned()], ..ReplayOptions::default() }
}

/// The disk, with other superblocks: the first that Linux reads.
fn changed_image() -> NamedTempFile {
    let mut bytes = std::fs::read(disk_image()).unwrap();
    bytes[1024..2048].iter_mut().for_each(|byte| *byte ^= 1);
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// Makes the disk say that the first request failed. Returns the exit.
fn fail_a_request(plain: &mut Plain) -> u64 {
    for (index, exit) in (0..).zip(&mut plain.exits) {
        for event in &mut exit.events {
            if let PlainEvent::Plain(Event::MemoryWrite { bytes, .. }) = event
                && **bytes == [0]
            {
                bytes[0] = 1;
                return index;
            }
        }
    }
    panic!("no request was answered");
}

/// Records Linux with both devices to its end; all that should be said has been.
fn boot(host: &Host, interrupts: &str, clock: ClockMode, in_trace: bool) -> Recorded {
    let disk = Disk::open(&disk_image(), false, in_trace).unwrap();
    boot_with(host, interrupts, clock, disk, None)
}

/// The same, with a network where there is one: its words are said in their place.
pub fn boot_with(
    host: &Host,
    interrupts: &str,
    clock: ClockMode,
    disk: Disk,
    network: Option<(Box<dyn Link>, &str, &[&str])>,
) -> Recorded {
    let calls = user_mode_can_call(host.kvm).unwrap();
    let initrd = calls.then(|| image("initramfs", "devices.cpio.gz"));
    let own = if calls { String::new() } else { format!("root=/dev/vda rootfstype=ext4 {PLAIN_CPU}") };
    let (net, cmdline, network) = match network {
        Some((net, cmdline, words)) => (Some(net), cmdline, words),
        None => (None, "", &[][..]),
    };
    let guest = kernel::load(
        Kernel {
            image: &image("linux", "linux/vmlinux"),
            initrd: initrd.as_deref(),
            cmdline: &format!("{LINUX} {interrupts} {own} {cmdline}"),
            protocol: Protocol::Auto,
        },
        RAM,
    )
    .unwrap();
    let config = PcConfig {
        virtio: virtio::Config { disks: vec![disk], console: true, entropy_seed: Some(1), net },
        ..PcConfig::with_ram(RAM)
    };
    let input = ConsoleInput::from_bytes(b"hello over there\n".to_vec());
    let options = RecordOptions { clock, timeout: Some(LIMIT), input, ..RecordOptions::default() };
    let recorded = record_on(host, &guest, config, options);
    let text = String::from_utf8_lossy(recorded.com1()).into_owned();
    let (says, end) = if calls { (SCRIPT, EndReason::PowerOff) } else { (ROOT, EndReason::Reset) };
    assert_eq!(recorded.end.reason, end, "it said:\n{text}");
    if calls {
        // The terminal's driver repeats what is typed, and ends lines as terminals do.
        let console = recorded.console[&VIRTIO_CONSOLE].escape_ascii().to_string();
        assert!(console.ends_with("typed: hello over there\\r\\n"), "{console}");
    }
    let mut rest = text.as_str();
    let network = network.iter().filter(|_| calls);
    for words in says[..says.len() - 2].iter().chain(network).chain(&says[says.len() - 2..]) {
        let at = rest
            .find(words)
            .unwrap_or_else(|| panic!("`{words}` is not there, or not in its place:\n{text}"));
        rest = &rest[at + words.len()..];
    }
    recorded
}
