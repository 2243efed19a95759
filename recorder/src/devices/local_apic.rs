//! The local APIC (Intel SDM vol. 3, chapter 11): takes interrupt messages, its own timer and the line of the 8259A, and
//! offers the CPU one interrupt at a time by priority.
//!
//! It is switched on as firmware leaves it: enabled in `IA32_APIC_BASE`, LINT0 unmasked as `ExtINT`, so that the 8259A reaches
//! the CPU ("virtual wire mode", MultiProcessor Specification 1.4, 3.6.2.2). A guest that never heard of an APIC finds a PC/AT.
//!
//! | left out | why |
//! |---|---|
//! | TSC-deadline mode | its CPUID bit is hidden |
//! | arbitration priority and remote read | gone since the Pentium 4 (11.6.2.4, 11.8.3.1): they read as zero |
//! | suppressing the EOI broadcast | optional (11.8.5); the version register says so |
//! | level-triggered LINT pins | a LINT pin requests at its rising edge |

mod command;
mod registers;
mod x2apic;

use super::apic_timer::ApicTimer;
use super::interrupt_message::{DeliveryMode, Destination, InterruptMessage};
use super::vector_set::VectorSet;
use crate::platform::Time;

pub use registers::{NAMES, Refused};

/// `IA32_APIC_BASE` (11.4.4): this processor is the bootstrap processor.
pub const BASE_BSP: u64 = 1 << 8;
/// `IA32_APIC_BASE`: x2APIC mode (11.12.1).
pub const BASE_X2APIC: u64 = 1 << 10;
/// `IA32_APIC_BASE`: the APIC is enabled.
pub const BASE_ENABLE: u64 = 1 << 11;
/// Where the registers are after reset.
pub const DEFAULT_ADDRESS: u64 = 0xFEE0_0000;
/// Bytes of address space that they take.
pub const LENGTH: u64 = 0x1000;

/// Spurious-interrupt vector register: the APIC is enabled by software.
const SVR_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const LVT_PERIODIC: u32 = 1 << 17;
const DFR_RESET: u32 = 0xFFFF_FFFF;

/// Errors (11.5.3).
const ERROR_SEND_ILLEGAL: u32 = 1 << 5;
const ERROR_RECEIVED_ILLEGAL: u32 = 1 << 6;
const ERROR_ILLEGAL_REGISTER: u32 = 1 << 7;

/// The local vector table, in the order of its registers.
mod local {
    pub const TIMER: usize = 0;
    pub const LINT0: usize = 3;
    pub const ERROR: usize = 5;
    pub const COUNT: usize = 6;
}

/// The local APIC of the one processor.
#[derive(Debug)]
pub struct LocalApic {
    base: u64,
    /// Register 2, with the id in bits 31:24.
    id: u32,
    tpr: u8,
    ldr: u32,
    dfr: u32,
    svr: u32,
    errors: u32,
    /// Errors since the guest last asked for them.
    new_errors: u32,
    command: u64,
    lvt: [u32; local::COUNT],
    timer: ApicTimer,
    irr: VectorSet,
    isr: VectorSet,
    tmr: VectorSet,
    nmi: bool,
    init: bool,
    lint0: bool,
    /// An EOI that the I/O APIC is to hear of.
    ended: Option<u8>,
    /// What the CPU is offered.
    request: Option<u8>,
}

impl Default for LocalApic {
    fn default() -> Self {
        let mut apic = Self {
            base: DEFAULT_ADDRESS | BASE_ENABLE | BASE_BSP,
            id: 0,
            tpr: 0,
            ldr: 0,
            dfr: DFR_RESET,
            svr: 0xFF,
            errors: 0,
            new_errors: 0,
            command: 0,
            lvt: [LVT_MASKED; local::COUNT],
            timer: ApicTimer::default(),
            irr: VectorSet::default(),
            isr: VectorSet::default(),
            tmr: VectorSet::default(),
            nmi: false,
            init: false,
            lint0: false,
            ended: None,
            request: None,
        };
        apic.lvt[local::LINT0] = 0x700;
        apic
    }
}

