//! Profiles, read back by the rules of their formats.

use crate::firmware::{POLLS, SLEEPS, recorded, report};
use crate::stacks::stacked;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use trapline_analyzer::export::{Profile, profile};
use trapline_analyzer::{AnalyzerError, By, Symbols};
use trapline_formats::Trace;

fn exported(kind: Profile) -> (tempfile::TempDir, PathBuf, PathBuf) {
    exported_with(kind, &Symbols::none())
}

/// The same, with the stacks of `stacks.rs`.
fn exported_stacks(kind: Profile) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (_dir, path) = recorded();
    exported_with(kind, &stacked(&path))
}

fn exported_with(kind: Profile, symbols: &Symbols) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (dir, path) = recorded();
    let out = dir.path().join("profile");
    let trace = Trace::open(&path).unwrap();
    profile(&trace, symbols.clone(), None, kind, &out, false, &mut |_| {}).unwrap();
    let again = profile(&trace, symbols.clone(), None, kind, &out, false, &mut |_| {});
    assert!(matches!(again, Err(AnalyzerError::Exists { .. })));
    (dir, path, out)
}

/// A field of a Protocol Buffers message, told by nothing but the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(_) => panic!("{self:?}"),
        }
    }

    fn message(&self) -> Wire {
        match self {
            Self::Bytes(bytes) => Wire::read(bytes),
            Self::Number(_) => panic!("{self:?}"),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            Self::Number(_) => panic!("{self:?}"),
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let Self::Bytes(bytes) = self else { panic!("{self:?}") };
        let mut rest = bytes.as_slice();
        std::iter::from_fn(|| (!rest.is_empty()).then(|| varint(&mut rest))).collect()
    }
}

struct Wire(Vec<(u64, Field)>);

fn varint(rest: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = rest[0];
        *rest = &rest[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

impl Wire {
    fn read(mut rest: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let tag = varint(&mut rest);
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut rest)),
                2 => {
                    let length = varint(&mut rest) as usize;
                    let (bytes, after) = rest.split_at(length);
                    rest = after;
                    Field::Bytes(bytes.to_vec())
                }
                other => panic!("wire type {other}"),
            };
            fields.push((tag >> 3, field));
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> impl Iterator<Item = &Field> {
        self.0.iter().filter(move |(n, _)| *n == number).map(|(_, f)| f)
    }

    fn one(&self, number: u64) -> Option<&Field> {
        self.all(number).next()
    }
}

