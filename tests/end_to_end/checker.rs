//! Checks of the checker: a trace is changed, written again with checksums that are right, and the replay must say where.

use crate::support::host::{Host, host};
use crate::support::plain::{Plain, PlainEvent};
use crate::support::recorded::{Recorded, record};
use crate::support::replayed::{replay, try_replay};
use trapline_formats::{ClockMode, CpuState, Event, ExitKind, Registers};
use trapline_guests::Guest;
use trapline_replayer::{Divergence, What};

/// A change of a checkpoint.
type Change = fn(&mut CpuState);

/// Records a guest, lets `change` change its trace, and replays that.
fn diverge(host: &Host, guest: &Guest, change: impl FnOnce(&mut Plain)) -> Divergence {
    let (recorded, mut plain) = decoded(host, guest);
    change(&mut plain);
    plain.write(&recorded.path);
    match try_replay(host, &recorded.path) {
        Ok(_) => panic!("the change was not noticed"),
        Err(divergence) => *divergence,
    }
}

fn decoded(host: &Host, guest: &Guest) -> (Recorded, Plain) {
    let recorded = record(host, guest, ClockMode::Virtual);
    let plain = Plain::read(&recorded.path);
    (recorded, plain)
}

/// The numbers of the exits of one kind.
fn exits_of(plain: &Plain, kind: ExitKind) -> Vec<usize> {
    (0..plain.exits.len()).filter(|&i| plain.sites[plain.exits[i].site].kind == kind).collect()
}

/// The exits that an interrupt follows, with the place among their events.
fn interrupts(plain: &Plain) -> Vec<(usize, usize)> {
    let is_interrupt = |e: &PlainEvent| matches!(e, PlainEvent::Plain(Event::Interrupt { .. }));
    let place = |i: usize| plain.exits[i].events.iter().position(is_interrupt).map(|at| (i, at));
    (0..plain.exits.len()).filter_map(place).collect()
}

#[test]
fn a_trace_that_is_decoded_and_encoded_again_replays_faithfully() {
    let Some(host) = host() else { return };
    for guest in [trapline_guests::demo(), trapline_guests::xmm_64(), trapline_guests::string_ports_32()] {
        let (recorded, plain) = decoded(&host, &guest);
        plain.write(&recorded.path);
        assert_eq!(replay(&host, &recorded.path).exits, recorded.end.exits);
    }
}

#[test]
fn a_changed_input_byte_is_noticed_at_the_next_exit_wherever_it_is() {
    let Some(host) = host() else { return };
    let guest = trapline_guests::port64();
    let reads = exits_of(&decoded(&host, &guest).1, ExitKind::PortRead);
    for &at in [reads.first(), reads.get(reads.len() / 2), reads.last()].into_iter().flatten() {
        // What was read stays in AL, and is written to a port next.
        let found = diverge(&host, &guest, |plain| plain.exits[at].data[0] ^= 1);
        assert_eq!((found.exit, found.what), (at as u64 + 1, What::Data), "{found}");
        assert_eq!(found.differences.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["RAX"]);
    }
}

#[test]
fn a_changed_clock_value_is_noticed() {
    let Some(host) = host() else { return };
    let guest = trapline_guests::demo();
    let at = exits_of(&decoded(&host, &guest).1, ExitKind::ClockRead)[0];
    // The demonstration keeps the first clock value in R8.
    let found = diverge(&host, &guest, |plain| plain.exits[at].data[0] ^= 1);
    assert_eq!((found.exit, found.what), (at as u64 + 1, What::Registers), "{found}");
    assert!(found.differences.iter().any(|d| d.name == "R8"), "{found}");
}

#[test]
fn a_dropped_interrupt_is_noticed() {
    let Some(host) = host() else { return };
    let guest = trapline_guests::timer_exits_64();
    let (exit, at) = interrupts(&decoded(&host, &guest).1)[1];
    let found = diverge(&host, &guest, |plain| drop(plain.exits[exit].events.remove(at)));
    // The handler's first exit should have come next; the loop's comes instead.
    assert_eq!((found.exit, found.what), (exit as u64 + 1, What::Site), "{found}");
}

#[test]
fn an_interrupt_shifted_by_one_exit_is_noticed() {
    let Some(host) = host() else { return };
    let guest = trapline_guests::timer_exits_64();
    let (exit, at) = interrupts(&decoded(&host, &guest).1)[1];
    let found = diverge(&host, &guest, |plain| {
        let event = plain.exits[exit].events.remove(at);
        plain.exits[exit - 1].events.push(event);
    });
    assert_eq!((found.exit, found.what), (exit as u64, What::Site), "{found}");
}

#[test]
fn an_added_interrupt_where_the_guest_can_take_none_is_noticed() {
    let Some(host) = host() else { return };
    let found = diverge(&host, &trapline_guests::port64(), |plain| {
        plain.exits[2].events.push(PlainEvent::Plain(Event::Interrupt { vector: 0x20 }));
    });
    assert_eq!((found.exit, found.what), (2, What::Interrupt), "{found}");
}

