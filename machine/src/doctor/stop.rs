//! How a probe guest came back from KVM_RUN.

use crate::exit::RunPage;
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_IO,
    KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO, KVM_EXIT_SET_TPR, KVM_EXIT_SHUTDOWN, KVM_EXIT_X86_RDMSR,
    KVM_EXIT_X86_WRMSR,
};
use std::fmt;

/// The exception and interrupt handlers of probe guests write their vector to this port.
pub(super) const VECTOR_PORT: u16 = 0xf5;

/// Probe guests at CPL 0 write to this port when they are done.
pub(super) const END_PORT: u16 = 0xf6;

/// How KVM_RUN came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// IN or INS: port, bytes of one element, elements.
    PortRead(u16, u8, u32),
    /// OUT or OUTS: port, first element.
    PortWrite(u16, u32),
    /// A handler of the guest ran: vector.
    Vector(u8),
    /// GPA, bytes.
    MmioRead(u64, usize),
    /// GPA, bytes.
    MmioWrite(u64, usize),
    /// Index, reason as KVM gives it.
    MsrRead(u32, u32),
    /// Index, reason as KVM gives it.
    MsrWrite(u32, u32),
    Halt,
    Window,
    SetTpr,
    /// Triple fault or shutdown.
    Shutdown,
    /// Linear address, DR6, exception.
    Debug(u64, u64, u32),
    /// KVM gave up on an instruction.
    EmulationFailure,
    /// Another internal error: suberror.
    Internal(u32),
    /// The processor refused to enter the guest: its reason.
    EntryFailure(u64),
    /// The watchdog or another kick got it out.
    Kicked,
    /// KVM_RUN failed: errno.
    Failed(i32),
    /// An exit reason that has no name here.
    Other(u32),
}

impl Stop {
    pub(super) fn of(result: Result<(), i32>, page: &mut RunPage) -> Self {
        match result {
            Ok(()) => Self::of_page(page),
            Err(libc::EINTR) => Self::Kicked,
            Err(errno) => Self::Failed(errno),
        }
    }

    fn of_page(page: &mut RunPage) -> Self {
        match page.get().exit_reason {
            KVM_EXIT_IO => {
                let (port, size, is_write, data) = page.io();
                let first = data.iter().take(size.into()).rev().fold(0, |all, b| all << 8 | u32::from(*b));
                match (is_write, port) {
                    (true, VECTOR_PORT) => Self::Vector(first as u8),
                    (true, _) => Self::PortWrite(port, first),
                    (false, _) => Self::PortRead(port, size, (data.len() / usize::from(size).max(1)) as u32),
                }
            }
            KVM_EXIT_MMIO => match page.mmio() {
                (gpa, true, data) => Self::MmioWrite(gpa, data.len()),
                (gpa, false, data) => Self::MmioRead(gpa, data.len()),
            },
            KVM_EXIT_X86_RDMSR => Self::MsrRead(page.msr().0, page.msr_reason()),
            KVM_EXIT_X86_WRMSR => Self::MsrWrite(page.msr().0, page.msr_reason()),
            KVM_EXIT_HLT => Self::Halt,
            KVM_EXIT_IRQ_WINDOW_OPEN => Self::Window,
            KVM_EXIT_SET_TPR => Self::SetTpr,
            KVM_EXIT_SHUTDOWN => Self::Shutdown,
            KVM_EXIT_INTR => Self::Kicked,
            KVM_EXIT_DEBUG => {
                let (pc, dr6, exception) = page.debug();
                Self::Debug(pc, dr6, exception)
            }
            KVM_EXIT_INTERNAL_ERROR => match page.internal_error().0 {
                1 => Self::EmulationFailure,
                suberror => Self::Internal(suberror),
            },
            KVM_EXIT_FAIL_ENTRY => Self::EntryFailure(page.entry_failure()),
            reason => Self::Other(reason),
        }
    }

    /// Whether KVM finishes the instruction at the next entry only (KVM API 5, "the vcpu is re-entered to complete").
    pub(super) fn is_unfinished(self) -> bool {
        matches!(
            self,
            Self::PortRead(..)
                | Self::PortWrite(..)
                | Self::Vector(_)
                | Self::MmioRead(..)
                | Self::MmioWrite(..)
                | Self::MsrRead(..)
                | Self::MsrWrite(..)
                | Self::SetTpr
        )
    }

    /// Whether KVM would go on from here. The others are the end of a guest.
    pub(super) fn can_go_on(self) -> bool {
        !matches!(
            self,
            Self::Shutdown
                | Self::EmulationFailure
                | Self::Internal(_)
                | Self::EntryFailure(_)
                | Self::Failed(_)
                | Self::Other(_)
        )
    }
}

/// The names of the exceptions (Intel SDM vol. 3, table 6-1).
const EXCEPTIONS: [&str; 22] = [
    "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP", "#SS", "#GP", "#PF",
    "15", "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
];

/// A vector in words.
pub(super) fn vector_name(vector: u8) -> String {
    EXCEPTIONS
        .get(usize::from(vector))
        .map_or_else(|| format!("interrupt {vector:#x}"), |name| (*name).to_owned())
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PortRead(port, size, count) => write!(f, "port read ({port:#x}, {count} x {size} bytes)"),
            Self::PortWrite(port, value) => write!(f, "port write ({port:#x}, {value:#x})"),
            Self::Vector(vector) => f.write_str(&vector_name(vector)),
            Self::MmioRead(gpa, bytes) => write!(f, "MMIO read ({gpa:#x}, {bytes} bytes)"),
            Self::MmioWrite(gpa, bytes) => write!(f, "MMIO write ({gpa:#x}, {bytes} bytes)"),
            Self::MsrRead(index, _) => write!(f, "RDMSR exit ({index:#x})"),
            Self::MsrWrite(index, _) => write!(f, "WRMSR exit ({index:#x})"),
            Self::Halt => f.write_str("HLT exit"),
            Self::Window => f.write_str("interrupt window exit"),
            Self::SetTpr => f.write_str("CR8 exit"),
            Self::Shutdown => f.write_str("triple fault"),
            Self::Debug(_, _, exception) => write!(f, "debug exit ({})", vector_name(exception as u8)),
            Self::EmulationFailure => f.write_str("emulation failure"),
            Self::Internal(suberror) => write!(f, "KVM internal error {suberror}"),
            Self::EntryFailure(reason) => write!(f, "entry failure {reason:#x}"),
            Self::Kicked => f.write_str("hangs until kicked"),
            Self::Failed(errno) => {
                write!(f, "KVM_RUN fails: {}", std::io::Error::from_raw_os_error(errno))
            }
            Self::Other(reason) => write!(f, "exit reason {reason}"),
        }
    }
}
