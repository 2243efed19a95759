//! Call stacks, unwound at replay: every frame of known chains, and how it was found.

use crate::support::host::{Extent, Host, host};
use crate::support::images::image;
use crate::support::mutated::{Mutated, assert_diverged};
use crate::support::recorded::{record, record_loaded};
use crate::support::stacked::{callers, stacks, try_stacks};
use std::path::{Path, PathBuf};
use trapline_analyzer::Method::{self, Dwarf, FramePointer, Guess, Orc};
use trapline_analyzer::{Stacks, SymbolFile, Symbols};
use trapline_formats::{ClockMode, Trace};
use trapline_guests::{Guest, calls_16, calls_32, calls_64};
use trapline_machine::doctor::user_mode_can_call;
use trapline_recorder::RecordOptions;
use trapline_recorder::guest::kernel::{self, Kernel, Protocol};
use trapline_replayer::What;

/// Where the calls of `calls.s` return to, by the lengths of the instructions before.
struct Returns {
    /// In `middle`: after the calls of `framed`, `looped` and `bare`.
    middle: [u64; 3],
    outer: u64,
    start: u64,
}

impl Returns {
    /// A frame is set up in so many bytes, a call has so many, and RBP is cleared in so many.
    fn new(frame: u64, call: u64, clear: u64) -> Self {
        Self {
            middle: [1, 2, 3].map(|n| 0x8300 + frame + n * call),
            outer: 0x8200 + frame + call,
            start: 0x8100 + clear + call,
        }
    }

    fn stack(&self, middle: usize, methods: [Method; 3]) -> Vec<(u64, Method)> {
        [self.middle[middle], self.outer, self.start].into_iter().zip(methods).collect()
    }
}

#[test]
fn chains_of_frame_pointers_are_followed_in_every_mode_and_damage_ends_them() {
    let Some(host) = host() else { return };
    // The assembler calls with 32 bits here, as compilers do, and pushes BP with 16.
    check(&host, &calls_16(), &Returns::new(3, 6, 3));
    check(&host, &calls_32(), &Returns::new(3, 5, 2));
    check(&host, &calls_64(), &Returns::new(4, 5, 2));
}

fn check(host: &Host, guest: &Guest, returns: &Returns) {
    let recorded = record(host, guest, ClockMode::Virtual);
    let found = stacks(host, &recorded.path, &[]);
    let of = |exit| callers(&found, exit);
    assert_eq!(of(0), returns.stack(0, [FramePointer; 3]), "{}: a chain", guest.name);
    // The frame points at itself: its own caller is certain, and from there on it is guessed.
    assert_eq!(of(1), returns.stack(1, [FramePointer, Guess, Guess]), "{}: a loop", guest.name);
    assert_eq!(of(2), returns.stack(2, [Guess; 3]), "{}: no frame", guest.name);
    // The last one is the exit device, in the function that nobody called.
    assert_eq!(of(3), [], "{}: the outermost", guest.name);
    assert_eq!(found.of(4), None);
}

#[test]
fn a_replay_that_is_watched_is_as_strict_as_any_other() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &calls_64());
    mutated.plain.exits[1].data[0] ^= 1;
    mutated.write();
    let divergence = try_stacks(&host, &mutated.recorded.path, &[]).err().unwrap();
    assert_diverged(&divergence, What::Data, 1);
}

/// Linux prints, sets its timer and looks for PCI devices.
const EXITS: u64 = 6000;

#[test]
fn linux_with_kaslr_is_found_and_its_stacks_by_orc_and_by_dwarf_are_the_same() {
    if Extent::of_environment() < Extent::Full {
        return;
    }
    let Some(host) = host() else { return };
    let (vmlinux, other) = (image("linux-debug", "linux-debug/vmlinux"), image("linux", "linux/vmlinux"));
    for words in ["", "nokaslr"] {
        let recorded = record_linux(&host, "linux-debug/bzImage", words);
        let trace = Trace::open(&recorded.path).unwrap();
        let symbols = Symbols::load(&trace, &[file(&vmlinux), file(&other)]).unwrap();
        let notes = symbols.notes();
        let head = format!("{} (ELF symbols, ", vmlinux.display());
        assert!(notes[0].starts_with(&head) && notes[0].contains(" names "), "{notes:?}");
        assert!(words.is_empty() || !notes[0].contains("moved"), "{notes:?}");
        assert!(notes[1].contains("names nothing: it is build "), "{notes:?}");

        let by_orc = stacks(&host, &recorded.path, &[file(&vmlinux)]);
        check_printing(&by_orc, &trace, &symbols);
        // The same file with its ORC tables under another name: what is left is DWARF.
        let folder = tempfile::tempdir().unwrap();
        let by_dwarf = stacks(&host, &recorded.path, &[file(&without_orc(&vmlinux, folder.path()))]);
        let (mut same, mut frames) = (0, 0);
        for exit in 0..EXITS {
            let (orc, dwarf) = (callers(&by_orc, exit), callers(&by_dwarf, exit));
            let described: Vec<_> = dwarf.iter().take_while(|c| c.1 == Dwarf).map(|c| c.0).collect();
            let known: Vec<_> = orc.iter().take_while(|c| c.1 == Orc).map(|c| c.0).collect();
            assert!(known.starts_with(&described), "exit {exit}: {orc:x?} and {dwarf:x?}");
            (same, frames) = (same + described.len(), frames + known.len());
        }
        assert!(same * 10 > frames * 8, "DWARF found {same} of {frames} frames");
    }
}

