//! Guests that go wrong: the trace is whole, says so, and replays.

use crate::program::{Folder, Ran, kvm};
use std::io::{Read, Write};
use std::process::Stdio;
use trapline_formats::{MAX_SITES, Trace};

#[test]
fn a_triple_fault_is_told_and_replays() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("triple_fault_64", &[]).says(0, &["the guest triple-faulted"]);
    folder.run(&["replay", "run.trap"]).says(0, &["faithful"]);
    folder.run(&["report", "run.trap"]).says(0, &["triple-faulted"]);
}

/// Where the processor was at a triple fault; `kvm_amd` has reset it by then, and that is told instead.
fn says_where(ran: &Ran, place: &str) {
    ran.says(0, &["the guest triple-faulted"]);
    let known = ran.err.contains(place);
    assert!(known || ran.err.contains("this engine has reset the processor already"), "{}", ran.err);
}

#[test]
fn a_triple_fault_is_told_with_its_place_and_with_the_address_that_was_not_mapped() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    // mov al, [0x7fffff000] ; only the first GiB is mapped, and there is no handler for that.
    folder.file("unmapped.bin", &[0xe6, 0x80, 0xa0, 0x00, 0xf0, 0xff, 0xff, 0x07, 0, 0, 0]);
    let record = |file: &str| folder.run(&["record", "--flat", file, "--memory", "1M", "--force"]);
    says_where(
        &record("unmapped.bin"),
        "it faulted at 0x8002 (CS:RIP 0x8:0x8002, CR2 0x7fffff000); there is no interrupt descriptor table",
    );
    folder.run(&["inspect", "run.trap", "--exits", ".."]).says(0, &["port-write", "shutdown"]);
    folder.run(&["replay", "run.trap"]).says(0, &["faithful: 2 exits"]);
}

#[test]
fn an_idt_that_points_nowhere_is_told_at_a_triple_fault() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    // lidt [0x8010] ; out 0x80, al ; ud2 ; and the table's limit 0xfff, base 0x7ffff0000: nothing is mapped there.
    let mut code = vec![0x0f, 0x01, 0x1c, 0x25, 0x10, 0x80, 0x00, 0x00, 0xe6, 0x80, 0x0f, 0x0b];
    code.resize(0x10, 0x90);
    code.extend([0xff, 0x0f, 0x00, 0x00, 0xff, 0xff, 0x07, 0, 0, 0]);
    folder.file("nowhere.bin", &code);
    let ran = folder.run(&["record", "--flat", "nowhere.bin", "--memory", "1M"]);
    says_where(&ran, "it faulted at 0x800a");
    says_where(&ran, "the interrupt descriptor table lies at 0x7ffff0000, up to offset 0xfff");
    folder.run(&["replay", "run.trap"]).says(0, &["faithful: 2 exits"]);
}

#[test]
#[ignore = "takes minutes; docs/full-run.md"]
fn a_guest_of_more_sites_than_a_trace_holds_ends_its_recording_which_is_whole_and_replays() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    // In 32-bit mode: mov edi, 0x10000000 ; l: mov [edi], al ; inc edi ; jmp l
    folder.file("places.bin", &[0xbf, 0, 0, 0, 0x10, 0x88, 0x07, 0x47, 0xeb, 0xfb]);
    let record = ["record", "--flat", "places.bin", "--mode", "32", "--memory", "1M"];
    folder.run(&record).says(2, &["could not go on: its exits are of more sites than a trace holds"]);
    let trace = Trace::open(&folder.path("run.trap")).unwrap();
    assert_eq!(trace.damage(), None);
    assert!(trace.sites().len() > MAX_SITES / 2 && trace.sites().len() <= MAX_SITES);
    let exits: usize = trace.inputs_with_digests().map(|chunk| chunk.unwrap().0.len()).sum();
    assert_eq!(trace.end().unwrap().exits, exits as u64);
    let last = (exits - 1).to_string();
    folder.run(&["replay", "run.trap", "--until", &last]).says(0, &["faithful"]);
}

#[test]
fn a_halt_with_interrupts_disabled_is_told_and_replays() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("halt_32", &[]).says(0, &["halted with interrupts disabled"]);
    folder.run(&["replay", "run.trap"]).says(0, &["faithful"]);
}

#[test]
fn a_guest_that_spins_without_exits_is_ended_by_the_time_limit() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    // out 0x80, al ; jmp $
    folder.file("spin.bin", &[0xe6, 0x80, 0xeb, 0xfe]);
    let spin = ["record", "--flat", "spin.bin", "--memory", "1M", "--timeout", "1s"];
    folder.run(&spin).says(0, &["1 exits", "the time limit was reached"]);
    folder.run(&["replay", "run.trap"]).says(0, &["faithful: 1 exits"]);
}

