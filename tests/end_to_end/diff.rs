//! Two recordings compared exit by exit: equal under the virtual clock, different where a fault was put.

use crate::seabios::boot;
use crate::support::host::{Extent, Host, host};
use crate::support::mutated::Mutated;
use crate::support::plain::PlainEvent;
use crate::support::recorded::{Recorded, record};
use std::path::Path;
use trapline_analyzer::{Diff, DiffOptions, Symbols};
use trapline_formats::digests::MemoryDigest;
use trapline_formats::{ClockMode, Event, ExitKind, Trace};

fn compare(a: &Path, b: &Path) -> Diff {
    let traces = [Trace::open(a).unwrap(), Trace::open(b).unwrap()];
    let symbols = traces.each_ref().map(|trace| Symbols::load(trace, &[]).unwrap());
    let options = DiffOptions { symbols: symbols.each_ref(), prices: [None, None] };
    Diff::of(&traces[0], &traces[1], options, &mut |_| {}).unwrap()
}

/// Fails unless two recordings are equal in everything that is compared.
pub fn assert_equal(recorded: &Recorded, again: &Recorded) {
    let diff = compare(&recorded.path, &again.path);
    assert!(!diff.different, "{}", diff.to_text(None, 120));
    assert_eq!(diff.exits.equal, recorded.end.exits);
    assert_eq!(diff.headers, [], "two recordings of one host");
}

#[test]
fn recordings_under_the_virtual_clock_are_equal() {
    let Some(host) = host() else { return };
    for guest in [trapline_guests::demo(), trapline_guests::timer_hlt_32(), trapline_guests::pages_64()] {
        let [recorded, again] = [0, 1].map(|_| record(&host, &guest, ClockMode::Virtual));
        assert_equal(&recorded, &again);
    }
    if Extent::of_environment() != Extent::Quick {
        let [recorded, again] = [0, 1].map(|_| boot(&host, "bios.bin", ClockMode::Virtual));
        assert_equal(&recorded, &again);
    }
}

#[test]
fn firmware_under_the_host_clock_differs_in_what_time_decides() {
    if Extent::of_environment() == Extent::Quick {
        return;
    }
    let Some(host) = host() else { return };
    let [recorded, again] = [0, 1].map(|_| boot(&host, "bios.bin", ClockMode::Host));
    let diff = compare(&recorded.path, &again.path);
    let text = diff.to_text(None, 120);
    assert!(diff.different && diff.same_end == Some(true), "{text}");
    // The time of day, clock reads, and loops that wait: most of a boot is none of these.
    assert!(diff.exits.equal * 10 > recorded.end.exits * 5, "{text}");
    assert!((diff.exits.only_in_a + diff.exits.only_in_b) * 10 < recorded.end.exits * 3, "{text}");
    let in_loops: u64 = diff.loops.iter().map(|l| (l.more_in_a + l.more_in_b) * l.sites.len() as u64).sum();
    let only_in_one = diff.exits.only_in_a + diff.exits.only_in_b;
    // Two boots may be alike but for a few interrupts that came elsewhere, with what their handlers do.
    assert!(
        only_in_one * 20 < recorded.end.exits || in_loops * 10 >= only_in_one * 5,
        "most of it is polling: {text}"
    );
}

/// A recording, and a changed copy of it.
struct Pair {
    folder: tempfile::TempDir,
    mutated: Mutated,
}

impl Pair {
    fn of(host: &Host) -> Self {
        let mutated = Mutated::of(host, &trapline_guests::demo());
        let folder = tempfile::tempdir().unwrap();
        mutated.plain.write(&folder.path().join("a.trap"));
        Self { folder, mutated }
    }

    fn diff(&self) -> Diff {
        let [a, b] = ["a.trap", "b.trap"].map(|name| self.folder.path().join(name));
        self.mutated.plain.write(&b);
        compare(&a, &b)
    }
}

fn assert_first(diff: &Diff, exit: usize, what: &str) {
    let first = diff.first.as_ref().unwrap_or_else(|| panic!("{}", diff.to_text(None, 120)));
    assert_eq!(
        (first.exit, first.what.as_slice()),
        (exit as u64, [what].as_slice()),
        "{}",
        diff.to_text(None, 120)
    );
}