#[test]
fn folded_stacks_add_up_to_the_cost() {
    let (_dir, path, out) = exported(Profile::Folded);
    let text = std::fs::read_to_string(out).unwrap();
    let costs: u64 = text.lines().map(|l| l.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(costs, report(&path, By::Site).totals().cost_ns);
    assert!(text.starts_with("(no symbol);in al, dx at 0xf1234;port-read 0x3fd COM1 line status "), "{text}");
    assert!(text.lines().all(|l| l.matches(';').count() == 2), "three frames each");
    assert!(!text.contains("hlt"), "idleness is no cost");

    let (_dir, path, out) = exported_stacks(Profile::Folded);
    let with_callers = std::fs::read_to_string(out).unwrap();
    let costs: u64 =
        with_callers.lines().map(|l| l.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(costs, report(&path, By::Site).totals().cost_ns);
    for stack in ["0x12005;", "0x13005;0x12005;"] {
        let line = format!("{stack}(no symbol);in al, dx at 0xf1234;port-read 0x3fd COM1 line status ");
        assert_eq!(with_callers.lines().filter(|l| l.starts_with(&line)).count(), 1, "{with_callers}");
    }
}

#[test]
fn a_pprof_profile_holds_every_site_with_its_exits_and_costs() {
    check_pprof(&exported(Profile::Pprof), &[3]);
    check_pprof(&exported_stacks(Profile::Pprof), &[4, 5]);
}

/// The depths are those that stacks may have.
fn check_pprof((_dir, path, out): &(tempfile::TempDir, PathBuf, PathBuf), depths: &[usize]) {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(out).unwrap()).read_to_end(&mut bytes).unwrap();
    let profile = Wire::read(&bytes);
    let texts: Vec<_> = profile.all(6).map(Field::text).collect();
    assert_eq!(texts[0], "");
    let text = |field: Option<&Field>| texts[field.unwrap().number() as usize].clone();
    let types: Vec<_> = profile.all(1).map(|t| text(t.message().one(1))).collect();
    assert_eq!(types, ["exits", "vmm", "path", "cost", "idle"]);
    assert_eq!(texts[profile.one(14).unwrap().number() as usize], "cost");
    let functions: BTreeMap<_, _> =
        profile.all(5).map(Field::message).map(|f| (f.one(1).unwrap().number(), text(f.one(2)))).collect();
    let locations: BTreeMap<_, _> = profile
        .all(4)
        .map(Field::message)
        .map(|l| (l.one(1).unwrap().number(), l.one(4).unwrap().message().one(1).unwrap().number()))
        .collect();
    let mut sums = [0; 5];
    let mut seen = BTreeSet::new();
    for sample in profile.all(2).map(Field::message) {
        let stack: Vec<_> =
            sample.one(1).unwrap().numbers().iter().map(|l| functions[&locations[l]].clone()).collect();
        assert!(
            depths.contains(&stack.len()) && stack[2] == "(no symbol)",
            "the leaf comes first: {stack:?}"
        );
        let outer = ["0x12005", "0x13005"];
        assert!(stack[3..].iter().zip(outer).all(|(a, b)| a == b), "{stack:?}");
        seen.insert(stack.len());
        sample.one(2).unwrap().numbers().iter().zip(&mut sums).for_each(|(value, sum)| *sum += value);
    }
    assert!(seen.iter().eq(depths), "{seen:?}");
    let totals = *report(path, By::Site).totals();
    assert_eq!(sums, [totals.exits, totals.vmm_ns, totals.path_ns, totals.cost_ns, totals.idle_ns]);
    assert_eq!(profile.one(10).unwrap().number(), totals.total_ns);
}

#[test]
fn a_perfetto_trace_has_a_slice_per_exit_and_names_before_their_use() {
    let exits = check_perfetto(&exported(Profile::Perfetto));
    assert_eq!(exits, BTreeMap::new());
    let exits = check_perfetto(&exported_stacks(Profile::Perfetto));
    assert_eq!(exits.keys().collect::<Vec<_>>(), ["0x12005", "0x12005 < 0x13005"]);
    let (_dir, path) = recorded();
    let totals = *report(&path, By::Site).totals();
    assert_eq!(exits.values().sum::<u64>(), totals.exits - totals.idle_exits);
}

/// How often each stack is told.
fn check_perfetto((_dir, path, out): &(tempfile::TempDir, PathBuf, PathBuf)) -> BTreeMap<String, u64> {
    let totals = *report(path, By::Site).totals();
    let mut callers = BTreeMap::new();
    let (mut told, mut names) = (BTreeMap::new(), BTreeMap::new());
    let mut open: BTreeMap<u64, Vec<(String, u64)>> = BTreeMap::new();
    let mut spent: BTreeMap<String, u64> = BTreeMap::new();
    let (mut slices, mut instants) = (0, 0);
    for packet in Wire::read(&std::fs::read(out).unwrap()).all(1).map(Field::message) {
        for entry in packet.all(12).flat_map(|i| i.message().all(2).cloned().collect::<Vec<_>>()) {
            let entry = entry.message();
            names.insert(entry.one(1).unwrap().number(), entry.one(2).unwrap().text());
        }
        for entry in packet.all(12).flat_map(|i| i.message().all(29).cloned().collect::<Vec<_>>()) {
            let entry = entry.message();
            told.insert(entry.one(1).unwrap().number(), entry.one(2).unwrap().text());
        }
        let Some(event) = packet.one(11).map(Field::message) else { continue };
        if let Some(annotation) = event.one(4).map(Field::message) {
            assert_eq!(annotation.one(10).unwrap().text(), "callers");
            let stack = told[&annotation.one(17).unwrap().number()].clone();
            *callers.entry(stack).or_default() += 1;
        }
        let at = packet.one(8).unwrap().number();
        let name = || names[&event.one(10).unwrap().number()].clone();
        let stack = open.entry(event.one(11).unwrap().number()).or_default();
        match event.one(9).unwrap().number() {
            1 => stack.push((name(), at)),
            2 => {
                let (name, start) = stack.pop().unwrap();
                assert!(at >= start);
                *spent.entry(name).or_default() += at - start;
                slices += 1;
            }
            _ => instants += u64::from(name() == "interrupt 0x20"),
        }
    }
    assert!(open.values().all(Vec::is_empty), "every slice ends");
    assert_eq!(instants, SLEEPS);
    assert_eq!(slices, totals.idle_exits + 2 * (totals.exits - totals.idle_exits));
    let near = |a: u64, b: u64| a.abs_diff(b) <= 2 * totals.exits;
    assert!(near(spent["(no symbol): halt"], totals.idle_ns));
    assert!(near(spent["VMM"], totals.vmm_ns), "each is rounded by at most a nanosecond or two");
    let cost: u64 = spent
        .iter()
        .filter(|(n, _)| n.starts_with("(no symbol): ") && !n.ends_with("halt"))
        .map(|n| n.1)
        .sum();
    assert!(near(cost, totals.cost_ns), "{cost} {}", totals.cost_ns);
    callers
}

#[test]
fn perfettos_own_schema_knows_every_field() {
    let (_dir, _, out) = exported_stacks(Profile::Perfetto);
    let python = std::env::var("TRAPLINE_PYTHON").unwrap_or("python3".into());
    let script = "
import sys
from google.protobuf import unknown_fields
from perfetto.protos.perfetto.trace import perfetto_trace_pb2
trace = perfetto_trace_pb2.Trace()
trace.ParseFromString(open(sys.argv[1], 'rb').read())
def check(message):
    assert not len(unknown_fields.UnknownFieldSet(message)), message
    for field, value in message.ListFields():
        if field.message_type:
            for part in value if hasattr(value, '__len__') else [value]:
                check(part)
check(trace)
print(len(trace.packet))
";
    let known =
        Command::new(&python).args(["-c", "import perfetto"]).output().is_ok_and(|o| o.status.success());
    if !known {
        eprintln!("SKIPPED: `pip install perfetto protobuf`, and name that python in TRAPLINE_PYTHON");
        return;
    }
    let output = Command::new(python).args(["-c", script]).arg(out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().unwrap() > POLLS);
}

#[test]
fn a_firefox_profile_weighs_its_stacks_by_their_cost() {
    let (_dir, path, out) = exported(Profile::Firefox);
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    let thread = &json["threads"][0];
    let totals = *report(&path, By::Site).totals();
    assert_eq!(thread["samples"]["weightType"], "tracing-ms");
    let weights: f64 =
        thread["samples"]["weight"].as_array().unwrap().iter().map(|w| w.as_f64().unwrap()).sum();
    assert!((weights * 1e6 - totals.cost_ns as f64).abs() < 2.0 * totals.exits as f64, "{weights}");
    let strings: BTreeSet<_> = json["shared"]["stringArray"]
        .as_array()
        .or(thread["stringArray"].as_array())
        .unwrap()
        .iter()
        .map(|s| s.as_str().unwrap())
        .collect();
    assert!(strings.contains("port-read 0x3fd COM1 line status"), "{strings:?}");
    assert_eq!(thread["markers"]["length"], 2 * SLEEPS, "a HLT and an interrupt each");

    let (_dir, _, out) = exported_stacks(Profile::Firefox);
    let with_callers: serde_json::Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    let text = with_callers.to_string();
    assert!(text.contains("\"0x12005\"") && text.contains("\"0x13005\""), "callers are frames");
    let sum: f64 = with_callers["threads"][0]["samples"]["weight"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w.as_f64().unwrap())
        .sum();
    assert!((sum - weights).abs() < 1e-3, "{sum} {weights}");
}

#[test]
fn a_trace_without_exits_or_times_makes_a_profile_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = crate::common::SyntheticTrace::create(&dir.path().join("a.trap"), &crate::common::header())
        .end(crate::common::halted());
    let trace = Trace::open(&path).unwrap();
    for kind in [Profile::Firefox, Profile::Perfetto, Profile::Pprof, Profile::Folded] {
        let out = dir.path().join(format!("{kind:?}"));
        profile(&trace, Symbols::none(), None, kind, &out, false, &mut |_| {}).unwrap();
        assert!(Path::new(&out).exists());
    }
}