#[test]
fn a_guest_without_any_exit_leaves_a_trace_that_says_so() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("spin.bin", &[0xeb, 0xfe]);
    folder.run(&["record", "--flat", "spin.bin", "--timeout", "1s"]).says(0, &["0 exits"]);
    folder.run(&["inspect", "run.trap"]).says(0, &["the time limit was reached"]);
    folder.run(&["report", "run.trap"]).says(0, &["0 exits"]);
    folder.run(&["replay", "run.trap"]).says(2, &["no whole exit", "the guest made none"]);
}

#[test]
fn addresses_without_a_device_are_named_in_the_report() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("unknown_32", &["-v"]).says(0, &["no device at port 0x1234: 3 reads, 3 writes"]);
    folder.run(&["report", "run.trap"]).says(0, &["No device answered", "0x1234", "0x30000000"]);
    folder.run(&["inspect", "run.trap"]).says(0, &["0x5678"]);
}

#[test]
fn an_interrupt_storm_is_ended_by_the_time_limit_and_replays() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder
        .record_guest(&trapline_guests::storm_64(), &["--timeout", "2s"])
        .says(0, &["the time limit was reached"]);
    folder.run(&["replay", "run.trap"]).says(0, &["faithful"]);
}

#[test]
fn an_interrupt_storm_under_the_virtual_clock_is_cut_where_it_is_told_to_be() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    let record = ["--clock", "virtual", "--max-exits", "5000"];
    folder.record_guest(&trapline_guests::storm_64(), &record).says(0, &["5000 exits"]);
    folder.run(&["replay", "run.trap"]).says(0, &["faithful: 5000 exits"]);
}

#[test]
fn a_guest_that_never_enables_interrupts_runs_to_its_end_with_all_timers_pending() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("deaf_64", &[]).says(0, &["halted with interrupts disabled"]);
    folder.run(&["replay", "run.trap", "--console"]).says(0, &["deaf", "faithful"]);
}

/// In real mode: the handler of vector 0x20 acknowledges and returns; the timer's line alone is open; PIT channel 0 ticks at
/// 18.2 Hz; then STI, HLT for ever.
pub const IDLE_TICKS: &[u8] = &[
    0xc7, 0x06, 0x80, 0x00, 0x2e, 0x80, 0xc7, 0x06, 0x82, 0x00, 0x00, 0x00, 0xb0, 0x11, 0xe6, 0x20, 0xb0,
    0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0x21, 0xb0, 0x34,
    0xe6, 0x43, 0xb0, 0x00, 0xe6, 0x40, 0xe6, 0x40, 0xfb, 0xf4, 0xeb, 0xfc, 0xb0, 0x20, 0xe6, 0x20, 0xcf,
];

#[test]
fn an_idle_guest_under_the_virtual_clock_is_told_of() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("idle.bin", IDLE_TICKS);
    let record =
        ["record", "--flat", "idle.bin", "--mode", "16", "--clock", "virtual", "--max-exits", "30000"];
    folder.run(&record).says(0, &["idle through 10000 timer deadlines", "--until-console"]);
    folder.run(&["replay", "run.trap"]).says(0, &["faithful: 30000 exits"]);
}

#[test]
fn what_comes_through_a_pipe_is_typed_as_it_comes() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("guest.bin", trapline_guests::echo_64().image);
    let args = ["record", "--flat", "guest.bin", "--memory", "4M", "--timeout", "60s", "--input", "-"];
    let mut command = folder.command(&args);
    let mut recorder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (recorder.stdin.take().unwrap(), recorder.stdout.take().unwrap());
    keys.write_all(b"a").unwrap();
    let mut shown = [0];
    screen.read_exact(&mut shown).unwrap();
    assert_eq!(shown, *b"a", "before the line is complete");
    keys.write_all(b"\n").unwrap();
    assert!(recorder.wait().unwrap().success());
    folder.run(&["replay", "run.trap"]).says(0, &["faithful"]);
}

#[test]
fn what_was_not_typed_is_told_and_why() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("guest.bin", trapline_guests::echo_64().image);
    folder.file("keys", b"a\nb");
    let record = ["record", "--flat", "guest.bin", "--memory", "4M", "--input", "keys", "--force"];
    folder.run(&record).says(0, &["the guest took no more"]);
    let waits = [&record[..], &["--max-exits", "1000", "--input-after", r"\$ $"]].concat();
    let ran = folder.run(&waits);
    ran.says(0, &[r"3 bytes of the input were not typed: no line on a console matched `\$ $`"]);
    folder.run(&[&record[..], &["--input-after", "("]].concat()).says(2, &["--input-after `(`"]);
}
