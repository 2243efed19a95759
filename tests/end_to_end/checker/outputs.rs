//! What the guest is said to have done is changed: exits, data, sites, digests.

use crate::support::host::host;
use crate::support::mutated::{Mutated, assert_diverged, assert_named};
use trapline_formats::ExitKind;
use trapline_formats::digests::{self, COMPARED};
use trapline_replayer::What;

#[test]
fn changed_output_is_found_at_its_exit() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let write = mutated.exits_at(ExitKind::PortWrite, 0x80)[2];
    mutated.plain.exits[write].data[0] ^= 1;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Data, write);
    assert_eq!(divergence.differences, []);
}

#[test]
fn a_missing_exit_is_found_where_it_is_missing() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    mutated.plain.exits.remove(5);
    mutated.plain.end.as_mut().unwrap().exits -= 1;
    assert_diverged(&mutated.divergence(&host), What::Site, 5);
}

#[test]
fn an_exit_too_many_is_found_where_it_is() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let twice = mutated.plain.exits[6].clone();
    mutated.plain.exits.insert(6, twice);
    mutated.plain.end.as_mut().unwrap().exits += 1;
    assert_diverged(&mutated.divergence(&host), What::Site, 7);
}

#[test]
fn an_exit_behind_the_last_is_found() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::exit_code_64());
    // Behind its exit device the guest halts and halts.
    let last = mutated.plain.exits.len();
    let twice = mutated.plain.exits[last - 1].clone();
    mutated.plain.exits.push(twice);
    mutated.plain.exits[last - 1].events.clear();
    mutated.plain.end.as_mut().unwrap().exits += 1;
    assert_diverged(&mutated.divergence(&host), What::Site, last);
}

#[test]
fn another_address_of_a_site_is_found_at_its_first_exit() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let write = mutated.exits_at(ExitKind::PortWrite, 0x80)[0];
    mutated.plain.sites[mutated.plain.exits[write].site].address = 0x81;
    assert_diverged(&mutated.divergence(&host), What::Site, write);
}

#[test]
fn another_instruction_of_a_site_is_found_at_its_first_exit() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let write = mutated.exits_at(ExitKind::PortWrite, 0x80)[0];
    let site = mutated.plain.exits[write].site;
    mutated.plain.sites[site].instruction.address.0 += 2;
    assert_diverged(&mutated.divergence(&host), What::Site, write);
}

fn changed_register(name: &str) {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let register = (0..COMPARED).find(|r| digests::name(*r) == name).unwrap();
    mutated.plain.exits[7].registers[register] ^= 0x8000_0001;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Registers, 7);
    assert_named(&divergence, name);
    assert_eq!(divergence.differences.len(), 1, "{divergence}");
}

#[test]
fn a_changed_register_at_an_exit_is_found_there_and_named() {
    changed_register("R9");
}

#[test]
fn changed_flags_at_an_exit_are_found_there_and_named() {
    changed_register("RFLAGS");
}

#[test]
fn a_guest_that_falls_silent_is_found() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::spin_64());
    let twice = mutated.plain.exits.last().unwrap().clone();
    let exits = mutated.plain.exits.len();
    mutated.plain.exits.push(twice);
    mutated.plain.end.as_mut().unwrap().exits += 1;
    assert_diverged(&mutated.divergence(&host), What::Silence, exits);
}
