//! One counter of an 8254 (Intel 8254 data sheet, order 231164), computed from the number of its clock ticks.
//!
//! Nothing here counts: a counter remembers the tick at which its count was loaded, and everything observable (count,
//! output, next edge) is arithmetic on the ticks since.

/// Which bytes of the count are read and written (control word RW1, RW0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Low = 1,
    High = 2,
    LowThenHigh = 3,
}

/// What the counting element does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// No count was written since the control word, or its trigger has not come.
    Idle,
    /// Counting since the load at this tick.
    Since(u64),
    /// Stopped by the gate, or by the first byte of a new count, this many ticks after the load.
    Held(u64),
}

/// A count that is loaded when the current cycle (mode 2) or half-cycle (mode 3) is over.
#[derive(Debug, Clone, Copy)]
struct Reload {
    at: u64,
    count: u64,
    /// Where its own cycle would have begun.
    since: u64,
}

/// One counter.
#[derive(Debug)]
pub struct Counter {
    mode: u8,
    bcd: bool,
    access: Access,
    /// A control word was written.
    is_programmed: bool,
    /// The count in effect: 1 to 65,536, or to 10,000 in BCD; 0 before the first.
    count: u64,
    /// The count that was written last: loaded at the next trigger.
    written: u64,
    run: Run,
    reload: Option<Reload>,
    gate: bool,
    low_byte: Option<u8>,
    read_high: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

impl Counter {
    /// A counter whose gate is at this level. Before its first control word the data sheet leaves it undefined; here
    /// it stands still with its output high.
    pub fn new(gate: bool) -> Self {
        Self {
            mode: 3,
            bcd: false,
            access: Access::LowThenHigh,
            is_programmed: false,
            count: 0,
            written: 0,
            run: Run::Idle,
            reload: None,
            gate,
            low_byte: None,
            read_high: false,
            latched_count: None,
            latched_status: None,
        }
    }

    /// Takes a control word for this counter (bits 5:0); RW = 00 is the counter latch command.
    pub fn control(&mut self, tick: u64, word: u8) {
        self.settle(tick);
        self.access = match word >> 4 & 3 {
            0 => return self.latch_count(tick),
            1 => Access::Low,
            2 => Access::High,
            _ => Access::LowThenHigh,
        };
        // Modes 6 and 7 are 2 and 3: bit 2 is "don't care" there.
        self.mode = if word >> 1 & 7 > 5 { word >> 1 & 3 } else { word >> 1 & 7 };
        self.bcd = word & 1 != 0;
        self.is_programmed = true;
        self.run = Run::Idle;
        self.reload = None;
        self.written = 0;
        self.low_byte = None;
        self.read_high = false;
        self.latched_count = None;
        self.latched_status = None;
    }

    /// Latches the count until it is read; a second latch before that is ignored.
    pub fn latch_count(&mut self, tick: u64) {
        self.settle(tick);
        if self.latched_count.is_none() {
            self.latched_count = Some(self.value(tick));
        }
    }

    /// Latches the status until it is read (read-back command).
    pub fn latch_status(&mut self, tick: u64) {
        self.settle(tick);
        if self.latched_status.is_none() {
            let access = self.access as u8;
            let output = u8::from(self.output(tick));
            let null = u8::from(self.null_count(tick));
            self.latched_status =
                Some(output << 7 | null << 6 | access << 4 | self.mode << 1 | u8::from(self.bcd));
        }
    }

    /// Reads the next byte: latched status first, then the latched or the running count.
    pub fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        self.settle(tick);
        let [low, high] = self.latched_count.unwrap_or_else(|| self.value(tick)).to_le_bytes();
        let byte = match self.access {
            Access::Low => low,
            Access::High => high,
            Access::LowThenHigh => {
                self.read_high = !self.read_high;
                if self.read_high {
                    return low;
                }
                high
            }
        };
        self.latched_count = None;
        byte
    }

    /// Writes the next byte of a count.
    pub fn write(&mut self, tick: u64, value: u8) {
        self.settle(tick);
        match (self.access, self.low_byte.take()) {
            (Access::Low, _) => self.load(tick, u16::from(value)),
            (Access::High, _) => self.load(tick, u16::from(value) << 8),
            (Access::LowThenHigh, Some(low)) => self.load(tick, u16::from_le_bytes([low, value])),
            (Access::LowThenHigh, None) => {
                self.low_byte = Some(value);
                if self.mode == 0 {
                    // Mode 0: the first byte stops the count and sets OUT low.
                    self.run = Run::Idle;
                }
            }
        }
    }

