//! The wiring of a PC's interrupts: from the timers and lines of devices through 8259A and I/O APIC to the local APIC.
//!
//! IRQ *n* is input *n* of the 8259A pair and pin *n* of the I/O APIC, but the timer, IRQ 0, is on pin 2: pin 0 has the 8259A's
//! interrupt line, which also is LINT0 of the local APIC (MultiProcessor Specification 1.4, 3.6.2.2; ACPI tables say so by an
//! interrupt source override).

use super::{Pc, irq};
use crate::devices::interrupt_message::{DeliveryMode, InterruptMessage};
use crate::platform::{Request, Time};

/// The I/O APIC's pin of an IRQ.
fn pin(irq: u8) -> u8 {
    if irq == irq::TIMER { 2 } else { irq }
}

impl Pc {
    /// Lets the timers that are due by `now` fire.
    #[inline]
    pub(super) fn advance(&mut self, now: Time) {
        if now >= self.due {
            self.fire(now);
        }
    }

    #[cold]
    fn fire(&mut self, now: Time) {
        let due = self.next_change().filter(|due| *due <= now);
        self.pit.fire(now);
        self.rtc.fire(now);
        self.local_apic.fire(now);
        self.virtio.fire(now);
        self.timers_changed();
        // One that waits already is as late as it is.
        self.raised = self.raised.or(due);
    }

    /// Carries the timers' outputs to the interrupt controllers and finds out what is due next.
    pub(super) fn timers_changed(&mut self) {
        if self.pit.take_edge() {
            self.pic.pulse_irq(irq::TIMER);
            if let Some(message) = self.io_apic.pulse(pin(irq::TIMER)) {
                self.local_apic.accept(&message);
            }
        }
        self.drive(irq::CLOCK, self.rtc.interrupt());
        let deadlines =
            [self.pit.deadline(), self.rtc.deadline(), self.local_apic.deadline(), self.virtio.deadline()];
        self.due = deadlines.into_iter().flatten().min().unwrap_or(Time(u64::MAX));
    }

    /// Sets an interrupt line, if it is not at this level already.
    #[inline]
    pub(super) fn drive(&mut self, irq: u8, high: bool) {
        let bit = 1 << irq;
        if (self.lines & bit != 0) != high {
            self.lines ^= bit;
            self.line_changed(irq, high);
        }
    }

    fn line_changed(&mut self, irq: u8, high: bool) {
        self.pic.set_irq(irq, high);
        if let Some(message) = self.io_apic.set_pin(pin(irq), high) {
            self.local_apic.accept(&message);
        }
        self.send_levels();
    }

    /// Sends the level-triggered messages that nobody has taken yet.
    pub(super) fn send_levels(&mut self) {
        let taken = |(pin, message): (u8, InterruptMessage)| self.local_apic.accept(&message).then_some(pin);
        let pins: u32 = self.io_apic.requests().filter_map(taken).map(|pin| 1 << pin).sum();
        if pins != 0 {
            (0..u32::BITS as u8).filter(|pin| pins >> pin & 1 != 0).for_each(|pin| self.io_apic.taken(pin));
        }
    }

    /// After a write to the local APIC: what it has to say to others, and what it may take now.
    pub(super) fn local_apic_changed(&mut self) {
        if let Some(vector) = self.local_apic.take_ended() {
            self.io_apic.end_of_interrupt(vector);
        }
        if self.local_apic.take_init() {
            self.ask(Request::Reset);
        }
        self.forget_masked();
        self.send_levels();
        self.timers_changed();
    }

    /// A guest that masks the interrupt of a timer does not wait for it any more.
    pub(super) fn forget_masked(&mut self) {
        if !self.is_offered() {
            self.raised = None;
        }
    }

    /// Whether the 8259A's interrupt line reaches the CPU directly.
    #[inline]
    fn passes_extint(&self) -> bool {
        self.local_apic.passes_extint() || self.io_apic.passes_extint()
    }

    /// Whether the CPU is offered an interrupt.
    #[inline]
    pub(super) fn offers_interrupt(&mut self) -> bool {
        let line = self.pic.interrupt();
        self.local_apic.set_lint0(line);
        self.local_apic.interrupt() || line && self.passes_extint()
    }

    /// The same, without carrying a line any further.
    fn is_offered(&self) -> bool {
        self.local_apic.interrupt() || self.pic.interrupt() && self.passes_extint()
    }

    /// The acknowledge cycle. An interrupt of the 8259A has no priority among the vectors of the local APIC: it goes first, for
    /// it waits for no task priority either.
    pub(super) fn take_interrupt(&mut self) -> u8 {
        self.raised = None;
        if self.pic.interrupt() && self.passes_extint() {
            self.pic.acknowledge()
        } else {
            self.local_apic.acknowledge()
        }
    }

    /// When the next timer can change what the CPU is offered. A timer whose interrupt is masked has no deadline: it can change
    /// nothing. Nor has one whose request is latched and held up by a level in service; but while an interrupt is offered,
    /// every timer that runs counts.
    pub(super) fn next_change(&self) -> Option<Time> {
        let is_offered = self.is_offered();
        let apic = self.local_apic.deadline().filter(|_| is_offered || self.local_apic.notices_timer());
        let timer = self.next_timer(|irq| is_offered || self.notices(irq));
        timer.into_iter().chain(apic).chain(self.virtio.deadline()).min()
    }

    /// The first deadline of the timers whose IRQ is `relevant`.
    pub(super) fn next_timer(&self, relevant: impl Fn(u8) -> bool) -> Option<Time> {
        let timer = self.pit.deadline().filter(|_| relevant(irq::TIMER));
        let clock = self.rtc.deadline().filter(|_| relevant(irq::CLOCK));
        timer.into_iter().chain(clock).min()
    }

    /// Whether an IRQ that rises could change what the CPU is offered.
    fn notices(&self, irq: u8) -> bool {
        let through_pic = self.passes_extint() || self.local_apic.notices_lint0() && !self.pic.interrupt();
        through_pic && self.pic.notices(irq)
            || self.io_apic.would_send(pin(irq)).is_some_and(|message| self.local_apic.notices(&message))
    }

    /// Whether an IRQ that rises would be a non-maskable interrupt.
    pub(super) fn raises_nmi(&self, irq: u8) -> bool {
        let through_pic =
            self.local_apic.lint0_raises_nmi() && !self.pic.interrupt() && self.pic.notices(irq);
        let is_nmi = |message: InterruptMessage| {
            message.mode == DeliveryMode::Nmi && self.local_apic.notices(&message)
        };
        through_pic || self.io_apic.would_send(pin(irq)).is_some_and(is_nmi)
    }
}
