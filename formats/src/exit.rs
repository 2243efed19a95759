//! Exits, the sites they come from, and the events placed between them.

use crate::address::{Gva, Space};
use serde::{Deserialize, Serialize};

/// Why the guest left the processor. Append-only: the discriminants are in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ExitKind {
    /// A port read (`IN`, `INS`). Its data is an input.
    PortRead,
    /// A port write (`OUT`, `OUTS`). Its data is an output.
    PortWrite,
    /// A read of memory that is not RAM. Its data is an input.
    MmioRead,
    /// A write of memory that is not RAM. Its data is an output.
    MmioWrite,
    /// RDMSR that KVM handed to us. Its data is an input; it may fault.
    MsrRead,
    /// WRMSR that KVM handed to us. Its data is an output; whether it faults is an input.
    MsrWrite,
    /// HLT: the guest waits. Its time is idleness, not cost.
    Halt,
    /// The guest can take the interrupt that we asked to be told about.
    InterruptWindow,
    /// The guest lowered CR8 (its task priority). Its data is an output.
    SetTpr,
    /// A clock read (RDTSC, RDTSCP), rewritten or finished. Its data is an input.
    ClockRead,
    /// Triple fault: the processor shut down.
    Shutdown,
    /// An instruction that KVM gave up on, and that was finished for it. No data: its effect is a function of the guest's
    /// state.
    Unfinished,
    /// RDRAND or RDSEED, rewritten or finished. Its data is an input.
    RandomRead,
}

impl ExitKind {
    /// Every kind, in the order of the discriminants.
    pub const ALL: [ExitKind; 13] = [
        Self::PortRead,
        Self::PortWrite,
        Self::MmioRead,
        Self::MmioWrite,
        Self::MsrRead,
        Self::MsrWrite,
        Self::Halt,
        Self::InterruptWindow,
        Self::SetTpr,
        Self::ClockRead,
        Self::Shutdown,
        Self::Unfinished,
        Self::RandomRead,
    ];

    /// The short name in reports, JSON and Parquet.
    pub fn name(self) -> &'static str {
        match self {
            Self::PortRead => "port-read",
            Self::PortWrite => "port-write",
            Self::MmioRead => "mmio-read",
            Self::MmioWrite => "mmio-write",
            Self::MsrRead => "msr-read",
            Self::MsrWrite => "msr-write",
            Self::Halt => "halt",
            Self::InterruptWindow => "interrupt-window",
            Self::SetTpr => "set-tpr",
            Self::ClockRead => "clock-read",
            Self::Shutdown => "shutdown",
            Self::Unfinished => "unfinished",
            Self::RandomRead => "random-read",
        }
    }

    /// The address space that [`Site::address`] is in; `None` where the exit has no address.
    pub fn space(self) -> Option<Space> {
        match self {
            Self::PortRead | Self::PortWrite => Some(Space::Port),
            Self::MmioRead | Self::MmioWrite => Some(Space::Mmio),
            Self::MsrRead | Self::MsrWrite => Some(Space::Msr),
            _ => None,
        }
    }

    /// Whether the exit's data crosses inward: it is what the guest could not have known.
    pub fn is_input(self) -> bool {
        matches!(self, Self::PortRead | Self::MmioRead | Self::MsrRead | Self::ClockRead | Self::RandomRead)
    }

    /// Whether the exit carries data at all.
    pub fn has_data(self) -> bool {
        !matches!(self, Self::Halt | Self::InterruptWindow | Self::Shutdown | Self::Unfinished)
    }

    /// Whether the access may fault: one more input.
    pub fn may_fault(self) -> bool {
        matches!(self, Self::MsrRead | Self::MsrWrite)
    }
}

/// How the processor decodes instructions at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CpuMode {
    /// Real mode.
    Real16,
    /// Protected mode, 16-bit code segment (virtual-8086 mode included).
    Protected16,
    /// Protected mode or compatibility mode, 32-bit code segment.
    Protected32,
    /// 64-bit mode.
    Long64,
}

