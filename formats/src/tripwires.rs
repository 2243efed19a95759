//! Numbers that are in files. One that changes here makes every trace of version 1 unreadable: SPEC.md, section 8, says what
//! changing it takes.

use crate::digests::COMPARED;
use crate::envelope::{
    BLOCK_HEADER_BYTES, BlockType, FILE_HEADER_BYTES, FLAG_NEEDED, FLAG_ZSTD, MAX_BLOCK_BYTES, VERSION,
};
use crate::exit::{CpuMode, Event, ExitKind};
use crate::memory::{PAGE_BYTES, PAGES_PER_BLOCK};
use crate::{ClockMode, Preempt, Space};

/// Stops the compilation where a number is not what the specification says.
macro_rules! fixed {
    ($($value:expr => $number:expr),* $(,)?) => {
        $(const _: () = assert!(
            $value as u64 == $number,
            "a number of the trace format has changed: formats/SPEC.md, section 8"
        );)*
    };
}

fixed! {
    VERSION => 1, FILE_HEADER_BYTES => 16, BLOCK_HEADER_BYTES => 32, MAX_BLOCK_BYTES => 64 << 20, FLAG_ZSTD => 1,
    FLAG_NEEDED => 2, PAGE_BYTES => 4096, PAGES_PER_BLOCK => 256, COMPARED => 17, Event::LONGEST_WRITE => 65536,
    BlockType::Header => 1, BlockType::StartState => 2, BlockType::Memory => 3, BlockType::Sites => 4,
    BlockType::Inputs => 5, BlockType::Timing => 6, BlockType::Digests => 7, BlockType::Console => 8,
    BlockType::End => 9, BlockType::Contents => 10, BlockType::Changes => 11, BlockType::Keyframe => 12,
    BlockType::Index => 13, BlockType::IndexPlace => 14, BlockType::HeldTsc => 15,
    ExitKind::PortRead => 0, ExitKind::PortWrite => 1, ExitKind::MmioRead => 2, ExitKind::MmioWrite => 3,
    ExitKind::MsrRead => 4, ExitKind::MsrWrite => 5, ExitKind::Halt => 6, ExitKind::InterruptWindow => 7,
    ExitKind::SetTpr => 8, ExitKind::ClockRead => 9, ExitKind::Shutdown => 10, ExitKind::Unfinished => 11,
    ExitKind::RandomRead => 12,
    CpuMode::Real16 => 0, CpuMode::Protected16 => 1, CpuMode::Protected32 => 2, CpuMode::Long64 => 3,
    Space::Port => 0, Space::Mmio => 1, Space::Msr => 2, ClockMode::Host => 0, ClockMode::Virtual => 1,
    Preempt::Exits => 0, Preempt::Positions => 1,
}
