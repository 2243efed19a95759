//! The files that a trace refers to instead of holding what the guest read of them: disk images.

use crate::error::ReplayError;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use trapline_formats::memory::page_hash;
use trapline_formats::{GuestFile, Header};

/// What a disk is called among the files of a header.
const DISK: &str = "disk";

/// The files of a header, those that are there opened.
#[derive(Debug)]
pub(crate) struct Files {
    files: Vec<(GuestFile, Option<(PathBuf, File)>)>,
}

impl Files {
    /// Opens the images that stand for the disks of this trace, in their order.
    pub(crate) fn open(header: &Header, disks: &[PathBuf]) -> Result<Self, ReplayError> {
        let mut paths = disks.iter();
        let mut files = Vec::new();
        for recorded in &header.files {
            let path = if recorded.role == DISK { paths.next() } else { None };
            files.push((recorded.clone(), path.map(|path| open(recorded, path)).transpose()?));
        }
        if let Some(path) = paths.next() {
            let reason = "the recorded guest had no such disk".to_owned();
            return Err(ReplayError::Disk { path: path.clone(), reason });
        }
        Ok(Self { files })
    }

    /// Reads what a file held where the guest read it.
    pub(crate) fn read(
        &self,
        file: u32,
        offset: u64,
        xxh3: u64,
        bytes: &mut [u8],
    ) -> Result<(), ReplayError> {
        let Some((recorded, open)) = self.files.get(file as usize) else {
            return Err(ReplayError::Host(format!(
                "it refers to file {file}, and its header has no such file"
            )));
        };
        let Some((path, open)) = open else {
            return Err(ReplayError::NeedsDisk { name: recorded.name.clone(), bytes: recorded.bytes });
        };
        let failed = |reason: String| ReplayError::Disk { path: path.clone(), reason };
        let length = bytes.len();
        open.read_exact_at(bytes, offset)
            .map_err(|e| failed(format!("{length} bytes at {offset:#x}: {e}")))?;
        if page_hash(bytes) != xxh3 {
            return Err(failed(format!(
                "its content is not what was recorded: {length} bytes at {offset:#x} differ. Replay with the image as it was \
                 then"
            )));
        }
        Ok(())
    }
}

fn open(recorded: &GuestFile, path: &Path) -> Result<(PathBuf, File), ReplayError> {
    let failed = |reason: String| ReplayError::Disk { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    let bytes = file.metadata().map_err(|e| failed(e.to_string()))?.len();
    if bytes != recorded.bytes {
        return Err(failed(format!(
            "it has {bytes} bytes, and the disk `{}` of the recording had {}",
            recorded.name, recorded.bytes
        )));
    }
    Ok((path.to_owned(), file))
}