impl CpuMode {
    /// Operand and address width that a decoder takes: 16, 32 or 64.
    pub fn bits(self) -> u32 {
        match self {
            Self::Real16 | Self::Protected16 => 16,
            Self::Protected32 => 32,
            Self::Long64 => 64,
        }
    }

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Real16 => "real16",
            Self::Protected16 => "prot16",
            Self::Protected32 => "prot32",
            Self::Long64 => "long64",
        }
    }
}

/// The instruction that trapped, at its own first byte: the canonical instruction address of an exit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instruction {
    /// Linear address of its first byte.
    pub address: Gva,
    /// Its bytes, as they were when the site was first seen. Empty where memory could not be read.
    pub bytes: Vec<u8>,
    /// The mode it is decoded in.
    pub mode: CpuMode,
    /// Current privilege level, 0 to 3.
    pub cpl: u8,
}

/// Where an exit comes from: one instruction doing one thing to one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Site {
    /// What it does.
    pub kind: ExitKind,
    /// Port, GPA or MSR index; 0 where the kind has no address.
    pub address: u64,
    /// Bytes of one element: 1, 2, 4 or 8; 0 where the kind has no data.
    pub size: u8,
    /// Whether the instruction repeats (REP INS, REP OUTS): exits then carry a count.
    pub rep: bool,
    /// The instruction.
    pub instruction: Instruction,
}

/// One exit, its data borrowed from the chunk it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit<'a> {
    /// Its number.
    pub index: u64,
    /// Number of its site in the dictionary.
    pub site: u32,
    /// Input or output bytes, `size * count` of them, little-endian elements.
    pub data: &'a [u8],
    /// Whether the access raised #GP in the guest.
    pub fault: bool,
}

/// Something the host did to the guest after an exit. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Event {
    /// An external interrupt was queued with this vector.
    Interrupt {
        /// The interrupt vector.
        vector: u8,
    },
    /// A non-maskable interrupt was queued.
    Nmi,
    /// From here on, KVM is asked to exit when the guest can take an interrupt.
    WindowRequested,
    /// KVM is no longer asked.
    WindowCancelled,
    /// The complete CPU state was compared here (a checkpoint stands in the digest stream).
    Checkpoint,
    /// CR8 was set: the guest wrote the task priority register of its local APIC, which is the same register.
    TaskPriority {
        /// The new CR8, 0 to 15.
        cr8: u8,
    },
    /// Guest memory was written by the host.
    MemoryWrite {
        /// Guest-physical address.
        gpa: u64,
        /// What was written, at most [`Event::LONGEST_WRITE`] bytes.
        bytes: Box<[u8]>,
    },
    /// The host made the guest go on at this instruction.
    Jump {
        /// The new RIP.
        rip: u64,
    },
    /// Guest memory was written by the host with what a file holds.
    FileRead {
        /// Guest-physical address.
        gpa: u64,
        /// Number of the file among [`Header::files`](crate::Header::files).
        file: u32,
        /// Where in the file.
        offset: u64,
        /// Bytes, at most [`Event::LONGEST_WRITE`].
        length: u32,
        /// XXH3-64 of these bytes.
        xxh3: u64,
    },
    /// A keyframe stands here: complete state and memory.
    Keyframe {
        /// Which of the trace, see [`Keyframe::number`](crate::Keyframe::number).
        number: u32,
        /// A replay takes it over here, instead of executing up to it: see [`Keyframe::carried`](crate::Keyframe::carried).
        carried: bool,
    },
}

impl Event {
    /// The most bytes that one event writes: a larger transfer is several.
    pub const LONGEST_WRITE: usize = 64 << 10;

    /// The name in reports, JSON and Parquet.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Interrupt { .. } => "interrupt",
            Self::Nmi => "nmi",
            Self::WindowRequested => "window-requested",
            Self::WindowCancelled => "window-cancelled",
            Self::Checkpoint => "checkpoint",
            Self::TaskPriority { .. } => "task-priority",
            Self::MemoryWrite { .. } => "memory-write",
            Self::Jump { .. } => "jump",
            Self::FileRead { .. } => "file-read",
            Self::Keyframe { carried: false, .. } => "keyframe",
            Self::Keyframe { carried: true, .. } => "carried-keyframe",
        }
    }
}
