//! Files of learned sites that are damaged, of another guest, or left behind by Ctrl-C.

use crate::program::{Folder, Ran, kvm};
use std::process::{Command, Stdio};
use std::time::Duration;

const LEARN: &[&str] = &["learn", "--flat", "guest.bin", "--memory", "4M", "-o", "a.sites"];
const RECORD: &[&str] = &["record", "--flat", "guest.bin", "--memory", "4M", "--sites", "a.sites"];

/// A folder with the guest in it.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("guest.bin", trapline_guests::computed_64().image);
    folder
}

#[test]
fn what_was_learned_is_closed_and_a_file_of_another_image_or_a_damaged_one_is_refused() {
    if !kvm() {
        return;
    }
    let folder = folder();
    folder.run(&RECORD[..RECORD.len() - 2]).says(0, &["bytes per exit"]);
    folder.run(LEARN).says(
        0,
        &[
            "4 suspects, 2 of them execute, 0 left to try",
            "spoils the guest",
            "not seen in",
            "48 0f c7 f3 at",
        ],
    );
    folder.run(LEARN).says(0, &["2 of them execute", "0 runs"]);
    folder.run(&[RECORD, &["--force"]].concat()).says(0, &["bytes per exit"]);
    folder.run(&["inspect", "run.trap"]).says(0, &["found by watching it execute"]);
    folder.run(&["replay", "run.trap"]).says(0, &["faithful"]);

    folder.file("guest.bin", trapline_guests::computed_32().image);
    folder.run(&[RECORD, &["--force"]].concat()).says(2, &["a.sites", "another image"]);
    folder.run(LEARN).says(2, &["another image", "-o names another file"]);
    folder.file("guest.bin", trapline_guests::computed_64().image);
    let text = std::fs::read_to_string(folder.path("a.sites")).unwrap();
    folder.file("a.sites", &text.as_bytes()[..text.len() / 2]);
    folder.run(&[RECORD, &["--force"]].concat()).says(2, &["a.sites", "it is damaged"]);
    folder.run(LEARN).says(2, &["a.sites", "it is damaged"]);
    folder.file("a.sites", b"precious notes");
    folder.run(LEARN).says(2, &["no such file"]);
    assert_eq!(std::fs::read(folder.path("a.sites")).unwrap(), b"precious notes");
    std::fs::remove_file(folder.path("a.sites")).unwrap();
    folder.run(&[RECORD, &["--force"]].concat()).says(2, &["a.sites", "No such file"]);
}

#[test]
fn a_recording_that_met_an_unclosed_clock_read_says_what_to_try() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("guest.bin", trapline_guests::hidden_clock_64().image);
    folder
        .run(&RECORD[..RECORD.len() - 2])
        .says(0, &["RDTSC executed unclosed", "nothing in the image looks like it"]);
}

#[test]
fn ctrl_c_ends_learning_with_a_whole_file_and_the_same_command_goes_on() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    // jmp $, and a suspect that nothing reaches: each run takes the whole window.
    folder.file("guest.bin", &[0xeb, 0xfe, 0x0f, 0x31, 0xf4]);
    let learn = |timeout| [LEARN, &["--timeout", timeout]].concat();
    let child = folder.command(&learn("60s")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap()).says(130, &["1 left to try", "the same command goes on"]);
    folder.run(&learn("300ms")).says(0, &["not seen in 0 exits", "2 runs"]);
    folder.run(&learn("300ms")).says(0, &["0 runs"]);
    folder.run(&learn("400ms")).says(0, &["400 ms", "2 runs"]);
}
