//! The interrupt controller of a PC/AT: two 8259A in cascade at ports 0x20/0x21 and 0xA0/0xA1, with the edge/level
//! control registers 0x4D0/0x4D1 (Intel 82371AB PIIX4 data sheet, 4.2).

use super::i8259::{CASCADE, I8259};

/// The line that a controller names when the request has gone by the time of the acknowledge ("default IR7").
const SPURIOUS: u8 = 7;

/// The pair of controllers.
#[derive(Debug)]
pub struct Pic {
    master: I8259,
    slave: I8259,
    interrupt: bool,
}

impl Default for Pic {
    fn default() -> Self {
        Self { master: I8259::new(true), slave: I8259::new(false), interrupt: false }
    }
}

impl Pic {
    /// Reads a port of the pair; the acknowledge of a poll may change the outputs.
    pub fn read(&mut self, port: u16) -> u8 {
        let value = match port {
            0x20 | 0x21 => self.master.read(port as u8 & 1),
            0xA0 | 0xA1 => {
                let value = self.slave.read(port as u8 & 1);
                self.restart_cascade();
                value
            }
            0x4D0 => self.master.level_control(),
            0x4D1 => self.slave.level_control(),
            _ => 0xFF,
        };
        self.update();
        value
    }

    /// Writes a port of the pair.
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            0x20 | 0x21 => self.master.write(port as u8 & 1, value),
            0xA0 | 0xA1 => self.slave.write(port as u8 & 1, value),
            0x4D0 => self.master.set_level_control(value),
            0x4D1 => self.slave.set_level_control(value),
            _ => {}
        }
        self.update();
    }

    /// Sets the level of IRQ `irq` (0 to 15; IRQ 2 is the cascade and not to be driven).
    pub fn set_irq(&mut self, irq: u8, high: bool) {
        if irq < 8 {
            self.master.set_line(irq, high);
        } else {
            self.slave.set_line(irq & 7, high);
        }
        self.update();
    }

    /// Pulses IRQ `irq`: a rising edge whose request stays until it is acknowledged.
    pub fn pulse_irq(&mut self, irq: u8) {
        if irq < 8 {
            self.master.pulse(irq);
        } else {
            self.slave.pulse(irq & 7);
        }
        self.update();
    }

    /// Whether a rising edge on IRQ `irq` could change anything: it is neither masked nor latched already.
    pub fn notices(&self, irq: u8) -> bool {
        if irq < 8 {
            self.master.notices(irq)
        } else {
            self.slave.notices(irq & 7) && !self.master.masks(CASCADE)
        }
    }

    /// The level of the line to the CPU.
    pub fn interrupt(&self) -> bool {
        self.interrupt
    }

    /// The acknowledge cycle; yields the vector.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match self.master.acknowledge() {
            Some(CASCADE) => {
                let line = self.slave.acknowledge().unwrap_or(SPURIOUS);
                self.restart_cascade();
                self.slave.vector(line)
            }
            line => self.master.vector(line.unwrap_or(SPURIOUS)),
        };
        self.update();
        vector
    }

    /// The slave's output falls at its acknowledge, and rises anew if it has more.
    fn restart_cascade(&mut self) {
        self.master.set_line(CASCADE, false);
    }

    fn update(&mut self) {
        self.master.set_line(CASCADE, self.slave.pending().is_some());
        self.interrupt = self.master.pending().is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Initialized as a BIOS does it, vectors from 0x08 and 0x70.
    fn bios() -> Pic {
        let mut pic = Pic::default();
        for (port, value) in [(0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01)] {
            pic.write(port, value);
        }
        for (port, value) in [(0xA0, 0x11), (0xA1, 0x70), (0xA1, 0x02), (0xA1, 0x01)] {
            pic.write(port, value);
        }
        pic
    }

    #[test]
    fn nothing_interrupts_before_the_controllers_are_initialized() {
        let mut pic = Pic::default();
        pic.pulse_irq(0);
        pic.set_irq(8, true);
        assert!(!pic.interrupt());
    }

    #[test]
    fn a_slave_interrupt_goes_through_the_cascade_and_needs_both_eois() {
        let mut pic = bios();
        pic.set_irq(8, true);
        assert!(pic.interrupt());
        assert_eq!(pic.acknowledge(), 0x70);
        pic.set_irq(12, true);
        assert!(!pic.interrupt());
        pic.write(0xA0, 0x20);
        assert!(!pic.interrupt(), "the master still has line 2 in service");
        pic.write(0x20, 0x20);
        assert_eq!((pic.interrupt(), pic.acknowledge()), (true, 0x74));
    }

    #[test]
    fn slave_lines_rank_between_irq_1_and_irq_3() {
        let mut pic = bios();
        for irq in [3, 15, 1] {
            pic.set_irq(irq, true);
        }
        let mut vectors = Vec::new();
        while pic.interrupt() {
            vectors.push(pic.acknowledge());
            pic.write(0xA0, 0x20);
            pic.write(0x20, 0x20);
        }
        assert_eq!(vectors, [0x09, 0x77, 0x0B]);
    }

    #[test]
    fn an_acknowledge_without_request_gives_irq_7_and_puts_nothing_in_service() {
        let mut pic = bios();
        assert_eq!(pic.acknowledge(), 0x0F);
        pic.write(0x20, 0x0B);
        assert_eq!(pic.read(0x20), 0);
    }

    #[test]
    fn masking_the_slave_line_withdraws_the_request_at_the_master() {
        let mut pic = bios();
        pic.set_irq(10, true);
        pic.write(0xA1, 1 << 2);
        assert!(!pic.interrupt());
        pic.write(0xA1, 0);
        assert!(pic.interrupt());
    }

    #[test]
    fn a_slave_in_automatic_eoi_hands_over_one_request_after_the_other() {
        let mut pic = bios();
        for (port, value) in [(0xA0, 0x11), (0xA1, 0x70), (0xA1, 0x02), (0xA1, 0x03)] {
            pic.write(port, value);
        }
        pic.set_irq(9, true);
        pic.set_irq(10, true);
        assert_eq!(pic.acknowledge(), 0x71);
        pic.write(0x20, 0x20);
        assert!(pic.interrupt());
        assert_eq!(pic.acknowledge(), 0x72);
        pic.write(0x20, 0x20);
        assert!(!pic.interrupt());
    }

    #[test]
    fn polling_the_slave_takes_its_request_from_the_master() {
        let mut pic = bios();
        pic.set_irq(14, true);
        pic.write(0xA0, 0x0C);
        assert_eq!(pic.read(0xA0), 0x86);
        assert!(!pic.interrupt());
    }

    #[test]
    fn the_cascade_stays_usable_when_only_the_master_is_initialized_again() {
        let mut pic = bios();
        pic.set_irq(8, true);
        for (port, value) in [(0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01)] {
            pic.write(port, value);
        }
        assert!(!pic.interrupt(), "its edge sense was reset with the slave's output high");
        pic.write(0xA1, 0xFF);
        pic.write(0xA1, 0x00);
        assert!(pic.interrupt());
    }
}