#[test]
fn linux_from_an_elf_file_has_the_same_stacks_with_that_file_and_without() {
    if Extent::of_environment() < Extent::Full {
        return;
    }
    let Some(host) = host() else { return };
    let recorded = record_linux(&host, "linux-debug/vmlinux", "nokaslr");
    let by_memory = stacks(&host, &recorded.path, &[]);
    let by_file = stacks(&host, &recorded.path, &[file(&image("linux-debug", "linux-debug/vmlinux"))]);
    let mut frames = 0;
    for exit in 0..EXITS {
        let known = callers(&by_memory, exit);
        assert_eq!(known, callers(&by_file, exit), "exit {exit}");
        frames += known.iter().filter(|c| c.1 == Orc).count() as u64;
    }
    assert!(frames > EXITS, "{frames} frames by ORC");
}

fn file(path: &Path) -> SymbolFile {
    SymbolFile { path: path.to_owned(), offset: None }
}

fn record_linux(host: &Host, file: &str, words: &str) -> crate::support::recorded::Recorded {
    let calls = user_mode_can_call(host.kvm).unwrap();
    let plain = "clearcpuid=smap,smep,popcnt,cx16,fsgsbase,umip,erms,fsrm,pcid,invpcid,rdrand,rdseed noxsave";
    let plain = if calls { "" } else { plain };
    let cmdline = format!(
        "console=ttyS0 {words} mitigations=off tsc=unstable lpj=1000000 no_timer_check noapictimer {plain}"
    );
    let image = image("linux-debug", file);
    let kernel = Kernel { image: &image, initrd: None, cmdline: &cmdline, protocol: Protocol::Auto };
    let guest = kernel::load(kernel, 128 << 20).unwrap();
    let options =
        RecordOptions { clock: ClockMode::Virtual, max_exits: Some(EXITS), ..RecordOptions::default() };
    record_loaded(host, &guest, options)
}

/// Linux prints from `start_kernel` on; what led there is known to the last frame.
fn check_printing(stacks: &Stacks, trace: &Trace, symbols: &Symbols) {
    let name = |site: u32| symbols.of(site).map(|s| s.name.clone());
    let mut printed = 0;
    for chunk in trace.inputs() {
        for exit in chunk.unwrap().exits() {
            let Some(stack) = stacks.of(exit.index) else { panic!("exit {} has no stack", exit.index) };
            let names: Vec<_> =
                stacks.callers(stack).map(|c| c.symbol.as_ref().map_or("?", |s| &s.name)).collect();
            if name(exit.site).as_deref() == Some("io_serial_out") && names.contains(&"uart_console_write") {
                printed += 1;
                assert!(stacks.callers(stack).all(|c| c.method == Orc), "{names:?}");
                assert!(names.contains(&"console_unlock"), "{names:?}");
                let outermost = names.last().unwrap();
                assert!(["secondary_startup_64_no_verify", "ret_from_fork"].contains(outermost), "{names:?}");
            }
        }
    }
    assert!(printed > 1000, "{printed}");
}

/// A copy whose ORC sections are called something else.
fn without_orc(vmlinux: &Path, folder: &Path) -> PathBuf {
    let mut bytes = std::fs::read(vmlinux).unwrap();
    let name = b".orc_unwind";
    let places: Vec<_> = (0..bytes.len() - name.len()).filter(|&i| bytes[i..].starts_with(name)).collect();
    for at in places {
        bytes[at + 1] = b'x';
    }
    let path = folder.join("vmlinux");
    std::fs::write(&path, bytes).unwrap();
    path
}
