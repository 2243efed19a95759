//! Golden traces: files that every version from 1 on must read, each beside what is in it (SPEC.md, appendix B).
//!
//! They are never edited, only added: `BLESS=1 cargo test -p trapline-formats --test golden` writes what is missing, and nothing
//! that is there. Most are made up (`sample`); `positions` is a recording of the guest `wait_word_64` on `kvm_pvm`, with
//! `--preempt positions`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dump;
mod sample;

use dump::dump;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trapline_formats::envelope::BlockType;
use trapline_formats::{Event, ExitKind, Preempt, Trace};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

fn is_blessed() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// The golden traces, by name.
fn goldens() -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "trap"));
    found.sort();
    found
}

fn dumps() -> Vec<Value> {
    goldens().iter().map(|path| dump(path)).collect()
}

#[test]
fn every_golden_trace_reads_as_it_always_did() {
    for path in goldens() {
        let beside = path.with_extension("json");
        let found = dump(&path);
        if !beside.exists() && is_blessed() {
            std::fs::write(&beside, format!("{found}\n")).unwrap();
        }
        let text = std::fs::read_to_string(&beside)
            .unwrap_or_else(|e| panic!("{}: {e}: see the top of this file", beside.display()));
        let golden: Value = serde_json::from_str(&text).unwrap();
        for (member, value) in golden.as_object().unwrap() {
            assert_eq!(&found[member], value, "`{member}` of {}", path.display());
        }
        assert_eq!(found.as_object().unwrap().len(), golden.as_object().unwrap().len());
    }
}

#[test]
fn the_writer_writes_what_the_golden_samples_hold() {
    for (name, write) in sample::ALL {
        let golden = folder().join(name).with_extension("trap");
        let fresh = tempfile::NamedTempFile::new().unwrap();
        write(fresh.path());
        if !golden.exists() && is_blessed() {
            std::fs::copy(fresh.path(), &golden).unwrap();
        }
        // What is in it, not its bytes: another zstd compresses to other ones.
        assert_eq!(dump(fresh.path()), dump(&golden), "{name}: the format has changed: SPEC.md, section 8");
    }
}

#[test]
fn the_goldens_hold_every_type_of_block_every_kind_of_exit_and_every_event() {
    let dumps = dumps();
    let seen = |member: &str, of: fn(&Value) -> String| -> BTreeSet<String> {
        dumps.iter().flat_map(|d| d[member].as_array().unwrap().iter().map(of)).collect()
    };
    let types = seen("blocks", |b| b[0].to_string());
    for kind in BlockType::ALL {
        assert!(types.contains(&(kind as u16).to_string()), "no golden has a {}", kind.name());
    }
    assert!(types.contains("32768"), "no golden has a block of an unknown type");
    let kinds = seen("sites", |s| s["kind"].as_str().unwrap().to_owned());
    for kind in ExitKind::ALL {
        assert!(kinds.contains(&format!("{kind:?}")), "no golden has {kind:?}");
    }
    let events = seen("events", |e| format!("{}{}", e[1]["event"].as_str().unwrap(), e[1]["carried"]));
    // With the two kinds of keyframes, one more than there are names.
    assert_eq!(events.len(), sample::EVENTS + 1, "{events:?}");
    let memory = seen("checkpoints", |c| match &c["memory"] {
        Value::String(name) => name.clone(),
        other => other.as_object().unwrap().keys().next().unwrap().clone(),
    });
    assert_eq!(memory.into_iter().collect::<Vec<_>>(), ["All", "Changed", "None"]);
}

#[test]
fn a_golden_of_a_recording_carries_its_positions_between_exits() {
    let trace = Trace::open(&folder().join("positions.trap")).unwrap();
    assert_eq!(trace.header().preempt, Preempt::Positions);
    let keyframes = trace.keyframes();
    let mut carried = 0;
    for chunk in trace.inputs_with_digests() {
        let (inputs, _) = chunk.unwrap();
        for (exit, event) in inputs.events() {
            let Event::Keyframe { number, carried: true } = *event else { continue };
            let keyframe = keyframes.read(number).unwrap().unwrap();
            assert_eq!((number, keyframe.exit, keyframe.carried), (carried, exit, true));
            let (mut pages, changes) = (0, keyframes.changes(number).unwrap().unwrap());
            keyframes.load(changes, |_, _| pages += 1).unwrap();
            assert_eq!(pages, keyframe.changes);
            carried += 1;
        }
    }
    let positions = trace.end().unwrap().preemption.positions;
    assert_eq!((u64::from(carried), carried), (positions.count, keyframes.len()));
    assert!(carried > 0 && positions.median_ns > 0);
}

#[test]
fn a_golden_of_a_killed_recorder_says_where_it_ends() {
    let trace = Trace::open(&folder().join("truncated.trap")).unwrap();
    assert!(trace.end().is_none());
    let damage = trace.damage().unwrap();
    assert!(damage.offset > 0 && damage.reason.contains("ends inside"), "{damage:?}");
    assert_eq!(dump(trace.path())["exits"].as_array().unwrap().len(), sample::EXITS);
}