#[test]
fn every_kind_of_difference_is_found_at_its_exit() {
    let Some(host) = host() else { return };
    let fresh = || Pair::of(&host);
    let exits = fresh().mutated.plain.exits.len();
    for at in [0, 1, exits / 2, exits - 2] {
        let mut pair = fresh();
        let exit = &mut pair.mutated.plain.exits[at];
        exit.registers[3] ^= 0x80;
        let diff = pair.diff();
        assert_first(&diff, at, "registers");
        let first = diff.first.as_ref().unwrap();
        assert_eq!(first.registers.len(), 1);
        assert_eq!(first.registers[0].name, "RCX");
        assert_eq!((diff.exits.changed, diff.exits.changed_registers_only), (1, 1));

        let mut pair = fresh();
        let plain = &mut pair.mutated.plain;
        let at = (at..exits).find(|i| !plain.exits[*i].data.is_empty()).unwrap();
        plain.exits[at].data[0] ^= 1;
        assert_first(&pair.diff(), at, "data");

        let mut pair = fresh();
        let event = PlainEvent::Plain(Event::Interrupt { vector: 0x77 });
        pair.mutated.plain.exits[at].events.insert(0, event);
        let diff = pair.diff();
        assert_first(&diff, at, "events");
        assert_eq!(diff.first.as_ref().unwrap().b[0].events[0], "interrupt, vector 0x77");
    }
}

#[test]
fn an_exit_more_or_less_shifts_nothing_behind_it() {
    let Some(host) = host() else { return };
    let exits = Pair::of(&host).mutated.plain.exits.len();
    for at in [1, exits / 3, exits - 3] {
        let mut pair = Pair::of(&host);
        let mut more = pair.mutated.plain.clone();
        // A site of its own, so that it is the insertion whatever stands around it.
        let mut site = more.sites[more.exits[at].site].clone();
        site.instruction.address.0 += 0x10_0000;
        more.sites.push(site);
        let mut new = more.exits[at].clone();
        (new.site, new.events) = (more.sites.len() - 1, Vec::new());
        more.exits.insert(at, new);
        more.end.as_mut().unwrap().exits += 1;
        pair.mutated.plain = more;
        let diff = pair.diff();
        assert_first(&diff, at, "site");
        assert_eq!(
            (diff.exits.only_in_b, diff.exits.only_in_a, diff.exits.changed),
            (1, 0, 0),
            "{}",
            diff.to_text(None, 120)
        );
        assert_eq!(diff.places[0].b, [at as u64, at as u64 + 1]);
    }
}

#[test]
fn memory_registers_and_state_before_the_first_exit_and_at_the_end_are_compared() {
    let Some(host) = host() else { return };
    let mut pair = Pair::of(&host);
    pair.mutated.plain.pages[0].1[7] ^= 1;
    let page = format!("{:#x}", pair.mutated.plain.pages[0].0 * 4096);
    let diff = pair.diff();
    assert_eq!(
        (diff.different, diff.start.pages, diff.start.first_pages.as_slice()),
        (true, 1, [page].as_slice())
    );
    assert!(diff.first.is_none());

    let mut pair = Pair::of(&host);
    pair.mutated.plain.start.system.efer ^= 1;
    let diff = pair.diff();
    assert_eq!(diff.start.state[0].name, "EFER");

    let mut pair = Pair::of(&host);
    let last = pair.mutated.plain.exits.len() - 1;
    let checkpoint = pair.mutated.last_checkpoint();
    checkpoint.cpu.xsave[160] ^= 1;
    match &mut checkpoint.memory {
        MemoryDigest::All(pages) | MemoryDigest::Changed(pages) => pages[0].1 ^= 1,
        MemoryDigest::None => panic!("memory is looked at in the end"),
    }
    let diff = pair.diff();
    assert_first(&diff, last, "state");
    let first = diff.first.as_ref().unwrap();
    assert_eq!((first.state[0].name.as_str(), first.pages.len()), ("XMM0", 1));
}

#[test]
fn a_dropped_interrupt_is_found_where_it_was() {
    let Some(host) = host() else { return };
    let mut pair = Pair::of(&host);
    let at = pair.mutated.interrupted()[3];
    pair.mutated.take_interrupt(at);
    assert_first(&pair.diff(), at, "events");
    assert_eq!(pair.mutated.plain.sites[pair.mutated.plain.exits[at].site].kind, ExitKind::Halt);
}
