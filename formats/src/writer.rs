//! Writes a trace file: blocks are compressed and written on a thread of their own, so that the guest waits for the disk
//! only when it is a whole queue behind. Exits are encoded there, too.

use crate::batch::{Batch, BatchEncoder};
use crate::durable::Durable;
use crate::envelope::{BlockHeader, BlockType, FILE_HEADER_BYTES, encode_block, encode_file_header};
use crate::error::TraceError;
use crate::exit::Site;
use crate::index;
use crate::keyframe::{Keyframe, KeyframeEncoder, Pages};
use crate::memory;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Blocks waiting for the writer before the guest has to wait. Loss is no option; waiting is.
const QUEUE: usize = 16;
/// zstd's level 1: at three times the speed of the default and nearly its ratio on these streams.
const LEVEL: i32 = 1;
/// Of memory, which is megabytes at once: a third of the instructions of level 1, for two fifths more of bytes.
const MEMORY_LEVEL: i32 = -16;

struct RawBlock {
    kind: BlockType,
    first_exit: u64,
    payload: Payload,
}

/// What is left for the writer's thread to do.
enum Payload {
    Bytes(Vec<u8>),
    Sites(Vec<Site>),
    Exits(Batch),
    LastTiming,
    StartMemory(Pages),
    KeyframePages(Pages),
    Keyframe(Box<Keyframe>),
    Index,
}

