//! Blocks of a few kilobytes that would decode to gigabytes.

use crate::bounds::{alone, folder, reads, within_bounds};
use std::path::Path;
use trapline_formats::digests::{Checkpoint, DigestEncoder, MemoryDigest};
use trapline_formats::envelope::{BlockType, most_raw_bytes};
use trapline_formats::{
    CHANGES_PER_BLOCK, Change, Content, CpuState, Header, Keyframe, MemoryRegion, Trace, TraceWriter,
    encode_changes,
};

/// Blocks of each type in one trace.
const BLOCKS: usize = 8;

/// Writes a trace of a header and these blocks.
fn write(path: &Path, kind: BlockType, payload: &[u8]) {
    let mut writer = TraceWriter::create(path, true).unwrap();
    let memory = vec![MemoryRegion { gpa: 0, bytes: 64 << 20, readonly: false }];
    let header = Header { memory, ..Header::default() };
    writer.block(BlockType::Header, 0, postcard::to_stdvec(&header).unwrap()).unwrap();
    for _ in 0..BLOCKS {
        writer.block(kind, 0, payload.to_vec()).unwrap();
    }
    writer.finish().unwrap();
    let bytes = path.metadata().unwrap().len();
    assert!(bytes < 4 << 20, "{kind:?}: {bytes} bytes");
}

/// A list as postcard has it, its length first: as long as a block of this type has room for behind what else is in it.
fn list(kind: BlockType, before: &[u8], each: &[u8]) -> Vec<u8> {
    let room = most_raw_bytes(kind as u16) as usize - before.len() - 16;
    let count = room / each.len();
    [before, &postcard::to_stdvec(&count).unwrap(), &each.repeat(count)].concat()
}

#[test]
fn small_blocks_that_decode_to_much_stay_within_bounds() {
    let _turn = alone();
    let folder = folder();
    let path = folder.path().join("bomb.trap");
    let fill =
        |kind: BlockType, each: &[u8]| each.repeat((most_raw_bytes(kind as u16) as usize - 16) / each.len());
    // One is encoded, and repeated: so many of them would not fit into memory here either.
    let checkpoints = |number: usize, cpu: &CpuState, memory: MemoryDigest| {
        let one = postcard::to_stdvec(&Checkpoint { exit: 0, cpu: cpu.clone(), memory }).unwrap();
        let head = [DigestEncoder::default().take()[..1].to_vec(), postcard::to_stdvec(&number).unwrap()];
        [head.concat(), one.repeat(number)].concat()
    };
    let large = CpuState { xsave: vec![0; 1 << 20], ..CpuState::default() };
    // The last byte is the length of the list of pages.
    let mut checkpoint = checkpoints(1, &CpuState::default(), MemoryDigest::All(Vec::new()));
    checkpoint.pop();
    let bombs = [
        ("sites", BlockType::Sites, list(BlockType::Sites, &[], &[0; 8])),
        ("sites with bytes", BlockType::Sites, list(BlockType::Sites, &[], &[0, 0, 0, 0, 0, 1, 0x90, 0, 0])),
        ("events", BlockType::Inputs, fill(BlockType::Inputs, &[0, 1])),
        ("writes of nothing", BlockType::Inputs, fill(BlockType::Inputs, &[0, 6, 0, 0])),
        ("times", BlockType::Timing, fill(BlockType::Timing, &[0; 4])),
        ("console texts", BlockType::Console, fill(BlockType::Console, &[0, 0, 0])),
        ("zeros in a header", BlockType::Header, fill(BlockType::Header, &[0])),
        ("checkpoints", BlockType::Digests, checkpoints(20_000, &large, MemoryDigest::None)),
        ("one page, often", BlockType::Digests, list(BlockType::Digests, &checkpoint, &[0; 2])),
    ];
    for (what, kind, payload) in bombs {
        write(&path, kind, &payload);
        within_bounds(what, || {
            reads(&path);
            // What is readable is readable: nothing above failed for want of a trace.
            assert_eq!(Trace::open(&path).unwrap().header().memory.len(), 1, "{what}");
        });
    }
}

/// Lists of pages that come before a keyframe: each takes a few hundred bytes in the file, and two megabytes in memory.
#[test]
fn a_keyframe_of_more_pages_than_its_guest_has_stays_within_bounds() {
    let _turn = alone();
    let folder = folder();
    let path = folder.path().join("bomb.trap");
    let memory = vec![MemoryRegion { gpa: 0, bytes: 64 << 20, readonly: false }];
    for said in [0, (64 << 20) / 4096, u64::MAX] {
        let mut writer = TraceWriter::create(&path, true).unwrap();
        let header = Header { memory: memory.clone(), ..Header::default() };
        writer.block(BlockType::Header, 0, postcard::to_stdvec(&header).unwrap()).unwrap();
        let pages = vec![Change { page: 0, hash: 0, content: Content::Zeros }; CHANGES_PER_BLOCK];
        for _ in 0..500 {
            writer.block(BlockType::Changes, 0, encode_changes(0, &pages)).unwrap();
        }
        let cpu = CpuState::default();
        let keyframe =
            Keyframe { number: 0, exit: 0, carried: false, window_requested: false, cpu, changes: said };
        writer.block(BlockType::Keyframe, 0, postcard::to_stdvec(&keyframe).unwrap()).unwrap();
        writer.finish().unwrap();
        assert!(path.metadata().unwrap().len() < 4 << 20);
        within_bounds("changes", || {
            reads(&path);
            assert!(Trace::open(&path).unwrap().keyframes().changes(0).is_err());
        });
    }
}
