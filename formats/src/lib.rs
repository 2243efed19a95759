//! What a Trapline trace file is.
//!
//! A trace holds everything that crossed the line around one vCPU and its memory: a snapshot at its head, then streams of
//! inputs, timing, digests and console text. This crate reads and writes it; it knows neither KVM nor data frames.
//! `formats/SPEC.md` is what it follows, byte by byte.
//!
//! ```no_run
//! use trapline_formats::Trace;
//!
//! let trace = Trace::open("run.trap".as_ref())?;
//! for chunk in trace.inputs() {
//!     for exit in chunk?.exits() {
//!         let site = &trace.sites()[exit.site as usize];
//!         println!("{} {} {:#x} {:x?}", exit.index, site.kind.name(), site.address, exit.data);
//!     }
//! }
//! # Ok::<(), trapline_formats::TraceError>(())
//! ```
#![forbid(unsafe_code)]

mod address;
mod batch;
mod console;
pub mod digests;
mod disassembly;
mod durable;
mod end;
pub mod envelope;
mod error;
mod exit;
mod header;
mod held_tsc;
mod index;
mod inputs;
mod keyframe;
pub mod memory;
mod preemption;
mod prices;
mod reader;
mod sparse;
mod state;
pub mod timing;
mod tripwires;
mod varint;
mod writer;
mod xsave_names;

pub use address::{ExitIndex, Gpa, Gva, NamedRange, Space};
pub use batch::{Batch, RawExit};
pub use console::{ConsoleEncoder, ConsoleText, decode as decode_console, printable};
pub use disassembly::disassemble;
pub use end::{End, EndReason, LateRewrite, Unclaimed, Unclosed};
pub use error::{Malformed, TraceError};
pub use exit::{CpuMode, Event, Exit, ExitKind, Instruction, Site};
pub use header::{
    ClockMode, CpuidEntry, GuestFile, Header, Host, MemoryRegion, MsrRange, Rewrite, StandIns, Suspect,
};
pub use held_tsc::{HeldTsc, HeldValue};
pub use inputs::{InputChunk, InputEncoder, scalar};
pub use keyframe::{CHANGES_PER_BLOCK, Change, Content, Keyframe, Pages, decode_changes, encode_changes};
pub use preemption::{Preempt, Preemption, Spread};
pub use prices::{Estimate, Price, PriceList, Unpriced};
pub use reader::{BlockPlace, Damage, Keyframes, MAX_SITES, Trace};
pub use state::{
    CONTROL_NAMES, CpuState, DebugRegisters, Difference, GENERAL_NAMES, PendingEvents, RFLAGS_RF, Registers,
    SEGMENT_NAMES, Segment, SystemRegisters,
};
pub use timing::{Timing, TimingEncoder};
pub use writer::TraceWriter;
