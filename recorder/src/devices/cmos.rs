//! The CMOS memory beside the clock: 128 bytes, laid out as IBM's AT did and as `SeaBIOS` reads them
//! (`src/hw/rtc.h`, `src/fw/paravirt.c`).

use super::rtc::register;

/// The registers that the clock itself counts.
pub const TIME_REGISTERS: [usize; 8] = [
    register::SECONDS,
    register::MINUTES,
    register::HOURS,
    register::WEEKDAY,
    register::DAY,
    register::MONTH,
    register::YEAR,
    register::CENTURY,
];

/// Whether the clock itself counts the register.
pub fn is_time(index: usize) -> bool {
    TIME_REGISTERS.contains(&index)
}

/// The equipment byte: a coprocessor; no floppy drives, and the display is for the BIOS to find.
const EQUIPMENT: u8 = 0x02;
/// Conventional memory, in KiB.
const BASE_MEMORY_KIB: u16 = 640;
/// Boot from the first disk, do not insist on a floppy's signature (QEMU's layout of 0x3D and 0x38).
const BOOT_FIRST_DISK: u8 = 0x02;
const NO_FLOPPY_CHECK: u8 = 0x01;

/// 128 bytes that a battery keeps.
#[derive(Debug, Clone)]
pub struct Memory([u8; 128]);

impl Memory {
    /// What a BIOS's setup would have left, for this much RAM below and above 4 GiB.
    pub fn new(below_4g: u64, above_4g: u64, cpus: u8) -> Self {
        let mut memory = Self([0; 128]);
        memory.set_word(0x15, BASE_MEMORY_KIB);
        // KiB above 1 MiB, for programs that know 64 MiB at most.
        let extended_kib = word(below_4g.saturating_sub(1 << 20) >> 10);
        memory.set_word(0x17, extended_kib);
        memory.set_word(0x30, extended_kib);
        // Units of 64 KiB above 16 MiB, below the PCI hole.
        memory.set_word(0x34, word(below_4g.saturating_sub(16 << 20) >> 16));
        // Units of 64 KiB above 4 GiB, in three bytes.
        let high = (above_4g >> 16).min(0xFF_FFFF) as u32;
        for (i, byte) in high.to_le_bytes().iter().take(3).enumerate() {
            memory.set(0x5B + i, *byte);
        }
        memory.set(0x14, EQUIPMENT);
        memory.set(0x38, NO_FLOPPY_CHECK);
        memory.set(0x3D, BOOT_FIRST_DISK);
        memory.set(0x5F, cpus.saturating_sub(1));
        // The sum of 0x10 to 0x2D, high byte first (IBM PC AT Technical Reference).
        let sum = (0x10..=0x2D).map(|i| u16::from(memory.get(i))).fold(0, u16::wrapping_add);
        memory.set(0x2E, (sum >> 8) as u8);
        memory.set(0x2F, sum as u8);
        memory
    }

    /// The byte at `index`, modulo the size.
    pub fn get(&self, index: usize) -> u8 {
        self.0[index & 0x7F]
    }

    /// Sets the byte at `index`, modulo the size.
    pub fn set(&mut self, index: usize, value: u8) {
        self.0[index & 0x7F] = value;
    }

    fn set_word(&mut self, index: usize, value: u16) {
        let [low, high] = value.to_le_bytes();
        self.set(index, low);
        self.set(index + 1, high);
    }
}

fn word(value: u64) -> u16 {
    value.min(0xFFFF) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word_at(memory: &Memory, index: usize) -> u64 {
        u64::from(u16::from_le_bytes([memory.get(index), memory.get(index + 1)]))
    }

    #[test]
    fn memory_sizes_are_in_the_units_that_seabios_multiplies_out() {
        let memory = Memory::new(0xC000_0000, 5 << 30, 1);
        assert_eq!((word_at(&memory, 0x34) << 16) + (16 << 20), 0xC000_0000);
        let high = word_at(&memory, 0x5B) | u64::from(memory.get(0x5D)) << 16;
        assert_eq!(high << 16, 5 << 30);
        assert_eq!(word_at(&memory, 0x30), 0xFFFF);
        assert_eq!(memory.get(0x5F), 0);
    }

    #[test]
    fn a_small_machine_is_told_by_the_old_registers() {
        let memory = Memory::new(8 << 20, 0, 1);
        assert_eq!(word_at(&memory, 0x34), 0);
        assert_eq!(word_at(&memory, 0x30), 7 * 1024);
        assert_eq!(word_at(&memory, 0x15), 640);
    }

    #[test]
    fn the_checksum_covers_the_bytes_that_the_at_bios_sums() {
        let memory = Memory::new(64 << 20, 0, 1);
        let sum: u16 = (0x10..=0x2D).map(|i| u16::from(memory.get(i))).sum();
        assert_eq!(u16::from_be_bytes([memory.get(0x2E), memory.get(0x2F)]), sum);
    }
}
