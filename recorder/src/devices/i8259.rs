//! One 8259A programmable interrupt controller (Intel 8259A data sheet, order 231468), as a chipset has it: 8086 mode,
//! and level sensing per line by ELCR instead of LTIM (Intel 82371AB PIIX4 data sheet, 4.1.6 and 4.2.4).
//!
//! A line in edge mode latches a request at its rising edge; the request is withdrawn when the line falls again before
//! it is acknowledged (data sheet, "Interrupt sequence": the input must stay high until the first INTA).

/// Reads of port 0 yield IRR (OCW3 RIS = 0) or ISR (RIS = 1).
const OCW3_RR: u8 = 1 << 1;
const OCW3_RIS: u8 = 1 << 0;
const OCW3_POLL: u8 = 1 << 2;
const OCW3_ESMM: u8 = 1 << 6;
const OCW3_SMM: u8 = 1 << 5;
const ICW1: u8 = 1 << 4;
const ICW1_IC4: u8 = 1 << 0;
const ICW1_SINGLE: u8 = 1 << 1;
const OCW3: u8 = 1 << 3;
const ICW4_AUTO_EOI: u8 = 1 << 1;
const ICW4_SPECIAL_FULLY_NESTED: u8 = 1 << 4;

/// The line at which a master has its slave, on every PC.
pub const CASCADE: u8 = 2;

/// What the next write to port 1 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A.
#[derive(Debug)]
pub struct I8259 {
    lines: u8,
    /// Requests latched by an edge.
    latched: u8,
    in_service: u8,
    mask: u8,
    /// Lines in level mode (ELCR).
    level: u8,
    /// Lines that ELCR may set to level mode.
    level_allowed: u8,
    vector_base: u8,
    /// The line with the highest priority; the others follow in ascending order.
    highest: u8,
    expect: Expect,
    needs_icw4: bool,
    single: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_mask: bool,
    special_fully_nested: bool,
    poll: bool,
    read_in_service: bool,
    is_master: bool,
}

impl I8259 {
    /// A controller that has not been initialized. Everything is masked until it is, so that a guest without firmware
    /// is not interrupted through vectors that nobody chose.
    pub fn new(is_master: bool) -> Self {
        Self {
            lines: 0,
            latched: 0,
            in_service: 0,
            mask: 0xFF,
            level: 0,
            // The timer, the keyboard and the cascade (8259A #1), RTC and coprocessor (#2) are edge-triggered for ever
            // (82371AB 4.2.4).
            level_allowed: if is_master { 0xF8 } else { 0xDE },
            vector_base: 0,
            highest: 0,
            expect: Expect::Mask,
            needs_icw4: false,
            single: false,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            special_mask: false,
            special_fully_nested: false,
            poll: false,
            read_in_service: false,
            is_master,
        }
    }

    /// Sets the level of an input line.
    pub fn set_line(&mut self, line: u8, high: bool) {
        let bit = 1u8 << (line & 7);
        if high {
            self.latched |= bit & !self.lines;
            self.lines |= bit;
        } else {
            self.latched &= !bit;
            self.lines &= !bit;
        }
    }

    /// A pulse on an input line whose width nobody observes: the request stays until it is acknowledged.
    pub fn pulse(&mut self, line: u8) {
        self.latched |= 1 << (line & 7);
    }

    /// Reads port `a0` (0 or 1).
    pub fn read(&mut self, a0: u8) -> u8 {
        if std::mem::take(&mut self.poll) {
            // The read is the acknowledge cycle of poll mode: bit 7 says whether there was an interrupt.
            return self.acknowledge().map_or(0, |line| 0x80 | line);
        }
        match (a0, self.read_in_service) {
            (0, false) => self.requests(),
            (0, true) => self.in_service,
            _ => self.mask,
        }
    }

    /// Writes port `a0` (0 or 1).
    pub fn write(&mut self, a0: u8, value: u8) {
        match (a0, self.expect) {
            (0, _) if value & ICW1 != 0 => self.initialize(value),
            (0, _) if value & OCW3 != 0 => self.write_ocw3(value),
            (0, _) => self.write_ocw2(value),
            (_, Expect::Mask) => self.mask = value,
            (_, Expect::Icw2) => {
                self.vector_base = value & 0xF8;
                self.expect = match (self.single, self.needs_icw4) {
                    (false, _) => Expect::Icw3,
                    (true, true) => Expect::Icw4,
                    (true, false) => Expect::Mask,
                };
            }
            // The cascade is wired on a PC: what ICW3 says of it changes nothing.
            (_, Expect::Icw3) => self.expect = if self.needs_icw4 { Expect::Icw4 } else { Expect::Mask },
            (_, Expect::Icw4) => {
                self.auto_eoi = value & ICW4_AUTO_EOI != 0;
                self.special_fully_nested = value & ICW4_SPECIAL_FULLY_NESTED != 0;
                self.expect = Expect::Mask;
            }
        }
    }

