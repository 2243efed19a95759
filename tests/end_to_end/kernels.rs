//! Kernels that others wrote: memtest86+, a small Linux and Debian's cloud kernel, booted without firmware.

use crate::support::compare::assert_replays_exactly;
use crate::support::host::{Extent, Host, host};
use crate::support::images::image;
use crate::support::plain::Plain;
use crate::support::recorded::{Recorded, record_loaded};
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use trapline_formats::{ClockMode, EndReason, Gpa};
use trapline_machine::doctor::{can_hold_tsc, cpuid_can_hide, user_mode_can_call};
use trapline_recorder::guest::firmware::{self, Firmware};
use trapline_recorder::guest::kernel::{self, Kernel, Protocol};
use trapline_recorder::{ConsoleInput, RecordOptions};

/// No clock source that reads the TSC, so that no vDSO does either; the first panic ends it. Interrupts come at exits, so
/// nothing may wait for one in a loop that has none, as the calibration of delays would.
pub const LINUX: &str = "console=ttyS0 nokaslr mitigations=off tsc=unstable panic=-1 lpj=1000000";
/// Interrupts by the 8259A pair.
pub const PICS: &str = "nolapic noapic";
/// Interrupts by the I/O APIC and the local APIC, but for its timer: that is calibrated in such a loop. Nor may Linux wait so for
/// proof that the PIT interrupts at all.
pub const APICS: &str = "no_timer_check noapictimer";
/// What CPUID cannot hide where KVM interprets the guest: what it cannot finish there, and RDRAND and RDSEED.
pub const PLAIN_CPU: &str =
    "clearcpuid=smap,smep,popcnt,cx16,fsgsbase,umip,erms,fsrm,pcid,invpcid,rdrand,rdseed noxsave";
const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_mins(30);

/// What `init.sh` of the initial file system says, in this order.
const SHELL: &[&str] = &[
    "step 1 mounts: 5",
    "step 2 arithmetic: 17 primes below 60",
    "step 3 processes: 4 children, statuses add up to 10",
    "step 4 pipeline: 1997 1987 1979",
    "step 5 signals: trap caught and left with 7, the sleeper with 143",
    "step 6 checksum: f51f28385b4b35eff0ee86133eb16e5b",
    "step 7 fifo: f51f28385b4b35eff0ee86133eb16e5b",
    "step 8 slept 0.1 s",
    "step 9 slept 1 s",
];
/// And of programs that are linked dynamically, where the file system has them.
const DYNAMIC: &str = "dynamic ea4d0a24dabcaa11f9aa979b872d162b";
/// What Linux says of `first_process.s`.
const FIRST_PROCESS: &[&str] = &[
    "Run /init as init process",
    "traps: init[1] trap invalid opcode",
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000004",
];

/// A kernel, what it is booted with, and what it must come to.
struct Boot {
    /// It enters the image, instead of us.
    firmware: Option<PathBuf>,
    image: Image,
    protocol: Protocol,
    initrd: Option<PathBuf>,
    cmdline: String,
    ram_bytes: u64,
    /// At COM1.
    types: &'static [u8],
    until: Option<&'static str>,
    max_exits: Option<u64>,
    end: EndReason,
    /// On COM1, in this order.
    says: Vec<&'static str>,
    /// On the screen, in the end.
    shows: Option<&'static str>,
}

impl Boot {
    /// The first three tests of a memory test and the start of the fourth, on its screen. Its console repeats the screen once a second
    /// by the TSC: never, where that is hidden, and not for hours where time passes at exits, for its tests make few; so exits are
    /// counted there. A key keeps it from waiting three seconds for one, which without a TSC are three billion turns of a loop.
    fn memtest(host: &Host, clock: ClockMode) -> Self {
        let until = r"#[3-9]  \[";
        let max_exits = match (cpuid_can_hide(host.kvm).unwrap(), clock) {
            (true, _) => Some(6_900),
            (false, ClockMode::Virtual) => Some(12_066),
            (false, ClockMode::Host) => None,
        };
        Self {
            firmware: None,
            image: ("memtest86+", "memtest86+x64.bin"),
            protocol: Protocol::Auto,
            initrd: None,
            cmdline: "console=ttyS0,115200".into(),
            ram_bytes: 6 * MIB,
            types: &[b'\r'; 29],
            until: max_exits.is_none().then_some(until),
            max_exits,
            end: if max_exits.is_some() {
                EndReason::MaxExits
            } else {
                EndReason::ConsoleMatch(until.into())
            },
            // Where host time decides what its console repeats, the first test may be over before.
            says: match max_exits {
                Some(_) => vec!["Memtest86+ v6.10", "#0  [Address test, walking ones, no cache]"],
                None => vec!["Memtest86+ v6.10"],
            },
            shows: Some(r"Test #[3-9].*Pass:  0 +Errors: 0"),
        }
    }

