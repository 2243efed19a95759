//! What crossed inward is changed: reads, interrupts.

use crate::support::host::host;
use crate::support::mutated::{Mutated, assert_diverged, assert_named};
use crate::support::plain::PlainEvent;
use trapline_formats::{Event, ExitKind};
use trapline_replayer::What;

/// `port64` reads CMOS and writes what it read to the POST port, four times.
fn changed_read(nth: usize) {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let read = mutated.exits_at(ExitKind::PortRead, 0x71)[nth];
    mutated.plain.exits[read].data[0] ^= 0x40;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Data, read + 1);
    assert_named(&divergence, "RAX");
    let (expected, actual) = (divergence.expected.unwrap(), divergence.actual.unwrap());
    assert_eq!(expected.data[0] ^ 0x40, actual.data[0]);
}

#[test]
fn an_early_input_byte_is_found_where_the_guest_shows_it() {
    changed_read(0);
}

#[test]
fn an_input_byte_in_the_middle_is_found_where_the_guest_shows_it() {
    changed_read(2);
}

#[test]
fn a_late_input_byte_is_found_where_the_guest_shows_it() {
    changed_read(3);
}

#[test]
fn an_input_that_goes_to_a_register_only_is_found_at_the_next_exit() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::msrs_64());
    let read = mutated.exits_at(ExitKind::MsrRead, 0x8b)[0];
    mutated.plain.exits[read].data[5] ^= 1;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Registers, read + 1);
    assert_named(&divergence, "RDX");
}

#[test]
fn a_byte_of_a_string_read_is_found_where_the_guest_writes_it() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::string_ports_64());
    // "QEMU": read in one piece or byte by byte, as the engine likes.
    let read = mutated.exits_at(ExitKind::PortRead, 0x511)[0];
    mutated.plain.exits[read].data[0] = b'B';
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Data, mutated.exits_at(ExitKind::PortWrite, 0x402)[0]);
}

#[test]
fn a_refusal_that_is_taken_back_is_found_at_the_next_exit() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::msrs_refused_64());
    let read = mutated.exits_at(ExitKind::MsrRead, 0x4b56_4d01)[0];
    mutated.plain.exits[read].fault = false;
    assert_diverged(&mutated.divergence(&host), What::Site, read + 1);
}

#[test]
fn a_dropped_interrupt_is_found_at_the_next_exit() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::timer_hlt_64());
    let at = mutated.interrupted()[4];
    mutated.take_interrupt(at);
    assert_diverged(&mutated.divergence(&host), What::Site, at + 1);
}

#[test]
fn an_interrupt_that_comes_one_exit_late_is_found_there() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::timer_exits_64());
    let at = mutated.interrupted()[2];
    let event = mutated.take_interrupt(at);
    mutated.plain.exits[at + 1].events.insert(0, event);
    assert_diverged(&mutated.divergence(&host), What::Site, at + 1);
}

#[test]
fn an_interrupt_that_comes_one_exit_early_is_found_there() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::timer_exits_64());
    let at = mutated.interrupted()[2];
    let event = mutated.take_interrupt(at);
    mutated.plain.exits[at - 1].events.insert(0, event);
    assert_diverged(&mutated.divergence(&host), What::Site, at);
}

#[test]
fn an_interrupt_where_the_guest_can_take_none_is_found_there() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let interrupt = PlainEvent::Plain(Event::Interrupt { vector: 0x20 });
    mutated.plain.exits[3].events.push(interrupt);
    assert_diverged(&mutated.divergence(&host), What::Interrupt, 3);
}

#[test]
fn another_vector_is_found_at_the_next_exit() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::timer_hlt_64());
    let at = mutated.interrupted()[7];
    mutated.take_interrupt(at);
    mutated.plain.exits[at].events.insert(0, PlainEvent::Plain(Event::Interrupt { vector: 0x21 }));
    assert_diverged(&mutated.divergence(&host), What::Site, at + 1);
}

#[test]
fn a_dropped_nmi_is_found_at_the_next_exit() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::nmi_hlt_64());
    let at = mutated.exits_at(ExitKind::Halt, 0)[2];
    assert_eq!(mutated.plain.exits[at].events.remove(0), PlainEvent::Plain(Event::Nmi));
    assert_diverged(&mutated.divergence(&host), What::Registers, at + 1);
}

#[test]
fn an_nmi_where_another_is_being_served_is_found_there() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::nmi_self_64());
    // The port write in the handler of the second NMI.
    let at = mutated.exits_at(ExitKind::PortWrite, 0x80)[2];
    mutated.plain.exits[at].events.push(PlainEvent::Plain(Event::Nmi));
    assert_diverged(&mutated.divergence(&host), What::Interrupt, at);
}

#[test]
fn another_task_priority_is_found_in_the_state_at_the_end() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::task_priority_64());
    let priorities = |event: &PlainEvent| matches!(event, PlainEvent::Plain(Event::TaskPriority { .. }));
    let exits = &mut mutated.plain.exits;
    let at = exits.iter().rposition(|exit| exit.events.iter().any(priorities)).unwrap();
    let event = exits[at].events.iter_mut().find(|event| priorities(event)).unwrap();
    *event = PlainEvent::Plain(Event::TaskPriority { cr8: 9 });
    let last = exits.len() - 1;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::State, last);
    assert_named(&divergence, "CR8");
}

#[test]
fn a_clock_value_is_found_in_the_register_that_keeps_it() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::demo());
    // The demonstration keeps the first clock value in R8.
    let read = mutated.exits_at(ExitKind::ClockRead, 0)[0];
    mutated.plain.exits[read].data[0] ^= 1;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Registers, read + 1);
    assert_named(&divergence, "R8");
}
