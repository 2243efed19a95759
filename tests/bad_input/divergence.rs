//! A replay that diverges: exit status 1, and everything that helps to find out why.

use crate::plain::Plain;
use crate::program::{Folder, kvm};

/// Records `port64` and changes an exit of its trace.
fn diverging(change: impl FnOnce(&mut Plain)) -> Folder {
    let folder = Folder::new();
    folder.record("port64", &[]).says(0, &[]);
    let path = folder.path("run.trap");
    let mut plain = Plain::read(&path);
    change(&mut plain);
    plain.write(&path);
    folder
}

#[test]
fn both_sides_the_register_and_the_exits_before_are_shown() {
    if !kvm() {
        return;
    }
    let folder = diverging(|plain| plain.exits[4].data[0] = 0x55);
    let ran = folder.run(&["replay", "run.trap"]);
    ran.says(1, &["DIVERGENCE at exit 5: the guest wrote other data"]);
    let line = |start: &str| {
        let text = ran.text();
        text.lines()
            .find(|l| l.trim_start().starts_with(start))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    assert!(line("expected").contains("port-write 0x80/1 data 0x00"), "{}", ran.text());
    assert!(line("actual").contains("port-write 0x80/1 data 0x55"), "{}", ran.text());
    assert!(line("actual").contains("out 0x80, al"), "{}", ran.text());
    assert!(line("RAX").contains("0x0") && line("RAX").contains("0x55"), "{}", ran.text());
    assert!(line("#4").contains("in al, 0x71"), "{}", ran.text());
}

#[test]
fn the_first_of_several_replays_that_diverges_ends_them() {
    if !kvm() {
        return;
    }
    let folder = diverging(|plain| plain.exits[4].data[0] = 0x55);
    folder.run(&["replay", "run.trap", "--repeat", "3"]).says(1, &["replay 1 of 3", "DIVERGENCE at exit 5"]);
}

#[test]
fn a_replay_that_stops_before_the_divergence_is_faithful() {
    if !kvm() {
        return;
    }
    let folder = diverging(|plain| plain.exits[4].data[0] = 0x55);
    folder.run(&["replay", "run.trap", "--until", "4"]).says(0, &["faithful: 5 exits"]);
    folder.run(&["replay", "run.trap", "--until", "5"]).says(1, &["DIVERGENCE at exit 5"]);
}

#[test]
fn pages_that_differ_at_the_end_are_named() {
    if !kvm() {
        return;
    }
    let folder = diverging(|plain| plain.pages.push((0x123, vec![1; 4096])));
    folder.run(&["replay", "run.trap"]).says(1, &["guest memory differs", "page 0x123000", "all zeros"]);
}