    /// Linux to the end of its first process: a shell script that powers off, where user mode can call the kernel.
    fn linux(host: &Host, (kernel, interrupts): (Image, &str), ram_bytes: u64) -> Self {
        let calls = user_mode_can_call(host.kvm).unwrap();
        let (initrd, end, says) = if calls {
            // Loaders of programs read the TSC, which replays where it can be held.
            let (initrd, dynamic): (_, &[_]) = if can_hold_tsc(host.kvm).unwrap() {
                ("dynamic.cpio.gz", &[DYNAMIC])
            } else {
                ("shell.cpio.gz", &[])
            };
            let says = [&["Run /init as init process"], SHELL, dynamic, &["step 10 end: power off"]].concat();
            (initrd, EndReason::PowerOff, says)
        } else {
            ("first-process.cpio.gz", EndReason::Reset, FIRST_PROCESS.to_vec())
        };
        let cmdline = format!("{LINUX} {interrupts} {}", if calls { "" } else { PLAIN_CPU });
        Self {
            firmware: None,
            image: kernel,
            protocol: Protocol::Auto,
            initrd: Some(image("initramfs", initrd)),
            cmdline,
            ram_bytes,
            types: b"",
            until: None,
            max_exits: None,
            end,
            says,
            shows: None,
        }
    }
}

impl Boot {
    /// No ACPI table tells Linux how to switch off.
    fn cannot_switch_off(&mut self) {
        if self.end == EndReason::PowerOff {
            self.end = EndReason::Halted;
            self.says.push("reboot: System halted");
        }
    }
}

/// The guest of `tests/guests/fetch.sh`, and its file.
type Image = (&'static str, &'static str);
const VMLINUX: (Image, &str) = (("linux", "linux/vmlinux"), PICS);
const BZIMAGE: (Image, &str) = (("linux", "linux/bzImage"), APICS);
const CLOUD: (Image, &str) = (("cloud", "cloud/vmlinuz"), APICS);
const LINUX_RAM: u64 = 64 * MIB;
const CLOUD_RAM: u64 = 256 * MIB;

#[test]
fn memtest_starts_and_replays_exactly_under_the_host_clock() {
    memtest(ClockMode::Host, Extent::Quick);
}

#[test]
fn memtest_starts_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    memtest(ClockMode::Virtual, Extent::Normal);
}

fn memtest(clock: ClockMode, extent: Extent) {
    let Some(host) = from(extent) else { return };
    boots_and_replays(&host, &Boot::memtest(&host, clock), clock);
}

#[test]
fn linux_boots_from_vmlinux_and_replays_exactly_under_the_host_clock() {
    // A minute or two.
    let Some(host) = from(Extent::Normal) else { return };
    boots_and_replays(&host, &Boot::linux(&host, VMLINUX, LINUX_RAM), ClockMode::Host);
}

#[test]
fn linux_boots_from_vmlinux_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    let Some(host) = from(Extent::Full) else { return };
    boots_and_replays(&host, &Boot::linux(&host, VMLINUX, LINUX_RAM), ClockMode::Virtual);
}

#[test]
fn linux_boots_from_a_bzimage_and_replays_exactly_under_the_host_clock() {
    let Some(host) = from(Extent::Full) else { return };
    boots_and_replays(&host, &Boot::linux(&host, BZIMAGE, LINUX_RAM), ClockMode::Host);
}

#[test]
fn linux_boots_from_a_bzimage_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    let Some(host) = from(Extent::Full) else { return };
    boots_and_replays(&host, &Boot::linux(&host, BZIMAGE, LINUX_RAM), ClockMode::Virtual);
}