impl LocalApic {
    /// Where the registers are in memory; `None` in x2APIC mode and while the APIC is disabled.
    #[inline]
    pub fn address(&self) -> Option<u64> {
        (self.base & (BASE_ENABLE | BASE_X2APIC) == BASE_ENABLE).then_some(self.base & !(LENGTH - 1))
    }

    /// The guest wrote `IA32_APIC_BASE`. Disabling resets the APIC (11.4.3).
    pub fn set_base(&mut self, base: u64) {
        if base & BASE_ENABLE == 0 {
            let (tpr, lint0) = (self.tpr, self.lint0);
            *self = Self { lvt: [LVT_MASKED; local::COUNT], tpr, lint0, ..Self::default() };
        }
        self.base = base;
        self.update();
    }

    /// CR8, which is the class of the task priority (11.8.6).
    #[inline]
    pub fn cr8(&self) -> u8 {
        self.tpr >> 4
    }

    /// The guest wrote CR8.
    pub fn set_cr8(&mut self, cr8: u8) {
        if cr8 != self.cr8() {
            self.set_task_priority(cr8 << 4);
        }
    }

    /// Whether the CPU is offered an interrupt.
    #[inline]
    pub fn interrupt(&self) -> bool {
        self.request.is_some()
    }

    /// The CPU takes the interrupt. If it has gone, the vector is the spurious one, which needs no EOI (11.9).
    pub fn acknowledge(&mut self) -> u8 {
        let Some(vector) = self.request else { return self.svr as u8 };
        self.irr.remove(vector);
        self.isr.insert(vector);
        self.update();
        vector
    }

    /// Whether a non-maskable interrupt waits.
    #[inline]
    pub fn nmi(&self) -> bool {
        self.nmi
    }

    /// The CPU takes the non-maskable interrupt.
    pub fn acknowledge_nmi(&mut self) {
        self.nmi = false;
    }

    /// Takes an INIT that the guest sent to itself.
    pub fn take_init(&mut self) -> bool {
        std::mem::take(&mut self.init)
    }

    /// Takes the vector whose EOI the I/O APIC is to hear of.
    pub fn take_ended(&mut self) -> Option<u8> {
        self.ended.take()
    }

    /// Whether the 8259A's interrupt line reaches the CPU as if there were no APIC.
    pub fn passes_extint(&self) -> bool {
        self.base & BASE_ENABLE == 0 || self.hears_lint0(DeliveryMode::ExtInt)
    }

    /// Sets the level of LINT0, the 8259A's interrupt line.
    #[inline]
    pub fn set_lint0(&mut self, high: bool) {
        let rises = high && !self.lint0;
        self.lint0 = high;
        if rises {
            self.raise_lint0();
        }
    }

    #[cold]
    fn raise_lint0(&mut self) {
        if self.hears_lint0(DeliveryMode::Nmi) {
            self.nmi = true;
        } else if self.hears_lint0(DeliveryMode::Fixed) {
            self.request_local(local::LINT0);
        }
    }

    /// Whether a rising edge of LINT0 could change what the CPU is offered.
    pub fn notices_lint0(&self) -> bool {
        self.lint0_raises_nmi()
            || self.hears_lint0(DeliveryMode::Fixed) && self.deliverable(self.lvt[local::LINT0] as u8)
    }

    /// Whether a rising edge of LINT0 is a non-maskable interrupt.
    pub fn lint0_raises_nmi(&self) -> bool {
        self.base & BASE_ENABLE != 0 && self.hears_lint0(DeliveryMode::Nmi)
    }

    fn hears_lint0(&self, mode: DeliveryMode) -> bool {
        let entry = self.lvt[local::LINT0];
        entry & LVT_MASKED == 0 && DeliveryMode::of(entry) == mode
    }

    /// Lets the timer's expiries up to `now` happen. One that comes while the timer is masked is lost.
    pub fn fire(&mut self, now: Time) {
        self.timer.fire(now);
        if self.timer.take_expiry() && self.lvt[local::TIMER] & LVT_MASKED == 0 {
            self.request_local(local::TIMER);
        }
    }

    /// When the timer, if it is unmasked, expires next.
    pub fn deadline(&self) -> Option<Time> {
        self.timer.deadline().filter(|_| self.lvt[local::TIMER] & LVT_MASKED == 0)
    }

