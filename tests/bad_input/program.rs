//! The program under test, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A folder to run the program in.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::with_prefix("trapline-").unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The program, to be run in this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        // What its user has calibrated is none of a test's business.
        command.env("XDG_STATE_HOME", self.0.path());
        command
    }

    /// Runs the program.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Records a built-in guest into `run.trap`.
    pub fn record(&self, guest: &str, more: &[&str]) -> Ran {
        let guest = *trapline_guests::all().iter().find(|g| g.name == guest).unwrap();
        self.record_guest(&guest, &[&["--timeout", "60s"], more].concat())
    }

    /// Records a guest into `run.trap`.
    pub fn record_guest(&self, guest: &trapline_guests::Guest, more: &[&str]) -> Ran {
        self.file("guest.bin", guest.image);
        let mode = match guest.mode {
            trapline_guests::Mode::Bits16 => "16",
            trapline_guests::Mode::Bits32 => "32",
            trapline_guests::Mode::Bits64 => "64",
        };
        let args = ["record", "--flat", "guest.bin", "--mode", mode, "--memory", "4M"];
        self.run(&[&args, more].concat())
    }
}

fn program() -> PathBuf {
    std::env::var_os("TRAPLINE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_trapline").into(), PathBuf::from)
}

/// What the program said and how it ended.
pub struct Ran {
    pub status: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        Self { status, out: output.stdout, err: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Ended with this status, and said all of this on either stream.
    #[track_caller]
    pub fn says(&self, status: i32, words: &[&str]) -> &Self {
        let said = format!("{}{}", self.text(), self.err);
        assert_eq!(self.status, status, "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is not in:\n{said}");
        }
        self
    }
}

/// Whether the tests may use /dev/kvm; loud otherwise.
pub fn kvm() -> bool {
    if std::env::var("TRAPLINE_SKIP_KVM").is_ok_and(|v| v == "1") {
        return false;
    }
    assert!(
        Path::new("/dev/kvm").exists(),
        "these tests need /dev/kvm (TRAPLINE_SKIP_KVM=1 leaves them out)"
    );
    true
}
