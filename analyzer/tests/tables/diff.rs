//! Two traces compared exit by exit.

use crate::common::{SyntheticTrace, halted, header};
use crate::json_schema::errors;
use serde_json::Value;
use std::path::{Path, PathBuf};
use trapline_analyzer::{Diff, DiffOptions, SCHEMA_VERSION, Symbols};
use trapline_formats::envelope::{BLOCK_HEADER_BYTES, BlockType};
use trapline_formats::{ClockMode, End, EndReason, Event, ExitKind, Header, Trace};
use unicode_width::UnicodeWidthStr;

/// What a guest does in these tests: the number of times it polls before it goes on, for each of its rounds.
type Rounds<'r> = &'r [u32];

struct Run<'r> {
    rounds: Rounds<'r>,
    header: Header,
    end: Option<End>,
    /// Sites are numbered the other way round.
    is_reversed: bool,
    /// The byte written at the end of each round is changed in this round.
    changed_round: Option<usize>,
    /// An interrupt follows the exit of this number.
    interrupt: Option<u32>,
}

impl<'r> Run<'r> {
    fn of(rounds: Rounds<'r>) -> Self {
        Self {
            rounds,
            header: header(),
            end: Some(halted()),
            is_reversed: false,
            changed_round: None,
            interrupt: None,
        }
    }

    /// Polls, writes a line, reads the clock: round by round.
    fn write(&self, path: &Path) -> PathBuf {
        let mut trace = SyntheticTrace::create(path, &self.header);
        trace.chunk = 7;
        let mut site = |which: usize| match which {
            0 => trace.site(ExitKind::PortRead, 0x3fd, 1, 0x8000, &[0xec]),
            1 => trace.site(ExitKind::PortWrite, 0x3f8, 1, 0x8010, &[0xee]),
            _ => trace.site(ExitKind::ClockRead, 0, 8, 0x8020, &[0xe6, 0xf5]),
        };
        let mut sites = [0; 3];
        let order = if self.is_reversed { [2, 1, 0] } else { [0, 1, 2] };
        for which in order {
            sites[which] = site(which);
        }
        let mut number = 0;
        let mut exit = |trace: &mut SyntheticTrace, site, data: &[u8]| {
            trace.exit(site, data, 3000, 1000);
            if self.interrupt == Some(number) {
                trace.event(&Event::Interrupt { vector: 0x31 });
            }
            number += 1;
        };
        for (round, polls) in self.rounds.iter().enumerate() {
            for poll in 0..*polls {
                exit(&mut trace, sites[0], &[if poll + 1 == *polls { 0x60 } else { 0 }]);
            }
            let changed = u8::from(self.changed_round == Some(round));
            exit(&mut trace, sites[1], &[b'a' + round as u8 + changed]);
            exit(&mut trace, sites[2], &(round as u64).to_le_bytes());
        }
        match &self.end {
            Some(end) => trace.end(end.clone()),
            None => trace.killed(),
        }
    }
}

fn compare(a: &Path, b: &Path) -> Diff {
    let none = Symbols::none();
    let options = DiffOptions { symbols: [&none, &none], prices: [None, None] };
    let diff = Diff::of(&Trace::open(a).unwrap(), &Trace::open(b).unwrap(), options, &mut |_| {}).unwrap();
    let schema = serde_json::from_str(include_str!("../../diff.schema.json")).unwrap();
    let json: Value = serde_json::from_str(&diff.to_json().unwrap()).unwrap();
    assert_eq!(errors(&schema, &json, "diff"), [""; 0]);
    diff
}

fn compared(a: &Run<'_>, b: &Run<'_>) -> Diff {
    let dir = tempfile::tempdir().unwrap();
    compare(&a.write(&dir.path().join("a.trap")), &b.write(&dir.path().join("b.trap")))
}

fn timeout() -> End {
    End { reason: EndReason::Timeout, ..halted() }
}

const ROUNDS: Rounds<'_> = &[3, 5, 2, 9, 4, 6, 3, 8, 1, 2, 7, 5, 4];

#[test]
fn equal_traces_are_equal_however_their_dictionaries_number_sites() {
    let diff = compared(&Run::of(ROUNDS), &Run { is_reversed: true, ..Run::of(ROUNDS) });
    let exits: u32 = ROUNDS.iter().sum::<u32>() + 2 * ROUNDS.len() as u32;
    assert!(!diff.different && diff.first.is_none() && diff.sites.is_empty());
    assert_eq!((diff.exits.equal, diff.exits.is_same()), (u64::from(exits), true));
    let text = diff.to_text(None, 100);
    assert!(text.starts_with("a.trap (a) and b.trap (b): equal\n"), "{text}");
}

