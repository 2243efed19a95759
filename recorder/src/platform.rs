//! The platform: everything outside the line around CPU + RAM, as the recorder sees it.
//!
//! A [`Platform`] answers the exits of one machine. [`crate::pc::Pc`] is the one Trapline ships; a VMM with devices of
//! its own records *them* by implementing this trait (see `examples/own_device.rs`).
//!
//! A platform never reads a clock: every call is told the [`Time`]. That is what lets `--clock virtual` make two
//! recordings of one guest identical.

use crate::timer::StopHandle;
use crate::transfer::Transfers;
use trapline_formats::{Gpa, GuestFile, NamedRange};

/// IA32_TIME_STAMP_COUNTER (SDM vol. 4). A platform that answers RDMSR of it says by that what clock reads show, too: those that were
/// rewritten, and those that were not where the guest's TSC is held.
pub(crate) const IA32_TSC: u32 = 0x10;
/// IA32_TSC_ADJUST (SDM vol. 4): a write moves the TSC.
pub(crate) const IA32_TSC_ADJUST: u32 = 0x3B;

/// Nanoseconds since the guest's start, on the clock of the recording (host or virtual).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

/// Whether some device answered an access, or nobody did (reads of nobody are all ones).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A device owns this address.
    Device,
    /// No device owns this address: the bus floats, reads give all ones, writes are dropped.
    Nobody,
}

/// The answer to an MSR access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MsrAnswer {
    /// RDMSR yields this value; for WRMSR the value is ignored and the write took effect.
    Value(u64),
    /// The access raises #GP(0) in the guest.
    GeneralProtection,
}

/// What the guest asked of the machine as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The guest asked for a reset (keyboard controller, port 0xCF9, port 0x92).
    Reset,
    /// The guest asked to be switched off.
    PowerOff,
    /// The guest wrote this code to the exit device (port 0xF4).
    Exit(u8),
}

/// What the CPU itself holds of its local APIC: writing these makes no exit, so the platform is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApicState {
    /// `IA32_APIC_BASE` (Intel SDM vol. 3, 11.4.4).
    pub base: u64,
    /// CR8, the class of the task priority (11.8.6).
    pub cr8: u8,
}

/// The devices of a machine.
pub trait Platform {
    /// Answers a port read of `data.len()` (1, 2 or 4) bytes.
    fn port_read(&mut self, now: Time, port: u16, data: &mut [u8]) -> Claim;
    /// Takes a port write of `data.len()` (1, 2 or 4) bytes.
    fn port_write(&mut self, now: Time, port: u16, data: &[u8]) -> Claim;
    /// Answers a read of `data.len()` (1 to 8) bytes from memory that is not RAM.
    fn mmio_read(&mut self, now: Time, gpa: Gpa, data: &mut [u8]) -> Claim;
    /// Takes a write of `data.len()` (1 to 8) bytes to memory that is not RAM.
    fn mmio_write(&mut self, now: Time, gpa: Gpa, data: &[u8]) -> Claim;
    /// Answers RDMSR of a register that KVM does not answer itself.
    fn msr_read(&mut self, now: Time, index: u32) -> MsrAnswer;
    /// Takes WRMSR of a register that KVM does not take itself.
    fn msr_write(&mut self, now: Time, index: u32, value: u64) -> MsrAnswer;

    /// Whether the interrupt controller asks the CPU for an interrupt at `now`. Timers that are due fire first.
    fn interrupt_pending(&mut self, now: Time) -> bool;
    /// The CPU takes the interrupt: the acknowledge cycle, which yields its vector. Called only after
    /// [`Platform::interrupt_pending`] said yes with the same `now`.
    fn acknowledge_interrupt(&mut self, now: Time) -> u8;
    /// When the next timer can change what [`Platform::interrupt_pending`] or [`Platform::nmi_pending`] says; `None` if no
    /// timer runs.
    fn next_deadline(&self) -> Option<Time>;

    /// Since when the interrupt that waits has been due, if a timer raised it: what its lateness is counted from. `None` where the
    /// platform does not say.
    fn interrupt_due(&self) -> Option<Time> {
        None
    }

    /// Whether a non-maskable interrupt waits. Asked after [`Platform::interrupt_pending`] with the same time.
    fn nmi_pending(&self) -> bool {
        false
    }
    /// The CPU takes the non-maskable interrupt that waits.
    fn acknowledge_nmi(&mut self) {}
    /// When the next timer can raise a non-maskable interrupt: what a CPU that halts with interrupts disabled waits for.
    fn next_nmi(&self) -> Option<Time> {
        None
    }

    /// What the CPU holds of its local APIC. Told before the first exit at which one of them is new.
    fn apic_state(&mut self, now: Time, state: ApicState) {
        let _ = (now, state);
    }
    /// CR8 as the task priority register of the local APIC has it; `None` where the platform has no local APIC. Asked after
    /// each write: a guest writes one register or the other, and both show it.
    fn cr8(&self) -> Option<u8> {
        None
    }

    /// Bytes typed at the console; returns how many were taken (the rest is offered again later).
    fn console_input(&mut self, now: Time, bytes: &[u8]) -> usize;
    /// Takes what the guest printed since the last call (asked after each write), as (channel, bytes): see [`Platform::console_channels`].
    fn take_console(&mut self, sink: &mut dyn FnMut(u8, &[u8]));
    /// Names of the console channels, by number ("COM1", "debug port 0x402").
    fn console_channels(&self) -> Vec<String>;
    /// Whether a device has something to read from guest memory, or to write there. Asked after each write, and where the guest
    /// stands between two instructions.
    fn has_transfer(&self) -> bool {
        false
    }
    /// Lets the devices transfer.
    fn transfer(&mut self, now: Time, memory: &mut Transfers<'_>) {
        let _ = (now, memory);
    }
    /// Whether something outside, a network, may have a transfer for the guest at any moment of host time. Who halts then waits for it,
    /// under the virtual clock too.
    fn is_live(&self) -> bool {
        false
    }
    /// A recording starts. Whatever comes in host time wakes its guest, from any thread, by [`StopHandle::wake`].
    fn start(&mut self, guest: &StopHandle) {
        let _ = guest;
    }
    /// The recording is at its end: when this returns, nothing wakes the guest any more.
    fn stop(&mut self) {}
    /// The files that the devices have; those that transfers may be from come first, by their numbers: see
    /// [`Transfers::write_from_file`].
    fn files(&self) -> Vec<GuestFile> {
        Vec::new()
    }

    /// Takes a request to end the run, if the guest has made one. Asked after each write.
    fn take_request(&mut self) -> Option<Request>;
    /// What the addresses are called, for reports: ranges of ports, guest-physical addresses and MSRs.
    fn names(&self) -> Vec<NamedRange>;
}
