//! What a trace says about itself before its first exit.

use crate::address::NamedRange;
use crate::preemption::Preempt;
use serde::{Deserialize, Serialize};

/// Where the clock of the devices came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ClockMode {
    /// Device time followed host time.
    #[default]
    Host,
    /// Device time advanced by a fixed step per exit and jumped to the next deadline at HLT.
    Virtual,
}

/// The machine that made the recording.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// The KVM engine: `kvm_intel`, `kvm_amd`, `kvm_pvm`, or `kvm` where its module is not named.
    pub engine: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// CPU vendor string (CPUID leaf 0).
    pub cpu_vendor: String,
    /// CPU brand string (CPUID leaves 0x80000002-4), empty where the processor has none.
    pub cpu_brand: String,
    /// CPU family, model, stepping (CPUID leaf 1 EAX).
    pub cpu_signature: u32,
    /// Microcode revision, 0 if unknown.
    pub microcode: u32,
    /// KVM capabilities that the recording used or that change what a guest sees: (name, value).
    pub capabilities: Vec<(String, i64)>,
}

/// A file that the guest was loaded from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestFile {
    /// What it was: "firmware", "flat image".
    pub role: String,
    /// Its file name, without directories.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-64 of its content.
    pub xxh3: u64,
}

/// A piece of guest-physical memory that the vCPU reads without an exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRegion {
    /// First guest-physical address.
    pub gpa: u64,
    /// Size in bytes, a multiple of 4096.
    pub bytes: u64,
    /// Writes exit as MMIO (ROM).
    pub readonly: bool,
}

/// A range of MSRs that KVM answers itself, because guest state alone decides the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsrRange {
    /// First MSR index.
    pub start: u32,
    /// First index after the range.
    pub end: u32,
}

/// One row of the fixed CPUID table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CpuidEntry {
    /// Leaf.
    pub leaf: u32,
    /// Subleaf.
    pub subleaf: u32,
    /// KVM's flags (bit 0: the subleaf is significant).
    pub flags: u32,
    /// EAX, EBX, ECX, EDX.
    pub registers: [u32; 4],
}

/// An instruction whose result the host decides, rewritten into one that traps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// Guest-physical address of its first byte, where it was rewritten.
    pub gpa: u64,
    /// The bytes that were there.
    pub original: Vec<u8>,
    /// The bytes that are there now.
    pub replacement: Vec<u8>,
    /// How the site was found: "disassembly from entry points", "named by the user".
    pub found_by: String,
}

/// A place that holds the bytes of an unclosed source but was not proved to be an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// Guest-physical address.
    pub gpa: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Ports that stand for instructions which were rewritten into `OUT imm8, AL` to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StandIns {
    /// RDTSC.
    pub clock: Option<u8>,
    /// RDTSCP, RDRAND and RDSEED, which are longer: what follows says which of them.
    pub long: Option<u8>,
}

/// Everything a reader needs before the first exit, apart from the start state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Header {
    /// Version of the recorder.
    pub recorder: String,
    /// Where it was recorded.
    pub host: Host,
    /// The clock of the devices.
    pub clock: ClockMode,
    /// Where interrupts were given to the guest.
    pub preempt: Preempt,
    /// How the guest was entered: "firmware", "flat 64-bit".
    pub entry: String,
    /// Files the guest was loaded from.
    pub files: Vec<GuestFile>,
    /// Guest memory.
    pub memory: Vec<MemoryRegion>,
    /// The fixed CPUID table.
    pub cpuid: Vec<CpuidEntry>,
    /// MSRs that KVM answers itself.
    pub msrs_allowed: Vec<MsrRange>,
    /// Ticks per second of the timing stream.
    pub tick_hz: u64,
    /// The clock of the timing stream: "tsc", "CLOCK_MONOTONIC_RAW".
    pub tick_source: String,
    /// The ports that stand for rewritten instructions.
    pub stand_ins: StandIns,
    /// Instructions rewritten before the start.
    pub rewrites: Vec<Rewrite>,
    /// Bytes that look like an unclosed source, not proved to be one.
    pub suspects: Vec<Suspect>,
    /// Names of the console channels, by number.
    pub console_channels: Vec<String>,
    /// What the addresses are called.
    pub names: Vec<NamedRange>,
}