#[test]
fn linux_boots_by_pvh_and_replays_exactly_under_the_host_clock() {
    let Some(host) = from(Extent::Full) else { return };
    let mut boot = Boot::linux(&host, VMLINUX, LINUX_RAM);
    boot.protocol = Protocol::Pvh;
    // Without a random seed its user space would wait for entropy, which is a million exits on a slow engine.
    let until = "Run /init as init process";
    boot.until = Some(until);
    boot.end = EndReason::ConsoleMatch(until.into());
    boot.says = vec![until];
    boots_and_replays(&host, &boot, ClockMode::Host);
}

#[test]
fn linux_boots_on_a_bios_by_its_real_mode_entry_and_replays_exactly_under_the_host_clock() {
    let Some(host) = from(Extent::Normal) else { return };
    let mut boot = Boot::linux(&host, (BZIMAGE.0, PICS), LINUX_RAM);
    boot.firmware = Some(image("seabios", "bios.bin"));
    boot.says.insert(0, "Booting from ROM");
    boots_and_replays(&host, &boot, ClockMode::Host);
}

#[test]
fn a_kernel_that_needs_a_bios_starts_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    let Some(host) = from(Extent::Quick) else { return };
    // It unpacks itself first, which takes minutes where kernel mode is interpreted.
    let is_fast = user_mode_can_call(host.kvm).unwrap();
    let until = if is_fast { "iPXE initialising devices" } else { "Booting from ROM" };
    let boot = Boot {
        firmware: Some(image("seabios", "bios.bin")),
        image: ("ipxe", "ipxe.lkrn"),
        protocol: Protocol::Auto,
        initrd: None,
        cmdline: "console=ttyS0".into(),
        ram_bytes: LINUX_RAM,
        types: b"",
        until: Some(until),
        max_exits: None,
        end: EndReason::ConsoleMatch(until.into()),
        says: vec!["SeaBIOS (version"],
        shows: None,
    };
    boots_and_replays(&host, &boot, ClockMode::Virtual);
}

#[test]
fn linux_reboots_and_that_ends_the_recording() {
    let Some(host) = from(Extent::Full) else { return };
    let mut boot = Boot::linux(&host, VMLINUX, LINUX_RAM);
    if boot.end != EndReason::PowerOff {
        // Without a user space that can ask for it, the end is a reset already.
        return;
    }
    boot.cmdline.push_str(" trapline=reboot");
    boot.end = EndReason::Reset;
    boot.says.pop();
    boot.says.push("step 10 end: reboot");
    boots_and_replays(&host, &boot, ClockMode::Host);
}

#[test]
fn linux_without_acpi_finds_the_io_apic_in_the_mp_table_and_replays_exactly_under_the_host_clock() {
    let Some(host) = from(Extent::Full) else { return };
    let mut boot = Boot::linux(&host, (VMLINUX.0, APICS), LINUX_RAM);
    boot.cmdline.push_str(" acpi=off");
    boot.says.insert(0, "found SMP MP-table at [mem 0x000f0000-0x000f000f]");
    boot.says.insert(1, "IOAPIC[0]: apic_id 1, version 17, address 0xfec00000, GSI 0-23");
    boot.says.insert(2, "..TIMER: vector=0x30 apic1=0 pin1=2 apic2=0 pin2=0");
    boot.cannot_switch_off();
    boots_and_replays(&host, &boot, ClockMode::Host);
}

#[test]
fn linux_with_half_an_initial_ram_disk_says_so_and_replays_exactly() {
    let Some(host) = from(Extent::Full) else { return };
    let whole = std::fs::read(image("initramfs", "shell.cpio.gz")).unwrap();
    let folder = TempDir::with_prefix("trapline-").unwrap();
    let half = folder.path().join("half");
    std::fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    let mut boot = Boot::linux(&host, VMLINUX, LINUX_RAM);
    boot.initrd = Some(half);
    boot.end = EndReason::Reset;
    boot.says = vec!["Initramfs unpacking failed", "Kernel panic - not syncing"];
    boots_and_replays(&host, &boot, ClockMode::Host);
}

#[test]
fn debians_cloud_kernel_boots_and_replays_exactly_under_the_host_clock() {
    cloud(ClockMode::Host);
}

#[test]
fn debians_cloud_kernel_boots_and_replays_exactly_and_records_identically_under_the_virtual_clock() {
    cloud(ClockMode::Virtual);
}

