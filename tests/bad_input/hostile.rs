//! A trace from a stranger: its names and texts want to take over the terminal.

use crate::plain::Plain;
use crate::program::{Folder, kvm};
use trapline_formats::{EndReason, Unclosed};

/// Sets a window title, moves the cursor by a C1 control, reverses the direction of text.
const EVIL: &str = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\u{7f}";

/// Records a guest that meets unknown addresses, and puts EVIL wherever the trace holds text.
fn hostile(folder: &Folder) {
    folder.record("unknown_64", &[]).says(0, &[]);
    let path = folder.path("run.trap");
    let mut plain = Plain::read(&path);
    let header = &mut plain.header;
    let host = &mut header.host;
    for text in [&mut host.engine, &mut host.kernel, &mut host.cpu_vendor, &mut host.cpu_brand] {
        text.push_str(EVIL);
    }
    host.capabilities.iter_mut().for_each(|(name, _)| name.push_str(EVIL));
    for text in [&mut header.recorder, &mut header.entry, &mut header.tick_source] {
        text.push_str(EVIL);
    }
    for file in &mut header.files {
        file.role.push_str(EVIL);
        file.name.push_str(EVIL);
    }
    header.rewrites.iter_mut().for_each(|r| r.found_by.push_str(EVIL));
    header.console_channels.iter_mut().for_each(|c| c.push_str(EVIL));
    for name in &mut header.names {
        name.device.push_str(EVIL);
        name.register.push_str(EVIL);
    }
    let end = plain.end.as_mut().unwrap();
    end.reason = EndReason::ConsoleMatch(EVIL.into());
    end.unclosed = vec![Unclosed { source: EVIL.into(), exit: 0, evidence: EVIL.into() }];
    plain.console.iter_mut().for_each(|text| text.bytes = EVIL.into());
    plain.write(&path);
}

/// Fails if any of it is shown as it is.
fn assert_tame(what: &[&str], shown: &[u8]) {
    let text = String::from_utf8(shown.to_vec()).unwrap_or_else(|e| panic!("{what:?}: {e}"));
    let is_evil = |c: &char| c.is_control() && !"\n\t".contains(*c) || *c == '\u{202e}';
    if let Some(evil) = text.chars().find(is_evil) {
        panic!("{what:?} shows {evil:?} raw:\n{}", text.escape_debug());
    }
}

#[test]
fn no_verb_shows_a_strangers_escape_sequences_raw() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    hostile(&folder);
    let verbs: [&[&str]; 15] = [
        &["inspect", "run.trap"],
        &["inspect", "run.trap", "--json"],
        &["inspect", "run.trap", "--exits", ".."],
        &["inspect", "run.trap", "--exits", "..", "--json"],
        &["report", "run.trap"],
        &["report", "run.trap", "--by", "device"],
        &["report", "run.trap", "--by", "address"],
        &["report", "run.trap", "--by", "reason"],
        &["report", "run.trap", "--format", "json"],
        &["report", "run.trap", "--format", "csv"],
        &["report", "run.trap", "--format", "csv", "--by", "device"],
        &["replay", "run.trap"],
        &["inspect", "run.trap", "-v"],
        &["diff", "run.trap", "run.trap"],
        &["diff", "run.trap", "run.trap", "--json"],
    ];
    for verb in verbs {
        let ran = folder.run(verb);
        assert_eq!(ran.status, 0, "{verb:?}: {}", ran.err);
        assert_tame(verb, &ran.out);
        assert_tame(verb, ran.err.as_bytes());
    }
}

#[test]
fn a_divergence_shows_a_strangers_escape_sequences_as_text() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    hostile(&folder);
    let path = folder.path("run.trap");
    let mut plain = Plain::read(&path);
    plain.exits[3].registers[1] ^= 1;
    plain.write(&path);
    let ran = folder.run(&["replay", "run.trap"]);
    ran.says(1, &["DIVERGENCE at exit 3"]);
    assert_tame(&["replay"], &ran.out);
    assert_tame(&["replay"], ran.err.as_bytes());
}

#[test]
fn the_name_of_a_trace_file_is_shown_as_text() {
    let folder = Folder::new();
    for verb in ["inspect", "report", "replay"] {
        let ran = folder.run(&[verb, "\u{1b}]0;owned\u{7}.trap"]);
        assert_eq!(ran.status, 2);
        assert_tame(&[verb], ran.err.as_bytes());
    }
}
