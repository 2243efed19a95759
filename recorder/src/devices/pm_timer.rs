//! ACPI fixed hardware (ACPI Specification 6.5, 4.8.3) at ports 0x600 to 0x60B: the PM timer, and as much of the PM1a
//! event and control blocks as it takes to switch the machine off.
//!
//! | port | register |
//! |---|---|
//! | 0x600 | PM1a status, 16 bits: bit 0 is set when the timer's top bit changes, and cleared by writing a one |
//! | 0x602 | PM1a enable, 16 bits: stored; no SCI is raised |
//! | 0x604, 0xB004 | PM1a control, 16 bits: bit 0 (`SCI_EN`) reads as one, there is no SMI; `SLP_EN` switches off, whatever the sleep type |
//! | 0x608 | PM timer, 32 bits: counts at 3,579,545 Hz; 24 bits wide |

use super::frequency::Frequency;
use crate::platform::Time;

/// First port of the block; `SeaBIOS` and QEMU's machines have it there too.
pub const BASE: u16 = 0x600;
/// What PM1a control is read and written at besides: this port and the next.
const SECOND_CONTROL: u16 = 0xB004;
/// Ports of the block.
pub const LENGTH: u16 = 12;
/// The sleep type that stands for S5, soft off, in an `\_S5` package of ACPI tables. No other state has one, so every type
/// switches off: also the 0 of QEMU's machines, where guests write 0x2000 to port 0x604 without reading tables.
pub const SLP_TYP_S5: u8 = 5;

const CLOCK: Frequency = Frequency::hz(3_579_545);
const TIMER_MASK: u64 = 0xFF_FFFF;
/// Ticks between changes of the top bit.
const HALF_PERIOD: u64 = 1 << 23;
const STATUS_TIMER: u8 = 1 << 0;
/// In the high byte of PM1 control.
const SLEEP_ENABLE: u8 = 1 << 5;

/// Where in the block a port is.
pub fn offset(port: u16) -> u8 {
    let from_base = if port >= SECOND_CONTROL { port - SECOND_CONTROL + 4 } else { port - BASE };
    from_base as u8
}

/// The block.
#[derive(Debug, Default)]
pub struct PmTimer {
    enable: [u8; 2],
    control: [u8; 2],
    /// The half-period of the timer in which its status bit was cleared last.
    cleared_in: u64,
    power_off: bool,
}

impl PmTimer {
    /// The timer, as a doubleword read at offset 8 gives it.
    pub fn counter(now: Time) -> u32 {
        (CLOCK.ticks(now) & TIMER_MASK) as u32
    }

    /// Reads the byte at `offset` from the base.
    pub fn read(&self, now: Time, offset: u8) -> u8 {
        match offset {
            0 => u8::from(CLOCK.ticks(now) / HALF_PERIOD != self.cleared_in) * STATUS_TIMER,
            2 | 3 => self.enable[usize::from(offset & 1)],
            4 => self.control[0] | 1,
            5 => self.control[1],
            8..=11 => Self::counter(now).to_le_bytes()[usize::from(offset & 3)],
            _ => 0,
        }
    }

    /// Writes the byte at `offset` from the base.
    pub fn write(&mut self, now: Time, offset: u8, value: u8) {
        match offset {
            0 if value & STATUS_TIMER != 0 => self.cleared_in = CLOCK.ticks(now) / HALF_PERIOD,
            2 | 3 => self.enable[usize::from(offset & 1)] = value,
            4 => self.control[0] = value,
            5 => {
                self.power_off |= value & SLEEP_ENABLE != 0;
                // SLP_EN is write-only.
                self.control[1] = value & !SLEEP_ENABLE;
            }
            _ => {}
        }
    }

    /// Takes the request to switch off, if there was one.
    pub fn take_power_off(&mut self) -> bool {
        std::mem::take(&mut self.power_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn the_timer_counts_3579545_per_second_and_wraps_at_24_bits() {
        assert_eq!(PmTimer::counter(Time(S)), 3_579_545);
        assert_eq!(PmTimer::counter(Time(100 * S)), 357_954_500 % (1 << 24));
        assert_eq!(PmTimer::default().read(Time(100 * S), 11), 0);
    }

    #[test]
    fn the_status_bit_is_set_when_the_top_bit_changes_and_cleared_by_a_one() {
        let mut pm = PmTimer::default();
        let change = CLOCK.time(HALF_PERIOD);
        assert_eq!(pm.read(Time(change.0 - 1), 0), 0);
        assert_eq!(pm.read(change, 0), 1);
        pm.write(change, 0, 0);
        assert_eq!(pm.read(change, 0), 1);
        pm.write(change, 0, 1);
        assert_eq!(pm.read(change, 0), 0);
        assert_eq!(pm.read(CLOCK.time(2 * HALF_PERIOD), 0), 1);
    }

    #[test]
    fn sleep_enable_with_any_type_switches_off_and_reads_as_zero() {
        for sleep_type in [0, SLP_TYP_S5, 7] {
            let mut pm = PmTimer::default();
            pm.write(Time(0), 5, sleep_type << 2);
            assert!(!pm.take_power_off(), "a type alone");
            pm.write(Time(0), 5, sleep_type << 2 | SLEEP_ENABLE);
            assert!(pm.take_power_off());
            assert_eq!(pm.read(Time(0), 5), sleep_type << 2);
        }
    }

    #[test]
    fn the_machine_is_always_in_acpi_mode() {
        let mut pm = PmTimer::default();
        pm.write(Time(0), 4, 0);
        assert_eq!(pm.read(Time(0), 4) & 1, 1);
    }
}
