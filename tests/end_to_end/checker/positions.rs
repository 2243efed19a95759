//! A carried position is changed: what a replay takes over without having come to it.

use crate::support::compare::assert_replays_exactly;
use crate::support::host::{Host, host};
use crate::support::mutated::{Mutated, assert_diverged, assert_named};
use crate::support::plain::{Plain, PlainEvent, PlainKeyframe};
use crate::support::recorded::{RAM, record_preempted};
use crate::support::replayed::try_replay;
use std::time::Duration;
use trapline_formats::Event;
use trapline_guests::Guest;
use trapline_machine::doctor::breakpoints;
use trapline_replayer::{ReplayOptions, What};

/// Among the general registers.
const RBX: usize = 1;
const RSI: usize = 4;

fn preempted(host: &Host, guest: &Guest) -> Mutated {
    let recorded = record_preempted(host, guest, RAM);
    let plain = Plain::read(&recorded.path);
    Mutated { recorded, plain }
}

/// The carried positions of a trace, each with the exit before it.
fn carried(plain: &mut Plain) -> Vec<(usize, &mut PlainKeyframe)> {
    let events =
        plain.exits.iter_mut().enumerate().flat_map(|(i, exit)| exit.events.iter_mut().map(move |e| (i, e)));
    events
        .filter_map(|(exit, event)| match event {
            PlainEvent::Keyframe(keyframe) if keyframe.keyframe.carried => Some((exit, &mut **keyframe)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_register_of_a_carried_position_is_found_at_the_next_exit() {
    let Some(host) = host() else { return };
    let mut mutated = preempted(&host, &trapline_guests::compute_64());
    let positions = carried(&mut mutated.plain);
    let middle = positions.len() / 2;
    let (exit, position) = positions.into_iter().nth(middle).unwrap();
    position.keyframe.cpu.registers.general[RBX] ^= 1;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Registers, exit + 1);
    assert_named(&divergence, "RBX");
    assert_eq!(divergence.differences.len(), 1, "{divergence}");
}

/// Where a fault of a carried position shows, of a guest that waits in a loop: there, where a replay comes round the loop to it, and
/// otherwise at the end.
fn found(host: &Host, position: usize, end: usize) -> usize {
    if breakpoints(host.kvm).unwrap().kernel { position } else { end }
}

#[test]
fn a_register_of_a_carried_position_is_found_there_where_the_guest_comes_round_to_it() {
    let Some(host) = host() else { return };
    if !breakpoints(host.kvm).unwrap().kernel {
        return;
    }
    for guest in [trapline_guests::wait_word_16, trapline_guests::wait_word_32, trapline_guests::wait_word_64]
    {
        let mut mutated = preempted(&host, &guest());
        let positions = carried(&mut mutated.plain);
        let middle = positions.len() / 2;
        let (exit, position) = positions.into_iter().nth(middle).unwrap();
        // Nothing reads it: a replay that takes the position over finds it at the next exit.
        position.keyframe.cpu.registers.general[RSI] ^= 1;
        let divergence = mutated.divergence(&host);
        assert_diverged(&divergence, What::State, exit);
        assert_named(&divergence, "RSI");
        assert_eq!(divergence.differences.len(), 1, "{divergence}");
        let options = ReplayOptions { attempt: Duration::ZERO, ..ReplayOptions::default() };
        let divergence = try_replay(&host, &mutated.recorded.path, &options).err().unwrap();
        assert_diverged(&divergence, What::Registers, exit + 1);
    }
}

#[test]
fn a_byte_of_a_carried_page_is_found_in_memory() {
    let Some(host) = host() else { return };
    let mut mutated = preempted(&host, &trapline_guests::wait_word_64());
    let last = mutated.plain.exits.len() - 1;
    let (exit, position) = carried(&mut mutated.plain).pop().unwrap();
    // The word that the guest waits for: a great number is as good as a small one.
    let page = position.pages.iter_mut().find(|(number, _)| *number == 7).unwrap();
    page.1[2] ^= 1;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Memory, found(&host, exit, last));
    assert_named(&divergence, "page 0x7000");
}

#[test]
fn a_system_register_of_a_carried_position_is_found_in_the_state() {
    let Some(host) = host() else { return };
    let mut mutated = preempted(&host, &trapline_guests::wait_word_64());
    let last = mutated.plain.exits.len() - 1;
    let (exit, position) = carried(&mut mutated.plain).pop().unwrap();
    position.keyframe.cpu.system.control[1] ^= 0x1000;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::State, found(&host, exit, last));
    assert_named(&divergence, "CR2");
}

#[test]
fn a_carried_position_that_can_take_no_interrupt_is_found_there() {
    let Some(host) = host() else { return };
    let mut mutated = preempted(&host, &trapline_guests::compute_64());
    let is_interrupt = |e: &PlainEvent| matches!(e, PlainEvent::Plain(Event::Interrupt { .. }));
    let is_carried = |e: &PlainEvent| matches!(e, PlainEvent::Keyframe(k) if k.keyframe.carried);
    let exits = &mut mutated.plain.exits;
    let at = exits
        .iter()
        .position(|e| e.events.iter().any(is_interrupt) && e.events.iter().any(is_carried))
        .unwrap();
    for event in &mut exits[at].events {
        if let PlainEvent::Keyframe(keyframe) = event {
            keyframe.keyframe.cpu.registers.rflags &= !0x200;
        }
    }
    assert_diverged(&mutated.divergence(&host), What::Interrupt, at);
}

#[test]
fn a_trace_with_carried_positions_that_is_decoded_and_encoded_again_replays_faithfully() {
    let Some(host) = host() else { return };
    let mutated = preempted(&host, &trapline_guests::compute_64());
    mutated.write();
    assert_replays_exactly(&host, &mutated.recorded);
}