#[test]
fn a_changed_byte_is_the_first_difference_and_the_only_one() {
    let diff = compared(&Run::of(ROUNDS), &Run { changed_round: Some(4), ..Run::of(ROUNDS) });
    let first = diff.first.as_ref().unwrap();
    let at = u64::from(ROUNDS[..5].iter().sum::<u32>() + 2 * 4);
    assert_eq!((first.exit, first.what.as_slice()), (at, ["data"].as_slice()));
    assert_eq!((first.a[0].data.as_deref(), first.b[0].data.as_deref()), (Some("65"), Some("66")));
    assert_eq!(first.before.last().unwrap().exit, at - 1);
    assert_eq!((diff.exits.changed, diff.exits.changed_data, diff.exits.only_in_b), (1, 1, 0));
    assert_eq!(diff.sites.len(), 1);
    assert_eq!((diff.sites[0].changed, diff.sites[0].exits_a), (1, ROUNDS.len() as u64));
    let text = diff.to_text(None, 100);
    for words in
        ["different from exit 31 on", "port-write 0x3f8 COM1", "0x65", "0x66", "1  changed: 1 in data"]
    {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
}

#[test]
fn polling_that_took_longer_is_told_as_iterations_of_its_loop() {
    let mut longer = ROUNDS.to_vec();
    (longer[3], longer[9], longer[11]) = (9 + 117, 2 + 5000, 5 - 3);
    let diff = compared(&Run::of(ROUNDS), &Run::of(&longer));
    assert_eq!((diff.exits.only_in_a, diff.exits.only_in_b, diff.exits.changed), (3, 5117, 0));
    let first = diff.first.as_ref().unwrap();
    assert_eq!((first.exit, first.what.as_slice()), (3 + 5 + 2 + 8 + 6, ["site"].as_slice()));
    let [one] = diff.loops.as_slice() else { panic!("{:?}", diff.loops) };
    assert_eq!((one.places, one.more_in_a, one.more_in_b), (3, 3, 5117));
    assert_eq!(one.sites[0].address.as_deref(), Some("0x3fd"));
    let iterations: Vec<_> = diff.places.iter().map(|p| p.iterations).collect();
    assert_eq!(iterations, [Some(117), Some(5000), Some(3)]);
    let text = diff.to_text(None, 100);
    assert!(text.contains("117 more iterations in b of in al, dx at 0x8000"), "{text}");
}

#[test]
fn an_interrupt_at_another_exit_is_two_changed_exits() {
    let at = |exit| Run { interrupt: Some(exit), ..Run::of(ROUNDS) };
    let diff = compared(&at(10), &at(20));
    assert_eq!((diff.exits.changed, diff.exits.changed_events), (2, 2));
    let first = diff.first.as_ref().unwrap();
    assert_eq!((first.exit, first.what.as_slice()), (10, ["events"].as_slice()));
    assert_eq!(
        (first.a[0].events.as_slice(), first.b[0].events.len()),
        (["interrupt, vector 0x31".to_owned()].as_slice(), 0)
    );
}

#[test]
fn recordings_cut_by_host_time_are_compared_up_to_the_shorter_one() {
    let cut = |rounds| Run { end: Some(timeout()), ..Run::of(rounds) };
    let diff = compared(&cut(&ROUNDS[..6]), &cut(ROUNDS));
    assert!(!diff.different, "{}", diff.to_text(None, 100));
    assert_eq!(diff.exits.behind_the_end[0], 0);
    assert_eq!(diff.exits.behind_the_end[1], diff.traces[1].exits - diff.traces[0].exits);
    assert!(diff.to_text(None, 100).contains("equal up to where the shorter one was cut"));
    // One that ended by itself has no more.
    let diff = compared(&Run::of(&ROUNDS[..6]), &cut(ROUNDS));
    assert!(diff.different && diff.exits.only_in_b > 0);
    // And two that have nothing in common from a place on differ, cut or not.
    let other = Run { rounds: &[3, 5], end: Some(timeout()), ..Run::of(&[]) };
    let diff = compared(&cut(&ROUNDS[..2]), &Run { changed_round: Some(1), ..other });
    assert!(diff.different);
}

#[test]
fn a_damaged_trace_is_compared_as_far_as_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let whole = Run::of(ROUNDS).write(&dir.path().join("whole.trap"));
    let bytes = std::fs::read(&whole).unwrap();
    let cut = dir.path().join("cut.trap");
    for length in (0..bytes.len()).step_by(11) {
        std::fs::write(&cut, &bytes[..length]).unwrap();
        if Trace::open(&cut).is_err() {
            continue;
        }
        for diff in [compare(&whole, &cut), compare(&cut, &whole)] {
            assert!(!diff.different, "{length}: {}", diff.to_text(None, 100));
            assert_eq!(diff.is_damaged(), Trace::open(&cut).unwrap().damage().is_some());
        }
    }
    // In the middle, where only reading finds it.
    let mut flipped = bytes.clone();
    let trace = Trace::open(&whole).unwrap();
    let inputs = trace.blocks().iter().filter(|b| b.header.kind == BlockType::Inputs as u16).nth(4).unwrap();
    flipped[inputs.offset as usize + BLOCK_HEADER_BYTES] ^= 1;
    std::fs::write(&cut, &flipped).unwrap();
    let diff = compare(&whole, &cut);
    assert!(diff.is_damaged() && !diff.different);
    assert!(diff.to_text(None, 100).contains("DAMAGED: b at byte 0x"));
}

