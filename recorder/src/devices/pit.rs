//! The timer of a PC: an 8254 at ports 0x40 to 0x43, and port 0x61, which holds counter 2's gate and output (Intel
//! 82371AB PIIX4 data sheet, 4.2.3 and 4.2.6.1).
//!
//! Counter 0 drives IRQ 0: each rising edge of its output is one interrupt. When several periods have passed since
//! anyone looked, they are one edge, as they are for an interrupt controller that has not been acknowledged in between;
//! the edges that follow stay on the grid of the programmed period.

use super::counter::Counter;
use super::frequency::Frequency;
use crate::platform::Time;

/// The 14.31818 MHz crystal of a PC divided by 12, as operating systems round it (`PIT_TICK_RATE` of Linux).
const CLOCK: Frequency = Frequency::hz(1_193_182);
/// A BIOS sets counter 1 to request a DRAM refresh every 18 ticks, 15 us; bit 4 of port 0x61 toggles with it.
const REFRESH_TICKS: u64 = 18;
const PORT_61_WRITABLE: u8 = 0x0F;
const PORT_61_GATE_2: u8 = 1 << 0;

/// The timer.
#[derive(Debug)]
pub struct Pit {
    counters: [Counter; 3],
    port_61: u8,
    /// The tick of the next edge on IRQ 0.
    next_edge: Option<u64>,
    /// An edge on IRQ 0 that nobody has taken yet.
    edge: bool,
}

impl Default for Pit {
    fn default() -> Self {
        Self {
            counters: [Counter::new(true), Counter::new(true), Counter::new(false)],
            port_61: 0,
            next_edge: None,
            edge: false,
        }
    }
}

impl Pit {
    /// Reads port 0x40 + `offset`. The control word cannot be read: port 0x43 floats.
    pub fn read(&mut self, now: Time, offset: u8) -> u8 {
        match self.counters.get_mut(usize::from(offset)) {
            Some(counter) => counter.read(CLOCK.ticks(now)),
            None => 0xFF,
        }
    }

    /// Writes port 0x40 + `offset`.
    pub fn write(&mut self, now: Time, offset: u8, value: u8) {
        let tick = CLOCK.ticks(now);
        self.fire(now);
        let was_high = self.counters[0].output(tick);
        match self.counters.get_mut(usize::from(offset)) {
            Some(counter) => counter.write(tick, value),
            None => self.write_control(tick, value),
        }
        // A control word sets the output at once: from mode 0, still counting, that is an edge too.
        self.edge |= !was_high && self.counters[0].output(tick);
        self.next_edge = self.counters[0].next_rise(tick);
    }

    /// Reads port 0x61.
    pub fn read_port_61(&mut self, now: Time) -> u8 {
        let tick = CLOCK.ticks(now);
        let output_2 = u8::from(self.counters[2].output(tick)) << 5;
        let refresh = ((tick / REFRESH_TICKS) as u8 & 1) << 4;
        self.port_61 | output_2 | refresh
    }

    /// Writes port 0x61: bit 0 is counter 2's gate, bit 1 the speaker, bits 2 and 3 disable NMI sources that are not
    /// there.
    pub fn write_port_61(&mut self, now: Time, value: u8) {
        self.port_61 = value & PORT_61_WRITABLE;
        self.counters[2].set_gate(CLOCK.ticks(now), value & PORT_61_GATE_2 != 0);
    }

    /// Lets the edges up to `now` happen.
    pub fn fire(&mut self, now: Time) {
        let tick = CLOCK.ticks(now);
        if self.next_edge.is_some_and(|edge| edge <= tick) {
            self.edge = true;
            self.next_edge = self.counters[0].next_rise(tick);
        }
    }

    /// Takes the edge on IRQ 0, if there was one.
    pub fn take_edge(&mut self) -> bool {
        std::mem::take(&mut self.edge)
    }

    /// When the next edge on IRQ 0 comes.
    pub fn deadline(&self) -> Option<Time> {
        self.next_edge.map(|edge| CLOCK.time(edge))
    }