    /// Whether an expiry of the timer could change what the CPU is offered.
    pub fn notices_timer(&self) -> bool {
        self.deliverable(self.lvt[local::TIMER] as u8)
    }

    /// Takes a message; false if it is not for this APIC, or this APIC does not take it now.
    pub fn accept(&mut self, message: &InterruptMessage) -> bool {
        if !self.is_for_me(message) {
            return false;
        }
        self.take(message.mode, message.vector, message.level);
        true
    }

    /// Whether a message like this could change what the CPU is offered.
    pub fn notices(&self, message: &InterruptMessage) -> bool {
        let passes = message.mode != DeliveryMode::Fixed || self.deliverable(message.vector);
        passes && self.is_for_me(message)
    }

    /// Disabled by software, the APIC still takes NMI and INIT, but no vectors (11.4.7.2).
    fn is_for_me(&self, message: &InterruptMessage) -> bool {
        self.base & BASE_ENABLE != 0
            && (message.mode != DeliveryMode::Fixed || self.svr & SVR_ENABLE != 0)
            && self.matches(message.destination)
    }

    fn take(&mut self, mode: DeliveryMode, vector: u8, level: bool) {
        match mode {
            DeliveryMode::Fixed => self.request_vector(vector, level),
            DeliveryMode::Nmi => self.nmi = true,
            DeliveryMode::Init => self.init = true,
            // There is no SMM here, and a processor that runs does not heed a start-up message (11.6.1).
            DeliveryMode::Smi | DeliveryMode::StartUp | DeliveryMode::ExtInt | DeliveryMode::Reserved => {}
        }
    }

    /// Whether this APIC is addressed (11.6.2).
    fn matches(&self, destination: Destination) -> bool {
        let is_x2apic = self.base & BASE_X2APIC != 0;
        match destination {
            Destination::Physical(id) => {
                id == 0xFF || id == 0xFFFF_FFFF || id == if is_x2apic { 0 } else { self.id >> 24 }
            }
            Destination::Logical(set) if is_x2apic => {
                let me = self.logical_id();
                set == 0xFFFF_FFFF || set >> 16 == me >> 16 && set & me & 0xFFFF != 0
            }
            Destination::Logical(set) => {
                let me = self.ldr >> 24;
                if self.dfr >> 28 == 0xF {
                    return set & me != 0;
                }
                (set >> 4 == me >> 4 || set >> 4 == 0xF) && set & me & 0xF != 0
            }
        }
    }

    /// The logical destination register; in x2APIC mode it follows from the id, 0 (11.12.10.2).
    fn logical_id(&self) -> u32 {
        if self.base & BASE_X2APIC != 0 { 1 } else { self.ldr }
    }

    fn request_vector(&mut self, vector: u8, level: bool) {
        if vector < 16 {
            return self.error(ERROR_RECEIVED_ILLEGAL);
        }
        self.irr.insert(vector);
        self.tmr.set(vector, level);
        self.update();
    }

    fn request_local(&mut self, entry: usize) {
        self.request_vector(self.lvt[entry] as u8, false);
    }

    fn error(&mut self, bit: u32) {
        self.new_errors |= bit;
        let entry = self.lvt[local::ERROR];
        // An illegal vector in this entry would be one more error, which is already noted.
        if entry & LVT_MASKED == 0 && entry as u8 >= 16 {
            self.request_local(local::ERROR);
        }
    }

    fn end_of_interrupt(&mut self) {
        let Some(vector) = self.isr.highest() else { return };
        self.isr.remove(vector);
        if self.tmr.contains(vector) {
            self.ended = Some(vector);
        }
        self.update();
    }

    fn set_task_priority(&mut self, priority: u8) {
        self.tpr = priority;
        self.update();
    }

    /// The processor priority: the higher of task priority and vector in service, by class (11.8.3.1).
    fn processor_priority(&self) -> u8 {
        let in_service = self.isr.highest().unwrap_or(0) & 0xF0;
        if self.tpr & 0xF0 >= in_service { self.tpr } else { in_service }
    }

    fn deliverable(&self, vector: u8) -> bool {
        vector & 0xF0 > self.processor_priority() & 0xF0
    }

    fn update(&mut self) {
        self.request = self.irr.highest().filter(|vector| self.deliverable(*vector));
    }
}

#[cfg(test)]
mod tests;