#[test]
fn headers_are_compared_and_alone_make_no_difference() {
    let mut other = header();
    other.host.microcode = 7;
    other.host.capabilities.push(("KVM_CAP_X".into(), 1));
    other.files[0].xxh3 ^= 1;
    other.memory[0].bytes *= 2;
    other.clock = ClockMode::Host;
    let entry =
        |ecx| trapline_formats::CpuidEntry { leaf: 1, subleaf: 0, flags: 0, registers: [1, 2, ecx, 4] };
    other.cpuid = vec![entry(5)];
    let left = Run { header: Header { cpuid: vec![entry(6)], ..header() }, ..Run::of(ROUNDS) };
    let diff = compared(&left, &Run { header: other, ..Run::of(ROUNDS) });
    assert!(!diff.different);
    let names: Vec<_> = diff.headers.iter().map(|f| f.name.as_str()).collect();
    let expected = ["host.microcode", "host.KVM_CAP_X", "firmware", "memory", "clock", "CPUID 0x1.0 ECX"];
    assert_eq!(names, expected);
    assert!(!diff.one_host && diff.to_text(None, 100).contains("0x00000006"));
}

#[test]
fn how_they_ended_is_a_difference_unless_host_time_decided_it() {
    let ended = |reason| Run { end: Some(End { reason, ..halted() }), ..Run::of(ROUNDS) };
    let diff = compared(&ended(EndReason::Halted), &ended(EndReason::Reset));
    assert_eq!((diff.different, diff.same_end, diff.first.is_none()), (true, Some(false), true));
    let diff = compared(&ended(EndReason::Halted), &ended(EndReason::Timeout));
    assert_eq!((diff.different, diff.same_end), (false, None));
    let diff = compared(&Run::of(ROUNDS), &Run { end: None, ..Run::of(ROUNDS) });
    assert_eq!((diff.different, diff.same_end), (false, None));
}

#[test]
fn costs_are_compared_on_one_host_only() {
    let mut longer = ROUNDS.to_vec();
    longer[3] += 100;
    let diff = compared(&Run::of(ROUNDS), &Run::of(&longer));
    let site = &diff.sites[0];
    assert_eq!(site.exits_b - site.exits_a, 100);
    assert!(site.cost_b_ns.unwrap() > site.cost_a_ns.unwrap());
    let mut elsewhere = header();
    elsewhere.host.cpu_brand = "another".into();
    let diff = compared(&Run::of(ROUNDS), &Run { header: elsewhere, ..Run::of(&longer) });
    assert_eq!(diff.sites[0].cost_a_ns, None);
}

#[test]
fn text_of_a_stranger_neither_reaches_the_terminal_nor_breaks_the_table() {
    let evil = "\x1b]0;evil\x07\u{202e}\r\n日本語\u{9b}31m".repeat(20);
    let mut hostile = header();
    for text in
        [&mut hostile.recorder, &mut hostile.entry, &mut hostile.host.engine, &mut hostile.host.cpu_brand]
    {
        text.clone_from(&evil);
    }
    hostile.host.capabilities.push((evil.clone(), 3));
    hostile.files[0].role.clone_from(&evil);
    hostile.files[0].name.clone_from(&evil);
    hostile.console_channels.push(evil.clone());
    for name in &mut hostile.names {
        name.device.clone_from(&evil);
    }
    let end = Some(End { reason: EndReason::Failed(evil.clone()), ..halted() });
    let mut longer = ROUNDS.to_vec();
    longer[3] += 100;
    let hostile = Run { header: hostile, end, changed_round: Some(2), ..Run::of(&longer) };
    let is_bad = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
    for diff in [compared(&hostile, &Run::of(ROUNDS)), compared(&Run::of(ROUNDS), &hostile)] {
        for width in [20, 60, 100, 200] {
            let text = diff.to_text(None, width);
            assert!(!text.contains(is_bad), "{text:?}");
            assert!(text.lines().all(|line| line.width() <= width), "{text}");
        }
        assert!(!diff.to_json().unwrap().contains(is_bad));
    }
}

#[test]
fn the_schema_is_of_this_version() {
    let schema: Value = serde_json::from_str(include_str!("../../diff.schema.json")).unwrap();
    assert_eq!(schema["properties"]["schema_version"]["const"], SCHEMA_VERSION);
    assert_eq!(schema["properties"]["schema"]["const"], "trapline.diff");
}
