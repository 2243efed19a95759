//! Names from several files at once: each for its own range, and what two of them claim is told.

use crate::common::{SyntheticTrace, halted, header};
use std::path::{Path, PathBuf};
use std::process::Command;
use trapline_analyzer::{By, Condition, Report, SymbolFile, Symbols};
use trapline_formats::{ExitKind, Trace};

/// Exits at these addresses.
fn trace(dir: &Path, at: &[u64]) -> Trace {
    let mut trace = SyntheticTrace::create(&dir.join("run.trap"), &header());
    for &at in at {
        let site = trace.site(ExitKind::PortRead, 0x60, 1, at, &[0xec]);
        trace.exit(site, &[0], 3000, 900);
    }
    Trace::open(&trace.end(halted())).unwrap()
}

fn map(dir: &Path, name: &str, text: &str) -> SymbolFile {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    SymbolFile { path, offset: None }
}

fn names(symbols: &Symbols, sites: u32) -> Vec<Option<&str>> {
    (0..sites).map(|site| symbols.of(site).map(|s| s.name.as_str())).collect()
}

#[test]
fn each_file_names_its_own_range_and_the_first_one_wins_where_two_meet() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), &[0xf_0010, 0x20_0010, 0x20_1010]);
    let firmware = map(dir.path(), "firmware.map", "000f0000 T post\n000f1000 T end\n");
    let kernel = map(dir.path(), "kernel.map", "00200000 T start\n00201000 T loop\n00202000 T end\n");
    let moved = SymbolFile {
        path: map(dir.path(), "module.map", "00000000000000f8 t probe\n00000000000010f8 t end\n").path,
        offset: Some(0x20_0f08),
    };
    let symbols = Symbols::load(&trace, &[firmware, kernel, moved.clone()]).unwrap();
    assert_eq!(names(&symbols, 3), [Some("post"), Some("start"), Some("loop")]);
    let notes = symbols.notes();
    assert_eq!(notes[0], "firmware.map (text, 2) names 1 of 3 sites");
    assert_eq!(notes[1], "kernel.map (text, 3) names 2 of 3 sites");
    // The loop starts where `probe` does; inside of `start`, two functions claim what stands there.
    assert_eq!(notes[2], "module.map (text, 2, moved up by 0x200f08) names 1 of 3 sites");
    let elsewhere = SymbolFile { offset: Some(0x1f_ff10), ..moved };
    let kernel = map(dir.path(), "kernel.map", "00200000 T start\n00201000 T loop\n00202000 T end\n");
    let symbols = Symbols::load(&trace, &[kernel, elsewhere]).unwrap();
    assert_eq!(names(&symbols, 3), [None, Some("start"), Some("loop")]);
    let expected = "names 2 of 3 sites; 2 of them are in other functions by a source above";
    assert!(symbols.notes()[1].ends_with(expected), "{:?}", symbols.notes());
}

#[test]
fn modules_of_the_guests_own_kallsyms_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), &[0xffff_ffff_8100_0010, 0xffff_ffff_c000_0020]);
    let text = "ffffffff81000000 T _text\nffffffff81000100 T next\nffffffffc0000000 t vm_notify\t[virtio_mmio]\n\
                ffffffffc0000100 t vm_reset\t[virtio_mmio]\n";
    let symbols = Symbols::load(&trace, &[map(dir.path(), "kallsyms", text)]).unwrap();
    assert_eq!(names(&symbols, 2), [Some("_text"), Some("vm_notify [virtio_mmio]")]);
}

#[test]
fn what_is_not_linked_is_refused_with_what_to_try() {
    let dir = tempfile::tempdir().unwrap();
    let (source, object): (PathBuf, PathBuf) = (dir.path().join("m.c"), dir.path().join("m.ko"));
    std::fs::write(&source, "int probe(int a) { return a + 1; }\n").unwrap();
    let status = Command::new("cc").arg("-c").arg(&source).arg("-o").arg(&object).status().unwrap();
    assert!(status.success());
    let file = SymbolFile { path: object, offset: None };
    let error = Symbols::load(&trace(dir.path(), &[0]), &[file]).unwrap_err().to_string();
    assert!(error.contains("it is not linked") && error.contains("/proc/kallsyms"), "{error}");
}

#[test]
fn namesakes_are_told_apart_by_their_file_and_files_by_their_folder() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), &[0x10_0010, 0x40_0010, 0x10_1010]);
    let text = "00100000 t probe\n00101000 T first\n00102000 T end\n";
    let other = "00400000 t probe\n00402000 T end\n";
    for (folders, names_of_files) in [(["a", "b"], ["a.map", "b.map"]), (["a", "b"], ["mod.map", "mod.map"])]
    {
        let file = |i: usize, text: &str| {
            std::fs::create_dir_all(dir.path().join(folders[i])).unwrap();
            map(&dir.path().join(folders[i]), names_of_files[i], text)
        };
        let files = [file(0, text), file(1, other)];
        let is_one_name = names_of_files[0] == names_of_files[1];
        let shown = |i: usize| {
            if is_one_name { files[i].path.display().to_string() } else { names_of_files[i].to_owned() }
        };
        let symbols = Symbols::load(&trace, &files).unwrap();
        let probes = [0, 1].map(|i| format!("probe [{}]", shown(i)));
        assert_eq!(names(&symbols, 3), [Some(&*probes[0]), Some(&*probes[1]), Some("first")]);
        assert_eq!(symbols.notes()[1], format!("{} (text, 2) names 1 of 3 sites", shown(1)));
        // A condition may say which, or mean both.
        let report = Report::with_symbols(&trace, By::Symbol, symbols.clone(), &mut |_| {}).unwrap();
        assert_eq!(report.table().height(), 3);
        let report = Report::with_symbols(&trace, By::Site, symbols, &mut |_| {}).unwrap();
        let sites = |name: &str| {
            format!("count({name}) > 0").parse::<Condition>().unwrap().measure(&report).unwrap().sites
        };
        assert_eq!((sites("probe"), sites(&probes[0]), sites("first")), (2, 1, 1));
    }
    // Two lists of the same functions have no namesakes.
    let twice = [map(dir.path(), "one.map", text), map(dir.path(), "two.map", text)];
    assert_eq!(names(&Symbols::load(&trace, &twice).unwrap(), 3), [Some("probe"), None, Some("first")]);
}
