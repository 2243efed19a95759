//! Price lists: made, kept, taken for traces of their host, and refused for what they are not.

use crate::program::{Folder, kvm};

#[test]
fn a_list_is_made_and_prices_what_was_recorded_here_and_nothing_else() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("port64", &[]).says(0, &[]);
    let report = ["report", "run.trap", "--quiet"];
    let with = |prices: &str| folder.run(&[&report[..], &["--prices", prices]].concat());
    folder.run(&report).says(0, &["floor of this trace (estimated)"]);
    folder
        .run(&["doctor", "--calibrate", "--prices", "host.json"])
        .says(0, &["port-read", "shutdown", "Recording adds"]);
    with("host.json").says(0, &["from the price list of", "(measured)", "the recorder's own and no cost"]);
    // Not where it is looked for: not taken unless asked for.
    folder.run(&report).says(0, &["floor of this trace (estimated)"]);

    let list = std::fs::read_to_string(folder.path("host.json")).unwrap();
    let kernel = list.lines().find(|l| l.contains("\"kernel\"")).unwrap();
    folder.file("other.json", list.replace(kernel, "\"kernel\": \"1.2.13\",").as_bytes());
    with("other.json").says(2, &["the prices of other.json are of another host: kernel 1.2.13 in the list,"]);
    folder.file("later.json", list.replace("\"schema_version\": 1", "\"schema_version\": 7").as_bytes());
    with("later.json").says(2, &["cannot take prices from later.json: its version is 7, and 1 is read"]);
    folder.file("half.json", &list.as_bytes()[..list.len() / 2]);
    with("half.json").says(2, &["half.json is no price list", "EOF while parsing"]);
    with("nowhere.json").says(2, &["cannot read nowhere.json"]);
    let mut export = vec!["export", "run.trap", "--quiet", "--to", "folded", "-o", "out.folded"];
    export.extend(["--prices", "other.json"]);
    folder.run(&export).says(2, &["of another host"]);

    // Kept where it is looked for, it is taken without a word.
    folder.run(&["doctor", "--calibrate"]).says(0, &["Kept in ", "trapline/prices/"]);
    folder.run(&report).says(0, &["from the price list of"]);
    with("none").says(0, &["floor of this trace (estimated)"]);
    let folder_of_lists = folder.path("trapline/prices");
    let kept = std::fs::read_dir(&folder_of_lists).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&kept, list.replace("\"microcode\": ", "\"microcode\": 9")).unwrap();
    folder.run(&report).says(0, &["are left out: microcode 0x", "floor of this trace (estimated)"]);
}