    /// Reads the edge/level control register.
    pub fn level_control(&self) -> u8 {
        self.level
    }

    /// Writes the edge/level control register.
    pub fn set_level_control(&mut self, value: u8) {
        self.level = value & self.level_allowed;
    }

    /// The line whose request the INT output is high for.
    pub fn pending(&self) -> Option<u8> {
        let requests = self.requests() & !self.mask;
        let candidate = self.first_by_priority(requests)?;
        // In special mask mode a masked level does not inhibit others.
        let inhibiting = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        let Some(serving) = self.first_by_priority(inhibiting) else { return Some(candidate) };
        let nested =
            self.special_fully_nested && self.is_master && candidate == CASCADE && serving == CASCADE;
        (self.rank(candidate) < self.rank(serving) || nested).then_some(candidate)
    }

    /// Whether a rising edge on `line` would be a request that is neither masked nor there already.
    pub fn notices(&self, line: u8) -> bool {
        (self.mask | self.latched) & 1 << (line & 7) == 0
    }

    /// Whether `line` is masked.
    pub fn masks(&self, line: u8) -> bool {
        self.mask & 1 << (line & 7) != 0
    }

    /// The acknowledge cycle: the line that is now in service, or none if the request has gone ("default IR7").
    pub fn acknowledge(&mut self) -> Option<u8> {
        let line = self.pending()?;
        let bit = 1 << line;
        self.latched &= !bit;
        if !self.auto_eoi {
            self.in_service |= bit;
        } else if self.rotate_on_auto_eoi {
            self.make_lowest(line);
        }
        Some(line)
    }

    /// The vector of a line.
    pub fn vector(&self, line: u8) -> u8 {
        self.vector_base | line & 7
    }

    fn requests(&self) -> u8 {
        self.latched | self.lines & self.level
    }

    fn initialize(&mut self, icw1: u8) {
        // Data sheet, "Initialization command words": edge sense and mask are cleared, IR7 gets the lowest priority,
        // special mask mode is left, status reads give IRR; without ICW4 its functions are off.
        self.latched = 0;
        self.in_service = 0;
        self.mask = 0;
        self.highest = 0;
        self.special_mask = false;
        self.read_in_service = false;
        self.poll = false;
        self.auto_eoi = false;
        self.rotate_on_auto_eoi = false;
        self.special_fully_nested = false;
        self.needs_icw4 = icw1 & ICW1_IC4 != 0;
        self.single = icw1 & ICW1_SINGLE != 0;
        self.expect = Expect::Icw2;
    }

    fn write_ocw2(&mut self, value: u8) {
        let line = value & 7;
        match value >> 5 {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b001 => {
                self.end_highest();
            }
            0b101 => {
                if let Some(line) = self.end_highest() {
                    self.make_lowest(line);
                }
            }
            0b011 => self.in_service &= !(1 << line),
            0b111 => {
                self.in_service &= !(1 << line);
                self.make_lowest(line);
            }
            0b110 => self.make_lowest(line),
            // 010: no operation.
            _ => {}
        }
    }

    fn write_ocw3(&mut self, value: u8) {
        if value & OCW3_ESMM != 0 {
            self.special_mask = value & OCW3_SMM != 0;
        }
        // Poll overrides "read register" (data sheet, "Poll command").
        if value & OCW3_POLL != 0 {
            self.poll = true;
        } else if value & OCW3_RR != 0 {
            self.read_in_service = value & OCW3_RIS != 0;
        }
    }

    /// Non-specific EOI: ends the highest level in service. In special mask mode it skips the masked ones.
    fn end_highest(&mut self) -> Option<u8> {
        let eligible = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        let line = self.first_by_priority(eligible)?;
        self.in_service &= !(1 << line);
        Some(line)
    }

    fn make_lowest(&mut self, line: u8) {
        self.highest = (line + 1) & 7;
    }

    fn first_by_priority(&self, bits: u8) -> Option<u8> {
        let rotated = bits.rotate_right(u32::from(self.highest));
        (rotated != 0).then(|| (rotated.trailing_zeros() as u8 + self.highest) & 7)
    }

    /// Distance from the highest priority.
    fn rank(&self, line: u8) -> u8 {
        line.wrapping_sub(self.highest) & 7
    }
}

#[cfg(test)]
mod tests;
