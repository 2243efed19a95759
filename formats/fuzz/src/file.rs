//! A file in memory, to be opened by its path.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// One file, written anew for each input.
pub struct File(fs::File);

impl File {
    /// An empty one. Its name is gone as soon as it is open.
    pub fn new() -> Self {
        let path = format!("/dev/shm/trapline-fuzz-{}", std::process::id());
        let file =
            fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a file");
        fs::remove_file(path).expect("its name");
        Self(file)
    }

    /// Fills it with these bytes. Where it can be opened.
    pub fn with(&self, bytes: &[u8]) -> PathBuf {
        self.0.set_len(bytes.len() as u64).expect("a length");
        self.0.write_all_at(bytes, 0).expect("room for a small file");
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

impl Default for File {
    fn default() -> Self {
        Self::new()
    }
}
