//! A disk image. It is never written: what the guest writes stays in memory and covers the image.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use trapline_formats::GuestFile;
use xxhash_rust::xxh3::Xxh3;

/// What is covered at a time.
const CLUSTER: u64 = 4096;
/// What is hashed at a time.
const PIECE: usize = 1 << 20;

/// A disk image and what covers it.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    file: File,
    bytes: u64,
    is_readonly: bool,
    in_trace: bool,
    xxh3: u64,
    /// When the image was written last: by nobody, while it is used.
    stamp: (u64, i64, i64),
    covered: BTreeMap<u64, Box<[u8]>>,
}

/// A piece of what was read, and whether it is the image's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Bytes.
    pub length: usize,
    /// It was never written by the guest.
    pub is_original: bool,
}

impl Disk {
    /// Opens an image. `in_trace`: the trace is to hold all that the guest reads, so that a replay does without the image.
    pub fn open(path: &Path, is_readonly: bool, in_trace: bool) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let metadata = file.metadata().map_err(|e| e.to_string())?;
        if !metadata.is_file() {
            return Err("it is no regular file".into());
        }
        let bytes = metadata.len();
        if bytes == 0 || !bytes.is_multiple_of(super::block::SECTOR) {
            return Err(format!("it has {bytes} bytes, which are no whole number of sectors of 512"));
        }
        let xxh3 = hash(&file, bytes).map_err(|e| e.to_string())?;
        Ok(Self {
            path: path.to_owned(),
            stamp: stamp(&metadata),
            file,
            bytes,
            is_readonly,
            in_trace,
            xxh3,
            covered: BTreeMap::new(),
        })
    }

    /// Where the image is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the guest may not write to it.
    pub fn is_readonly(&self) -> bool {
        self.is_readonly
    }

    /// Whether the trace is to hold what is read.
    pub fn in_trace(&self) -> bool {
        self.in_trace
    }

    /// What the header says of it.
    pub fn describe(&self) -> GuestFile {
        let name = self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        GuestFile { role: "disk".into(), name, bytes: self.bytes, xxh3: self.xxh3 }
    }

    /// Why the image is not what it was when it was opened, if so.
    pub fn change(&self) -> Option<String> {
        match self.file.metadata() {
            Ok(now) if stamp(&now) == self.stamp => None,
            Ok(now) if now.len() == self.bytes => {
                let is_same = hash(&self.file, self.bytes).is_ok_and(|hash| hash == self.xxh3);
                (!is_same).then(|| "it was written to while the guest used it".to_owned())
            }
            Ok(now) => Some(format!(
                "it had {} bytes and has {} now: something else writes to it",
                self.bytes,
                now.len()
            )),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Reads, inside of the disk. The pieces add up to what was read.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<Vec<Piece>> {
        self.file.read_exact_at(data, offset)?;
        let mut pieces: Vec<Piece> = Vec::new();
        for (cluster, at, part) in clusters(offset, data.len()) {
            let covered = self.covered.get(&cluster);
            if let Some(covered) = covered {
                data[part.clone()].copy_from_slice(&covered[at..at + part.len()]);
            }
            let piece = Piece { length: part.len(), is_original: covered.is_none() };
            match pieces.last_mut() {
                Some(last) if last.is_original == piece.is_original => last.length += piece.length,
                _ => pieces.push(piece),
            }
        }
        Ok(pieces)
    }

    /// Writes over the image, inside of the disk.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        for (cluster, at, part) in clusters(offset, data.len()) {
            if !self.covered.contains_key(&cluster) {
                let start = cluster * CLUSTER;
                let mut original = vec![0; CLUSTER.min(self.bytes - start) as usize];
                self.file.read_exact_at(&mut original, start)?;
                self.covered.insert(cluster, original.into());
            }
            if let Some(covered) = self.covered.get_mut(&cluster) {
                covered[at..at + part.len()].copy_from_slice(&data[part]);
            }
        }
        Ok(())
    }
}

/// The clusters that a range touches: number, where in it the range begins, which part of the range it is.
fn clusters(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let end = offset + length as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        let cluster = at / CLUSTER;
        let next = ((cluster + 1) * CLUSTER).min(end);
        let part = (at - offset) as usize..(next - offset) as usize;
        let inside = (at % CLUSTER) as usize;
        at = next;
        (!part.is_empty()).then_some((cluster, inside, part))
    })
}

fn stamp(metadata: &Metadata) -> (u64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

fn hash(file: &File, bytes: u64) -> io::Result<u64> {
    let mut hasher = Xxh3::new();
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < bytes {
        let length = piece.len().min((bytes - at) as usize);
        file.read_exact_at(&mut piece[..length], at)?;
        hasher.update(&piece[..length]);
        at += length as u64;
    }
    Ok(hasher.digest())
}