    /// Sets the level of the gate.
    pub fn set_gate(&mut self, tick: u64, high: bool) {
        self.settle(tick);
        let rises = high && !self.gate;
        let falls = !high && self.gate;
        self.gate = high;
        match (self.mode, self.run) {
            (0 | 4, Run::Held(elapsed)) if rises => self.run = Run::Since(tick.saturating_sub(elapsed)),
            // In the other modes a rising gate is the trigger: it loads the count at the next clock.
            (1 | 2 | 3 | 5, _) if rises && self.written != 0 => {
                self.count = self.written;
                self.reload = None;
                self.run = Run::Since(tick + 1);
            }
            (0 | 2 | 3 | 4, Run::Since(since)) if falls => self.run = Run::Held(tick.saturating_sub(since)),
            _ => {}
        }
    }

    /// The level of the output.
    pub fn output(&mut self, tick: u64) -> bool {
        self.settle(tick);
        let elapsed = match self.run {
            Run::Idle => return self.mode != 0,
            Run::Held(_) if self.mode == 2 || self.mode == 3 => return true,
            Run::Held(elapsed) => elapsed,
            Run::Since(since) => tick.saturating_sub(since),
        };
        let count = self.count.max(1);
        match self.mode {
            0 | 1 => elapsed >= count,
            2 => elapsed % count != count - 1,
            3 => elapsed % count < count.div_ceil(2),
            _ => elapsed != count,
        }
    }

    /// The first tick after `tick` at which the output rises, if nobody touches the counter.
    pub fn next_rise(&self, tick: u64) -> Option<u64> {
        let Run::Since(since) = self.run else { return None };
        match (self.rise_of(since, self.count, tick), self.reload) {
            (rise, Some(reload)) if rise.is_none_or(|rise| rise > reload.at) => {
                self.rise_of(reload.since, reload.count, tick.max(reload.at))
            }
            (rise, _) => rise,
        }
    }

    fn rise_of(&self, since: u64, count: u64, after: u64) -> Option<u64> {
        let count = count.max(1);
        let rise = match self.mode {
            0 | 1 => since + count,
            2 | 3 => {
                // A count of 1 is illegal here (data sheet, "Mode 2"): it gives no edges.
                if count == 1 {
                    return None;
                }
                since + (after.saturating_sub(since) / count + 1) * count
            }
            _ => since + count + 1,
        };
        (rise > after).then_some(rise)
    }

    fn load(&mut self, tick: u64, raw: u16) {
        let count = match (raw, self.bcd) {
            (0, false) => 0x1_0000,
            (0, true) => 10_000,
            (raw, false) => u64::from(raw),
            (raw, true) => [12, 8, 4, 0].iter().fold(0, |n, shift| n * 10 + u64::from(raw >> shift & 15)),
        };
        self.written = count;
        match (self.mode, self.run) {
            // One-shots wait for their trigger.
            (1 | 5, _) => {}
            (2 | 3, Run::Since(since)) if tick >= since => {
                self.reload = Some(self.reload_at_end_of_cycle(tick, since, count));
            }
            _ => {
                self.count = count;
                self.run = if self.gate { Run::Since(tick + 1) } else { Run::Held(0) };
            }
        }
    }

    fn reload_at_end_of_cycle(&self, tick: u64, since: u64, count: u64) -> Reload {
        let period = self.count.max(1);
        let begin = since + (tick - since) / period * period;
        let half = begin + period.div_ceil(2);
        if self.mode == 3 && tick < half {
            // The new count governs the low half that follows.
            Reload { at: half, count, since: half.saturating_sub(count.div_ceil(2)) }
        } else {
            Reload { at: begin + period, count, since: begin + period }
        }
    }

    /// Loads a count whose time has come.
    fn settle(&mut self, tick: u64) {
        if let Some(reload) = self.reload
            && tick >= reload.at
        {
            self.count = reload.count;
            self.run = Run::Since(reload.since);
            self.reload = None;
        }
    }

    /// "Null count": the last count written is not in the counting element yet. Before the first control word there is none
    /// to wait for, and kernels that no firmware ran before do wait.
    fn null_count(&self, tick: u64) -> bool {
        match self.run {
            Run::Idle => self.is_programmed,
            Run::Since(since) => tick < since || self.reload.is_some() || self.written != self.count,
            Run::Held(_) => false,
        }
    }

    /// The count as it is read.
    fn value(&self, tick: u64) -> u16 {
        let elapsed = match self.run {
            Run::Idle => 0,
            Run::Held(elapsed) => elapsed,
            Run::Since(since) => tick.saturating_sub(since),
        };
        let modulus = if self.bcd { 10_000 } else { 0x1_0000 };
        let count = self.count.max(1);
        let value = match self.mode {
            2 => count - elapsed % count,
            3 => {
                let half = count.div_ceil(2);
                let phase = elapsed % count;
                // Decremented by two, from an even number, in each half.
                (count & !1) - 2 * if phase < half { phase } else { phase - half }
            }
            // The others wrap around and go on.
            _ => (count + modulus - elapsed % modulus) % modulus,
        } % modulus;
        if self.bcd {
            [1000, 100, 10, 1].iter().fold(0, |bcd, place| bcd << 4 | (value / place % 10) as u16)
        } else {
            value as u16
        }
    }
}

#[cfg(test)]
mod tests;