#[test]
fn a_changed_interrupt_vector_is_noticed() {
    let Some(host) = host() else { return };
    let guest = trapline_guests::timer_exits_64();
    let (exit, at) = interrupts(&decoded(&host, &guest).1)[0];
    let found = diverge(&host, &guest, |plain| {
        plain.exits[exit].events[at] = PlainEvent::Plain(Event::Interrupt { vector: 0x21 });
    });
    // There is no gate for it: the guest triple-faults instead of entering its handler.
    assert_eq!(found.exit, exit as u64 + 1, "{found}");
}

#[test]
fn a_changed_start_register_is_named_at_the_first_exit() {
    let Some(host) = host() else { return };
    let found = diverge(&host, &trapline_guests::port64(), |plain| plain.start.registers.general[12] = 7);
    assert_eq!((found.exit, found.what), (0, What::Registers), "{found}");
    assert_eq!(found.differences[0].name, "R12");
    assert_eq!(found.differences[0].actual, "0x7");
}

#[test]
fn a_changed_byte_of_code_is_noticed_where_it_executes() {
    let Some(host) = host() else { return };
    // `mov al, 0x0f`, the guest's second instruction, becomes `mov al, 0x0e`.
    let found = diverge(&host, &trapline_guests::port64(), |plain| {
        let (_, page) = plain.pages.iter_mut().find(|(number, _)| *number == 8).unwrap();
        let at = page.windows(2).position(|w| w == [0xb0, 0x0f]).unwrap();
        page[at + 1] = 0x0e;
    });
    assert_eq!((found.exit, found.what), (0, What::Data), "{found}");
}

#[test]
fn a_byte_of_memory_that_the_guest_overwrites_differently_is_named_at_the_end() {
    let Some(host) = host() else { return };
    // `mov [edi + 8], ecx` leaves bytes 0-7 of each page alone: a byte there shows in the page's content at the end.
    let found = diverge(&host, &trapline_guests::pages_64(), |plain| {
        let mut page = vec![0; 4096];
        page[0] = 1;
        plain.pages.push((0x100, page));
        plain.pages.sort_by_key(|(number, _)| *number);
    });
    assert_eq!(found.what, What::Memory, "{found}");
    assert_eq!(found.differences[0].name, "page 0x100000");
}

#[test]
fn changed_output_data_are_noticed() {
    let Some(host) = host() else { return };
    let guest = trapline_guests::ports_64();
    let at = exits_of(&decoded(&host, &guest).1, ExitKind::PortWrite)[3];
    let found = diverge(&host, &guest, |plain| plain.exits[at].data[0] ^= 0x80);
    assert_eq!((found.exit, found.what), (at as u64, What::Data), "{found}");
}

#[test]
fn a_dropped_exit_is_noticed() {
    let Some(host) = host() else { return };
    let found = diverge(&host, &trapline_guests::port64(), |plain| drop(plain.exits.remove(1)));
    assert_eq!((found.exit, found.what), (1, What::Site), "{found}");
}

#[test]
fn a_changed_instruction_address_is_noticed() {
    let Some(host) = host() else { return };
    let found = diverge(&host, &trapline_guests::port64(), |plain| plain.sites[1].instruction.address.0 += 1);
    assert_eq!((found.exit, found.what), (1, What::Site), "{found}");
}

#[test]
fn a_changed_register_in_the_log_is_named() {
    let Some(host) = host() else { return };
    let found =
        diverge(&host, &trapline_guests::port64(), |plain| plain.exits[4].registers[1 + Registers::RCX] += 1);
    assert_eq!((found.exit, found.what), (4, What::Registers), "{found}");
    assert_eq!(found.differences[0].name, "RCX");
}

#[test]
fn a_changed_msr_control_register_or_vector_register_is_named_at_the_checkpoint() {
    let Some(host) = host() else { return };
    let changes: [(&str, Change); 3] = [
        ("MSR 0xc0000102", |cpu| cpu.msrs.iter_mut().find(|m| m.0 == 0xc000_0102).unwrap().1 ^= 0x1000),
        ("CR2", |cpu| cpu.system.control[1] ^= 0x1000),
        ("XSAVE byte 0xa0", |cpu| cpu.xsave[160] ^= 1),
    ];
    for (name, change) in changes {
        let found = diverge(&host, &trapline_guests::xmm_64(), |plain| {
            for exit in &mut plain.exits {
                for event in &mut exit.events {
                    if let PlainEvent::Checkpoint(checkpoint) = event {
                        change(&mut checkpoint.cpu);
                    }
                }
            }
        });
        assert_eq!(found.what, What::State, "{found}");
        assert_eq!(found.differences[0].name, name);
    }
}

#[test]
fn a_removed_rewrite_is_noticed_at_the_clock_read() {
    let Some(host) = host() else { return };
    let guest = trapline_guests::demo();
    let at = exits_of(&decoded(&host, &guest).1, ExitKind::ClockRead)[0];
    // Without it the exit is a mere port write.
    let found = diverge(&host, &guest, |plain| plain.header.rewrites.clear());
    assert_eq!((found.exit, found.what), (at as u64, What::Site), "{found}");
}
