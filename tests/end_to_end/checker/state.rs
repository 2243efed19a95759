//! A checkpoint is changed: what no exit shows.

use crate::support::host::host;
use crate::support::mutated::{Mutated, assert_diverged, assert_named};
use crate::support::plain::PlainEvent;
use trapline_formats::digests::MemoryDigest;
use trapline_formats::{CpuState, Event};
use trapline_replayer::What;

fn changed_checkpoint(change: impl FnOnce(&mut CpuState), name: &str) {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    change(&mut mutated.last_checkpoint().cpu);
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::State, mutated.plain.exits.len() - 1);
    assert_named(&divergence, name);
    assert_eq!(divergence.differences.len(), 1, "{divergence}");
}

#[test]
fn an_msr_is_named() {
    changed_checkpoint(|cpu| cpu.msrs.iter_mut().find(|m| m.0 == 0x174).unwrap().1 ^= 0x10, "MSR 0x174");
}

#[test]
fn a_missing_msr_is_named() {
    changed_checkpoint(|cpu| cpu.msrs.retain(|m| m.0 != 0x277), "MSR 0x277");
}

#[test]
fn a_control_register_is_named() {
    changed_checkpoint(|cpu| cpu.system.control[1] ^= 0x1000, "CR2");
}

#[test]
fn a_segment_limit_is_named() {
    changed_checkpoint(|cpu| cpu.system.segments[3].limit ^= 1, "FS.limit");
}

#[test]
fn a_debug_register_is_named() {
    changed_checkpoint(|cpu| cpu.debug.addresses[2] ^= 8, "DR2");
}

#[test]
fn a_byte_of_an_xmm_register_is_named() {
    changed_checkpoint(|cpu| cpu.xsave[160 + 5 * 16 + 7] ^= 1, "XMM5");
}

#[test]
fn a_shadow_is_named() {
    changed_checkpoint(|cpu| cpu.events.shadow ^= 1, "pending events");
}

#[test]
fn a_page_of_memory_is_named() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::pages_64());
    let MemoryDigest::All(pages) = &mut mutated.last_checkpoint().memory else { panic!("no pages") };
    let page = pages.iter_mut().find(|p| p.0 == 0x123).unwrap();
    page.1 ^= 1;
    let divergence = mutated.divergence(&host);
    assert_diverged(&divergence, What::Memory, mutated.plain.exits.len() - 1);
    assert_named(&divergence, "page 0x123000");
    assert_eq!(divergence.differences.len(), 1);
}

#[test]
fn an_event_behind_the_last_comparison_is_found() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let last = mutated.plain.exits.len() - 1;
    mutated.plain.exits[last].events.push(PlainEvent::Plain(Event::Nmi));
    assert_diverged(&mutated.divergence(&host), What::State, last);
}

#[test]
fn a_recording_without_its_last_comparison_is_found() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let last = mutated.plain.exits.len() - 1;
    assert!(matches!(mutated.plain.exits[last].events.pop(), Some(PlainEvent::Checkpoint(_))));
    assert_diverged(&mutated.divergence(&host), What::State, last);
}
