//! Where the trace goes: files that exist, disks that are full, recorders that are stopped.

use crate::program::{Folder, Ran, kvm};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Reads a port for ever: `in al, 0x80 ; jmp $-2`.
const POLLS: &[u8] = &[0xe4, 0x80, 0xeb, 0xfc];

#[test]
fn an_existing_trace_is_kept_unless_forced() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("run.trap", b"precious");
    folder.record("port64", &[]).says(2, &["run.trap exists", "--force"]);
    assert_eq!(std::fs::read(folder.path("run.trap")).unwrap(), b"precious");
    folder.record("port64", &["--force"]).says(0, &["bytes per exit"]);
    folder.run(&["report", "run.trap", "-o", "guest.bin"]).says(2, &["guest.bin exists"]);
    folder.run(&["export", "run.trap", "--to", "parquet", "-o", "guest.bin"]).says(2, &["guest.bin"]);
    folder
        .run(&["record", "--flat", "guest.bin", "-o", "none/run.trap"])
        .says(2, &["none/run.trap", "No such file"]);
}

#[test]
fn a_trace_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("port64", &[]).says(0, &[]);
    let mode = std::fs::metadata(folder.path("run.trap")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_full_disk_ends_the_recording_and_what_was_written_replays() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    // A limit on the size of files stands for a full disk.
    folder.file("guest.bin", POLLS);
    let limited = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"")
        .arg(folder.command(&[]).get_program())
        .args(["record", "--flat", "guest.bin", "--memory", "4M", "--timeout", "60s", "--quiet"])
        .current_dir(folder.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran::of(limited).says(2, &["the recording failed", "cannot write", "run.trap is readable"]);
    folder.run(&["inspect", "run.trap"]).says(0, &["the end is missing"]);
    folder.run(&["replay", "run.trap", "--until", "4000"]).says(0, &["faithful: 4001 exits"]);
    folder.run(&["replay", "run.trap"]).says(2, &["faithful up to exit"]);
}

#[test]
fn a_disk_that_is_really_full_ends_the_recording_and_what_was_written_replays() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("guest.bin", POLLS);
    let Some(disk) = SmallDisk::mount(folder.path("disk")) else {
        eprintln!("skipped: mounting a small disk takes root");
        return;
    };
    let path = disk.0.join("run.trap");
    let path = path.to_str().unwrap();
    let record =
        ["record", "--flat", "guest.bin", "--memory", "4M", "--timeout", "60s", "--quiet", "-o", path];
    folder.run(&record).says(2, &["the recording failed", "No space left on device", "is readable up to"]);
    folder.run(&["inspect", path]).says(0, &["the end is missing"]);
    folder.run(&["replay", path, "--until", "4000"]).says(0, &["faithful: 4001 exits"]);
}

/// A file system of 64 KiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&at).stderr(Stdio::null());
        mount.status().is_ok_and(|s| s.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn ctrl_c_leaves_a_whole_trace_that_replays() {
    if !kvm() {
        return;
    }
    ends_in_order("INT");
}

#[test]
fn a_recorder_that_is_told_to_end_leaves_a_whole_trace_that_replays() {
    if !kvm() {
        return;
    }
    ends_in_order("TERM");
}

fn ends_in_order(signal: &str) {
    let folder = Folder::new();
    stopped(&folder, signal).says(130, &["interrupted by the user"]);
    folder.run(&["inspect", "run.trap"]).says(0, &["interrupted by the user"]);
    folder.run(&["replay", "run.trap"]).says(0, &["faithful"]);
}

#[test]
fn a_killed_recorder_loses_less_than_a_second() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    assert_eq!(stopped(&folder, "KILL").status, -9);
    folder.run(&["replay", "run.trap"]).says(2, &["faithful up to exit", "--until"]);
    folder.run(&["replay", "run.trap", "--until", "1000"]).says(0, &["faithful: 1001 exits"]);
}

/// Records a guest that never ends, and sends the recorder a signal after a second and a half.
fn stopped(folder: &Folder, signal: &str) -> Ran {
    folder.file("guest.bin", POLLS);
    let child = folder
        .command(&["record", "--flat", "guest.bin", "--memory", "4M", "--timeout", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let kill = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn a_condition_that_holds_is_status_1_and_nonsense_is_status_2() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("unknown_32", &[]).says(0, &[]);
    let report = |more: &[&str]| folder.run(&[&["report", "run.trap", "--fail-if"], more].concat());
    report(&["count(0x1234) > 5"]).says(1, &["FAILED: count(0x1234) > 5: it is 6", "Cost by site"]);
    report(&["count(0x1234) > 6"]).says(0, &["Cost by site"]);
    report(&["count(0x1234) > 6", "--fail-if", "count(port-*) >= 6"]).says(1, &["FAILED: count(port-*)"]);
    report(&["count(nothing like it) > 0"]).says(0, &["no site has this name"]);
    report(&["count > 6"]).says(2, &["is no condition"]);
    report(&["count(*) > 0", "--by", "reason"]).says(2, &["leave out --by"]);
    let whole = std::fs::read(folder.path("run.trap")).unwrap();
    folder.file("run.trap", &whole[..whole.len() - 20]);
    report(&["count(*) > 0"]).says(2, &["cut short"]);
}

#[test]
fn a_recording_compared_with_itself_is_the_same_and_with_no_trace_an_error() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.record("unknown_32", &[]).says(0, &[]);
    folder.run(&["report", "run.trap", "--against", "run.trap"]).says(0, &["0 of ", "(+0.0 %)"]);
    folder.run(&["report", "run.trap", "--against", "missing.trap"]).says(2, &["missing.trap"]);
    folder
        .run(&["report", "run.trap", "--against", "run.trap", "--format", "csv"])
        .says(2, &["text, HTML or JSON"]);
    folder
        .run(&["report", "run.trap", "--symbols", "guest.bin"])
        .says(2, &["cannot take symbols from guest.bin"]);
    folder.run(&["report", "run.trap", "--format", "html", "-o", "run.html"]).says(0, &[]);
    folder.run(&["report", "run.trap", "--format", "html", "-o", "run.html"]).says(2, &["exists"]);
    for format in ["firefox", "perfetto", "pprof", "folded", "flamegraph", "parquet"] {
        folder.run(&["export", "run.trap", "--to", format, "-o", format]).says(0, &[]);
    }
    let against = |format: &str, other: &str| {
        let args = ["export", "run.trap", "--force", "--to", format, "-o", format, "--against", other];
        folder.run(&args)
    };
    for format in ["folded", "flamegraph"] {
        against(format, "run.trap").says(0, &[]);
        against(format, "missing.trap").says(2, &["missing.trap"]);
    }
    for format in ["firefox", "perfetto", "pprof", "parquet"] {
        against(format, "run.trap").says(2, &["--against is for --to folded and --to flamegraph"]);
    }
    let folded = std::fs::read_to_string(folder.path("folded")).unwrap();
    let same = |line: &str| line.rsplit(' ').next() == line.rsplit(' ').nth(1);
    assert!(folded.lines().count() > 0 && folded.lines().all(same), "{folded}");
}