/// An open trace file.
#[derive(Debug)]
pub struct TraceWriter {
    path: PathBuf,
    queue: Option<SyncSender<RawBlock>>,
    /// Batches that were written: their memory is in place already.
    spare: Receiver<Batch>,
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
        let memory_compressor = zstd::bulk::Compressor::new(MEMORY_LEVEL).map_err(error)?;
        let (queue, blocks) = sync_channel::<RawBlock>(QUEUE);
        let (used, spare) = channel();
        let written = Arc::new(AtomicU64::new(FILE_HEADER_BYTES as u64));
        let durable =
            Durable::start(file.try_clone().map_err(error)?, Arc::clone(&written)).map_err(error)?;
        let output = Output {
            file,
            compressor,
            memory_compressor,
            encoder: BatchEncoder::default(),
            keyframes: KeyframeEncoder::default(),
            blocks: Vec::new(),
            written: Arc::clone(&written),
            durable,
        };
        let thread = std::thread::Builder::new()
            .name("trace-writer".into())
            .spawn(move || output.write_all(&blocks, &used))
            .map_err(error)?;
        Ok(Self { path: path.to_owned(), queue: Some(queue), spare, thread: Some(thread), written })
    }

    /// Queues a block. Fails once the disk has refused an earlier one.
    pub fn block(&mut self, kind: BlockType, first_exit: u64, payload: Vec<u8>) -> Result<(), TraceError> {
        self.send(kind, first_exit, Payload::Bytes(payload))
    }

    /// Queues new sites. They come before the exits that name them.
    pub fn sites(&mut self, first_exit: u64, sites: Vec<Site>) -> Result<(), TraceError> {
        self.send(BlockType::Sites, first_exit, Payload::Sites(sites))
    }

    /// Queues exits: a chunk of the timing stream, one of the digests, one of the inputs.
    pub fn exits(&mut self, first_exit: u64, batch: Batch) -> Result<(), TraceError> {
        self.send(BlockType::Inputs, first_exit, Payload::Exits(batch))
    }

    /// A batch that has been written, and is empty now.
    pub fn spare(&mut self) -> Option<Batch> {
        self.spare.try_recv().ok()
    }

    /// Queues the timing of the last exit, which no other one follows.
    pub fn last_timing(&mut self) -> Result<(), TraceError> {
        self.send(BlockType::Timing, 0, Payload::LastTiming)
    }

    /// Queues pages of guest memory at the start, ascending; every keyframe comes after the last of them.
    pub fn start_memory(&mut self, pages: Pages) -> Result<(), TraceError> {
        self.send(BlockType::Memory, 0, Payload::StartMemory(pages))
    }

    /// Queues pages that changed since the keyframe before, ascending; their keyframe comes next.
    pub fn keyframe_pages(&mut self, exit: u64, pages: Pages) -> Result<(), TraceError> {
        self.send(BlockType::Contents, exit, Payload::KeyframePages(pages))
    }

    /// Queues a keyframe, whose pages are queued already. It comes before the event that names it.
    pub fn keyframe(&mut self, keyframe: Keyframe) -> Result<(), TraceError> {
        self.send(BlockType::Keyframe, keyframe.exit, Payload::Keyframe(Box::new(keyframe)))
    }

    /// Queues the index, which is the last thing in the file.
    pub fn index(&mut self) -> Result<(), TraceError> {
        self.send(BlockType::Index, 0, Payload::Index)
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

/// The writer's thread.
struct Output {
    file: File,
    compressor: zstd::bulk::Compressor<'static>,
    memory_compressor: zstd::bulk::Compressor<'static>,
    encoder: BatchEncoder,
    keyframes: KeyframeEncoder,
    /// What the index will say.
    blocks: Vec<BlockHeader>,
    written: Arc<AtomicU64>,
    durable: Durable,
}

impl Output {
    fn write_all(mut self, blocks: &Receiver<RawBlock>, used: &Sender<Batch>) -> io::Result<()> {
        for RawBlock { kind, first_exit, payload } in blocks {
            match payload {
                Payload::Bytes(bytes) => self.write(kind, first_exit, &bytes)?,
                Payload::Sites(sites) => {
                    // Serializing to memory fails only when memory does.
                    let bytes = postcard::to_stdvec(&sites).map_err(io::Error::other)?;
                    self.encoder.sites(sites);
                    self.write(kind, first_exit, &bytes)?;
                }
                Payload::Exits(mut batch) => {
                    self.write_exits(first_exit, &mut batch)?;
                    // Nobody takes it back once the last batch is queued.
                    let _ = used.send(batch);
                }
                Payload::LastTiming => {
                    let (first_exit, bytes) = self.encoder.last_timing();
                    self.write(kind, first_exit, &bytes)?;
                }
                Payload::StartMemory(pages) => {
                    self.keyframes.start(&pages);
                    let bytes = memory::encode(pages.iter().map(|(number, _, content)| (number, content)));
                    self.write(kind, 0, &bytes)?;
                }
                Payload::KeyframePages(pages) => {
                    if let Some(contents) = self.keyframes.pages(&pages) {
                        self.write(kind, first_exit, &contents)?;
                    }
                }
                Payload::Keyframe(keyframe) => self.write_keyframe(&keyframe)?,
                Payload::Index => self.write_index()?,
            }
        }
        self.file.flush()?;
        self.durable.finish()
    }

    /// The keyframe itself goes last, as the inputs do.
    fn write_keyframe(&mut self, keyframe: &Keyframe) -> io::Result<()> {
        let (contents, changes) = self.keyframes.finish(keyframe.number);
        self.write(BlockType::Contents, keyframe.exit, &contents)?;
        for block in changes {
            self.write(BlockType::Changes, keyframe.exit, &block)?;
        }
        let bytes = postcard::to_stdvec(keyframe).map_err(io::Error::other)?;
        self.write(BlockType::Keyframe, keyframe.exit, &bytes)
    }

    /// A file with so many blocks that an index of them is none has to be walked.
    fn write_index(&mut self) -> io::Result<()> {
        let place = self.written.load(Ordering::Relaxed);
        let Some(bytes) = index::encode(&self.blocks, self.encoder.all_sites()) else { return Ok(()) };
        self.write(BlockType::Index, 0, &bytes)?;
        self.write(BlockType::IndexPlace, 0, &index::encode_place(place))
    }

    /// The inputs go last: where they are in the file, all that belongs to them is too.
    fn write_exits(&mut self, first_exit: u64, batch: &mut Batch) -> io::Result<()> {
        let encoded = self.encoder.encode(batch);
        self.write(BlockType::Timing, encoded.first_timing, &encoded.timings)?;
        self.write(BlockType::HeldTsc, first_exit, &encoded.held)?;
        self.write(BlockType::Digests, first_exit, &encoded.digests)?;
        self.write(BlockType::Inputs, first_exit, &encoded.inputs)
    }

    fn write(&mut self, kind: BlockType, first_exit: u64, payload: &[u8]) -> io::Result<()> {
        if payload.is_empty() {
            return Ok(());
        }
        let is_memory = matches!(kind, BlockType::Memory | BlockType::Contents);
        let compressor = if is_memory { &mut self.memory_compressor } else { &mut self.compressor };
        let (header, bytes) = encode_block(kind, first_exit, payload, compressor);
        if let Err(error) = self.file.write_all(&bytes) {
            // Cut off the part of a block that a full disk leaves behind: the file ends with a whole one.
            let _ = self.file.set_len(self.written.load(Ordering::Relaxed));
            return Err(error);
        }
        self.blocks.push(header);
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