#[test]
fn what_shows_time_refuses_a_trace_without_times_and_the_others_count_exits() {
    let dir = tempfile::tempdir().unwrap();
    let trace = Trace::open(&crate::odd::one_site(dir.path(), 7, false)).unwrap();
    let export = |kind, out: &Path| profile(&trace, Symbols::none(), None, kind, out, false, &mut |_| {});
    for kind in [Profile::Firefox, Profile::Perfetto] {
        let out = dir.path().join(format!("{kind:?}"));
        assert!(matches!(export(kind, &out), Err(AnalyzerError::NoTimes)));
        assert!(!out.exists());
    }
    let out = dir.path().join("folded");
    let warnings = export(Profile::Folded, &out).unwrap();
    assert!(warnings.len() == 1 && warnings[0].starts_with("TIMES MISSING"), "{warnings:?}");
    assert!(std::fs::read_to_string(&out).unwrap().ends_with(" 7\n"));
    let out = dir.path().join("pprof");
    export(Profile::Pprof, &out).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(out).unwrap()).read_to_end(&mut bytes).unwrap();
    let pprof = Wire::read(&bytes);
    let texts: Vec<_> = pprof.all(6).map(Field::text).collect();
    assert_eq!(texts[pprof.one(14).unwrap().number() as usize], "exits", "what a viewer shows first");
}
