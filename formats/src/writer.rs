//! Writes a trace file: blocks are compressed and written on a thread of their own, so that the guest waits for the disk
//! only when it is a whole queue behind.

use crate::envelope::{BlockType, FILE_HEADER_BYTES, encode_block, encode_file_header};
use crate::error::TraceError;
use crate::timing::{Timing, TimingEncoder};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Blocks waiting for the writer before the guest has to wait. Loss is no option; waiting is.
const QUEUE: usize = 16;
/// zstd's level 1: at three times the speed of the default and nearly its ratio on these streams.
const LEVEL: i32 = 1;

struct RawBlock {
    kind: BlockType,
    first_exit: u64,
    payload: Payload,
}

/// What is left for the writer's thread to do.
enum Payload {
    Bytes(Vec<u8>),
    Timings(Vec<Timing>),
}

/// An open trace file.
#[derive(Debug)]
pub struct TraceWriter {
    path: PathBuf,
    queue: Option<SyncSender<RawBlock>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    written: Arc<AtomicU64>,
}

impl TraceWriter {
    /// Creates the file, readable by its owner only: it will hold guest memory. An existing file is an error unless
    /// `replace` is set.
    pub fn create(path: &Path, replace: bool) -> Result<Self, TraceError> {
        let error = |source| TraceError::Io { action: "create", path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        if replace {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        let mut file = options.open(path).map_err(error)?;
        file.write_all(&encode_file_header()).map_err(error)?;
        let compressor = zstd::bulk::Compressor::new(LEVEL).map_err(error)?;
        let (queue, blocks) = sync_channel::<RawBlock>(QUEUE);
        let written = Arc::new(AtomicU64::new(FILE_HEADER_BYTES as u64));
        let counter = Arc::clone(&written);
        let thread = std::thread::Builder::new()
            .name("trace-writer".into())
            .spawn(move || write_blocks(file, &blocks, compressor, &counter))
            .map_err(error)?;
        Ok(Self { path: path.to_owned(), queue: Some(queue), thread: Some(thread), written })
    }

    /// Queues a block. Fails once the disk has refused an earlier one.
    pub fn block(&mut self, kind: BlockType, first_exit: u64, payload: Vec<u8>) -> Result<(), TraceError> {
        self.send(kind, first_exit, Payload::Bytes(payload))
    }

    /// Queues a chunk of the timing stream, which is encoded on the writer's thread.
    pub fn timings(&mut self, first_exit: u64, timings: Vec<Timing>) -> Result<(), TraceError> {
        self.send(BlockType::Timing, first_exit, Payload::Timings(timings))
    }

    fn send(&mut self, kind: BlockType, first_exit: u64, payload: Payload) -> Result<(), TraceError> {
        let sent = match &self.queue {
            Some(queue) => queue.send(RawBlock { kind, first_exit, payload }).is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { self.finish() }
    }

    /// Bytes in the file so far.
    pub fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until everything is written.
    pub fn finish(&mut self) -> Result<(), TraceError> {
        self.queue = None;
        let result = match self.thread.take() {
            Some(thread) => {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("the writer thread panicked")))
            }
            None => Err(io::Error::other("the trace is closed")),
        };
        result.map_err(|source| TraceError::Io { action: "write", path: self.path.clone(), source })
    }
}

impl Drop for TraceWriter {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // An error has been reported, or will be, by whoever abandons the trace; what was written stays readable.
            let _ = self.finish();
        }
    }
}

fn write_blocks(
    mut file: File,
    blocks: &std::sync::mpsc::Receiver<RawBlock>,
    mut compressor: zstd::bulk::Compressor<'_>,
    written: &AtomicU64,
) -> io::Result<()> {
    let mut encoder = TimingEncoder::default();
    for block in blocks {
        let payload = match block.payload {
            Payload::Bytes(bytes) => bytes,
            Payload::Timings(timings) => {
                for timing in timings {
                    encoder.push(timing);
                }
                encoder.take()
            }
        };
        let bytes = encode_block(block.kind, block.first_exit, &payload, &mut compressor);
        if let Err(error) = file.write_all(&bytes) {
            // Cut off the part of a block that a full disk leaves behind: the file ends with a whole one.
            let _ = file.set_len(written.load(Ordering::Relaxed));
            return Err(error);
        }
        written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    file.flush()
}