    fn write_control(&mut self, tick: u64, word: u8) {
        let select = usize::from(word >> 6);
        if let Some(counter) = self.counters.get_mut(select) {
            return counter.control(tick, word & 0x3F);
        }
        // Read-back: bits 3:1 choose counters, bits 5 and 4 (active low) count and status.
        for (i, counter) in self.counters.iter_mut().enumerate() {
            if word >> (i + 1) & 1 != 0 {
                if word & 1 << 5 == 0 {
                    counter.latch_count(tick);
                }
                if word & 1 << 4 == 0 {
                    counter.latch_status(tick);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn program(pit: &mut Pit, now: Time, counter: u8, mode: u8, count: u16) {
        pit.write(now, 3, counter << 6 | 0x30 | mode << 1);
        for byte in count.to_le_bytes() {
            pit.write(now, counter, byte);
        }
    }

    /// The number of edges that somebody who comes at every deadline sees before `end`.
    fn edges_until(pit: &mut Pit, end: u64) -> u64 {
        let mut edges = 0;
        while let Some(deadline) = pit.deadline().filter(|t| t.0 < end) {
            pit.fire(deadline);
            edges += u64::from(pit.take_edge());
        }
        edges
    }

    #[test]
    fn a_thousand_hertz_timer_does_not_drift_in_an_hour() {
        let mut pit = Pit::default();
        program(&mut pit, Time(0), 0, 2, 1193);
        assert_eq!(edges_until(&mut pit, 3600 * SECOND), 3600 * 1_193_182 / 1193);
    }

    #[test]
    fn several_missed_periods_are_one_edge_and_the_next_stays_on_the_grid() {
        let mut pit = Pit::default();
        program(&mut pit, Time(0), 0, 2, 1193);
        let first = pit.deadline();
        pit.fire(Time(10_500_000));
        assert!(pit.take_edge());
        assert!(!pit.take_edge());
        let eleventh = pit.deadline();
        assert_eq!(first, Some(CLOCK.time(1194)));
        assert_eq!(eleventh, Some(CLOCK.time(1 + 11 * 1193)));
    }

    #[test]
    fn no_edge_comes_before_its_deadline() {
        let mut pit = Pit::default();
        program(&mut pit, Time(0), 0, 0, 100);
        let deadline = pit.deadline().unwrap_or_default();
        pit.fire(Time(deadline.0 - 1));
        assert!(!pit.take_edge());
        pit.fire(deadline);
        assert!(pit.take_edge());
        assert_eq!(pit.deadline(), None);
    }

    #[test]
    fn leaving_mode_0_while_it_counts_raises_the_output_and_so_irq_0() {
        let mut pit = Pit::default();
        program(&mut pit, Time(0), 0, 0, 1000);
        assert!(!pit.take_edge());
        pit.write(Time(100), 3, 0x34);
        assert!(pit.take_edge());
    }

    #[test]
    fn counter_2_and_its_gate_time_a_delay_as_tsc_calibration_does() {
        let mut pit = Pit::default();
        pit.write_port_61(Time(0), 0x01);
        program(&mut pit, Time(0), 2, 0, 0x800);
        let done = CLOCK.time(0x801);
        assert_eq!(pit.read_port_61(Time(done.0 - 1)) & 0x21, 0x01);
        assert_eq!(pit.read_port_61(done) & 0x21, 0x21);
        assert_eq!(pit.deadline(), None, "counter 2 interrupts nobody");
    }

    #[test]
    fn the_refresh_bit_toggles_every_fifteen_microseconds() {
        let mut pit = Pit::default();
        let mut toggles = 0;
        let mut last = pit.read_port_61(Time(0)) & 0x10;
        for us in 1..=1000 {
            let bit = pit.read_port_61(Time(us * 1000)) & 0x10;
            toggles += u32::from(bit != last);
            last = bit;
        }
        assert_eq!(toggles, 1193 / 18);
    }

    #[test]
    fn read_back_latches_several_counters_at_one_moment() {
        let mut pit = Pit::default();
        program(&mut pit, Time(0), 0, 2, 10_000);
        program(&mut pit, Time(0), 1, 2, 10_000);
        let now = CLOCK.time(101);
        pit.write(now, 3, 0xC0 | 0x06);
        let later = CLOCK.time(5000);
        assert_eq!(pit.read(later, 0), 0xB4);
        assert_eq!(u16::from_le_bytes([pit.read(later, 0), pit.read(later, 0)]), 9900);
        assert_eq!(pit.read(later, 1), 0xB4);
        assert_eq!(u16::from_le_bytes([pit.read(later, 1), pit.read(later, 1)]), 9900);
    }
}
