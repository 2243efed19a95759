//! The start is changed: registers, memory, rewrites.

use crate::support::host::host;
use crate::support::mutated::{Mutated, assert_diverged, assert_named};
use trapline_formats::ExitKind;
use trapline_replayer::What;

const PAGE: u64 = 4096;

/// Changes a byte of memory at the start.
fn change_memory(mutated: &mut Mutated, gpa: u64, change: u8) {
    let number = gpa / PAGE;
    let page = mutated.plain.pages.iter_mut().find(|(n, _)| *n == number).unwrap();
    page.1[(gpa % PAGE) as usize] ^= change;
}

#[test]
fn a_start_register_is_found_at_the_first_exit_and_named() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    mutated.plain.start.registers.general[15] = 0x1234;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Registers, 0);
    assert_named(&divergence, "R15");
}

#[test]
fn a_byte_of_memory_that_the_guest_prints_is_found_where_it_prints_it() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::halt_64());
    let image = trapline_guests::halt_64().image;
    let text = image.windows(4).position(|w| w == b"bye\n").unwrap() as u64;
    change_memory(&mut mutated, 0x8000 + text + 2, 0x20);
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Data, mutated.exits_at(ExitKind::PortWrite, 0x3f8)[2]);
    assert_eq!(divergence.actual.unwrap().data, b"E");
}

#[test]
fn a_byte_of_memory_that_the_guest_executes_is_found_where_it_acts() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    // `out 0x80, al` becomes `out 0x81, al`.
    let out = trapline_guests::port64().image.windows(2).position(|w| w == [0xe6, 0x80]).unwrap() as u64;
    change_memory(&mut mutated, 0x8000 + out + 1, 1);
    assert_diverged(&mutated.divergence(&host), What::Site, mutated.exits_at(ExitKind::PortWrite, 0x80)[0]);
}

#[test]
fn a_byte_of_memory_that_the_guest_never_uses_is_found_at_the_end_and_its_page_named() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    change_memory(&mut mutated, 0x8ffe, 0x80);
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Memory, mutated.plain.exits.len() - 1);
    assert_named(&divergence, "page 0x8000");
}

#[test]
fn a_page_of_memory_that_the_guest_never_uses_is_found_at_the_end_and_named() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    mutated.plain.pages.push((0x300, vec![0x5a; PAGE as usize]));
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Memory, mutated.plain.exits.len() - 1);
    assert_named(&divergence, "page 0x300000");
}

#[test]
fn an_xmm_byte_at_the_start_is_found_where_the_guest_shows_it() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    // XMM3 (SDM vol. 1, 10.5.1: XMM0 at byte 160), and its bit in XSTATE_BV.
    mutated.plain.start.xsave[160 + 3 * 16] = 0x77;
    mutated.plain.start.xsave[512] |= 2;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::State, mutated.plain.exits.len() - 1);
    assert_named(&divergence, "XMM3");
}

#[test]
fn a_rewrite_that_is_undone_is_found_where_the_clock_was_read() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::tsc_64());
    let rewrite = mutated.plain.header.rewrites.remove(0);
    for (i, (a, b)) in rewrite.original.iter().zip(&rewrite.replacement).enumerate() {
        change_memory(&mut mutated, rewrite.gpa + i as u64, a ^ b);
    }
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Site, mutated.exits_at(ExitKind::ClockRead, 0)[0]);
}

#[test]
fn rewrites_that_are_not_told_are_found_where_the_clock_was_read() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::tsc_64());
    mutated.plain.header.rewrites.clear();
    mutated.plain.header.stand_ins.clock = None;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Site, mutated.exits_at(ExitKind::ClockRead, 0)[0]);
}
