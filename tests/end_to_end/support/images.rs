//! Guests that others wrote, where `tests/guests/fetch.sh` puts them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where an image is; gets it (by the name of its guest in `fetch.sh`) where it is not there yet.
pub fn image(guest: &str, file: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("TRAPLINE_GUESTS") {
        return PathBuf::from(folder).join(file);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("target/guests").join(file);
    if !path.exists() {
        let status = Command::new(root.join("tests/guests/fetch.sh")).arg(guest).status().unwrap();
        assert!(status.success(), "tests/guests/fetch.sh could not get {guest}");
    }
    path
}
