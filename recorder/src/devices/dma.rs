//! Two 8237A DMA controllers (Intel 8237A data sheet, order 231466) and their page registers, as the PC/AT wires them:
//! channels 0 to 3 at 0x00 to 0x0F, 4 to 7 at 0xC0 to 0xDF (even ports), pages at 0x80 to 0x8F.
//!
//! No device requests DMA: addresses and counts are what was written, and nothing is ever transferred.

/// One controller's registers.
#[derive(Debug)]
pub struct Dma {
    /// Address and count of each channel.
    registers: [[u8; 2]; 8],
    /// Selects the high byte next.
    high: bool,
    mask: u8,
}

impl Default for Dma {
    fn default() -> Self {
        Self { registers: [[0; 2]; 8], high: false, mask: 0x0F }
    }
}

impl Dma {
    /// Reads register `register` (0 to 15).
    pub fn read(&mut self, register: u8) -> u8 {
        match register {
            0..=7 => self.registers[usize::from(register)][self.next_byte()],
            // Status: no requests, no terminal counts. Register 15 is readable in the chipset's version (82371AB 4.2.1).
            15 => 0xF0 | self.mask,
            _ => 0,
        }
    }

    /// Writes register `register` (0 to 15).
    pub fn write(&mut self, register: u8, value: u8) {
        match register {
            0..=7 => {
                let byte = self.next_byte();
                self.registers[usize::from(register)][byte] = value;
            }
            10 => {
                let bit = 1 << (value & 3);
                self.mask = if value & 4 != 0 { self.mask | bit } else { self.mask & !bit };
            }
            12 => self.high = false,
            // Master clear: like a hardware reset, all channels are masked.
            13 => {
                self.high = false;
                self.mask = 0x0F;
            }
            14 => self.mask = 0,
            15 => self.mask = value & 0x0F,
            // Command, request and mode: there is nothing to command.
            _ => {}
        }
    }

    /// The byte that the first/last flip-flop selects.
    fn next_byte(&mut self) -> usize {
        let byte = usize::from(self.high);
        self.high = !self.high;
        byte
    }
}

/// The page registers: plain latches, of which port 0x80 also shows POST codes.
#[derive(Debug, Default)]
pub struct DmaPages([u8; 16]);

impl DmaPages {
    /// Reads port 0x80 + `offset`.
    pub fn read(&self, offset: u8) -> u8 {
        self.0[usize::from(offset & 15)]
    }

    /// Writes port 0x80 + `offset`.
    pub fn write(&mut self, offset: u8, value: u8) {
        self.0[usize::from(offset & 15)] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bit_registers_go_through_the_flip_flop_low_byte_first() {
        let mut dma = Dma::default();
        dma.write(12, 0);
        dma.write(3, 0x34);
        dma.write(3, 0x12);
        assert_eq!((dma.read(3), dma.read(3)), (0x34, 0x12));
        dma.read(3);
        dma.write(12, 0);
        assert_eq!(dma.read(3), 0x34);
    }

    #[test]
    fn a_master_clear_masks_every_channel_and_single_bits_unmask() {
        let mut dma = Dma::default();
        dma.write(14, 0);
        dma.write(10, 0x05);
        assert_eq!(dma.read(15) & 0x0F, 0x02);
        dma.write(13, 0);
        dma.write(10, 0x02);
        assert_eq!(dma.read(15) & 0x0F, 0x0B);
    }
}
