//! A whole trace: its blocks are of any kind, order, length and content, and their checksums are right.
//!
//! Whatever it is: it is refused or read, in bounds of memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use trapline_formats_fuzz::{File, MIB, pieces, read_all, whole, within};

static FILE: LazyLock<File> = LazyLock::new(File::new);

fuzz_target!(|bytes: &[u8]| {
    let blocks = pieces(bytes);
    let file = whole(&blocks);
    let path = FILE.with(&file);
    within(256 * MIB, || {
        let Some(trace) = read_all(&path) else { return };
        assert_eq!(trace.bytes(), file.len() as u64);
        assert!(trace.has_index() || trace.blocks().len() <= blocks.len());
    });
    // Cut off inside its last block, it is never more than it was.
    let path = FILE.with(&file[..file.len() - 1]);
    within(256 * MIB, || {
        let trace = read_all(&path);
        assert!(trace.is_none_or(|trace| !trace.has_index() && trace.blocks().len() < blocks.len()));
    });
});