/// Not where kernel mode is interpreted: it takes an hour to unpack itself there (docs/kernels.md says how far it was seen to come).
fn cloud(clock: ClockMode) {
    let Some(host) = from(Extent::Full) else { return };
    if user_mode_can_call(host.kvm).unwrap() {
        boots_and_replays(&host, &Boot::linux(&host, CLOUD, CLOUD_RAM), clock);
    }
}

/// By the way into the kernel that UEFI firmware knows: as one of its images.
#[test]
fn debians_cloud_kernel_boots_on_uefi_firmware_and_replays_exactly_under_the_host_clock() {
    let Some(host) = from(Extent::Full) else { return };
    if user_mode_can_call(host.kvm).unwrap() {
        let mut boot = Boot::linux(&host, CLOUD, CLOUD_RAM);
        boot.firmware = Some(image("ovmf", "OVMF.fd"));
        boot.says.insert(0, "efi: EFI v2.70 by EDK II");
        boots_and_replays(&host, &boot, ClockMode::Host);
    }
}

/// The host, where as much as this is asked for.
fn from(extent: Extent) -> Option<Host> {
    if Extent::of_environment() < extent { None } else { host() }
}

fn boots_and_replays(host: &Host, boot: &Boot, clock: ClockMode) {
    let recorded = record(host, boot, clock);
    assert_replays_exactly(host, &recorded);
    if clock == ClockMode::Virtual {
        let again = record(host, boot, clock);
        let (first, second) = (Plain::read(&recorded.path), Plain::read(&again.path));
        let (first, second) = (first.stream(), second.stream());
        assert!(
            first == second,
            "two recordings under the virtual clock differ: {}",
            first_difference(&first, &second)
        );
        if boot.end != EndReason::Timeout {
            crate::diff::assert_equal(&recorded, &again);
        }
    }
}

/// The first exits that two streams do not have in common.
fn first_difference<T: PartialEq + Debug>(first: &[T], second: &[T]) -> String {
    let at = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    format!("exit {at}: {:?} and {:?}", first.get(at), second.get(at))
}

/// Records a boot to its end; everything that it should have said is there.
fn record(host: &Host, boot: &Boot, clock: ClockMode) -> Recorded {
    let kernel = Kernel {
        image: &image(boot.image.0, boot.image.1),
        initrd: boot.initrd.as_deref(),
        cmdline: &boot.cmdline,
        protocol: boot.protocol,
    };
    let guest = match &boot.firmware {
        Some(rom) => {
            let option_roms = &[image("linuxboot", "linuxboot.bin")];
            firmware::load(Firmware { rom, option_roms, kernel: Some(kernel) }, boot.ram_bytes)
        }
        None => kernel::load(kernel, boot.ram_bytes),
    }
    .unwrap();
    let until = boot.until.map(|regex| regex::bytes::Regex::new(regex).unwrap());
    let options = RecordOptions {
        clock,
        timeout: Some(LIMIT),
        max_exits: boot.max_exits,
        until_console: until,
        input: ConsoleInput::from_bytes(boot.types.to_vec()),
        ..RecordOptions::default()
    };
    let recorded = record_loaded(host, &guest, options);
    let text = String::from_utf8_lossy(recorded.com1()).into_owned();
    assert_eq!(recorded.end.reason, boot.end, "it said:\n{text}");
    assert_eq!(recorded.end.unclosed, [], "no clock read was missed");
    let mut rest = text.as_str();
    for words in &boot.says {
        let at = rest
            .find(words)
            .unwrap_or_else(|| panic!("`{words}` is not there, or not in its place:\n{text}"));
        rest = &rest[at + words.len()..];
    }
    if let Some(regex) = boot.shows {
        let screen = screen(&recorded);
        assert!(
            regex::Regex::new(regex).unwrap().is_match(&screen),
            "`{regex}` is not on the screen:\n{screen}"
        );
    }
    recorded
}

/// The text screen, at 0xB8000: 80 columns, 25 rows, a character and its colours each.
fn screen(recorded: &Recorded) -> String {
    let mut cells = vec![0; 80 * 25 * 2];
    recorded.machine.memory().read(Gpa(0xb_8000), &mut cells).unwrap();
    cells
        .chunks(2)
        .map(|cell| if (0x20..0x7f).contains(&cell[0]) { char::from(cell[0]) } else { ' ' })
        .collect()
}
