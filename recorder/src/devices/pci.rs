//! PCI configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2) at ports 0xCF8 and 0xCFC, and the reset control
//! register 0xCF9 between them (82371AB PIIX4 data sheet, 4.2.6.3). Three functions are on the bus: the host bridge of an Intel 440FX
//! (82441FX data sheet, order 290549, 3.2), and of a PIIX4 (82371AB) the bridge to ISA, behind which UEFI firmware looks for a serial
//! port, and power management, which tells it where the ACPI registers are. The bridge says that it is alone in its device, so that
//! others, who enumerate functions, do not find that one: it is there for who knows.
//!
//! The programmable attribute map (PAM) is stored; memory from 0xC0000 to 0xFFFFF is RAM whatever it says.

use super::pm_timer;

const INTEL: u16 = 0x8086;
/// Enables configuration cycles.
const ADDRESS_ENABLE: u32 = 1 << 31;
/// Bits that name bus, device and function.
const ADDRESS_FUNCTION: u32 = 0x00FF_FF00;
const ADDRESS_WRITABLE: u32 = 0x80FF_FFFC;
/// Configuration registers of the 82441FX (3.2).
const COMMAND: usize = 0x04;
const PAM_AND_DRAM: std::ops::Range<usize> = 0x59..0x68;
const SMRAM: usize = 0x72;
/// Functions, as in a configuration address.
const HOST_BRIDGE: u32 = 0;
const ISA_BRIDGE: u32 = 1 << 11;
const POWER_MANAGEMENT: u32 = ISA_BRIDGE | 3 << 8;
/// PIRQRC: which interrupts PCI's four lines are (82371AB, 4.1). None is used.
const PIRQ_ROUTES: std::ops::Range<usize> = 0x60..0x64;
const NOT_ROUTED: u8 = 0x80;
/// PMBA and PMREGMISC (82371AB, 7.1): the base of the ACPI registers, which are I/O, and whether they are there.
const PM_BASE: usize = 0x40;
const PM_ENABLE: usize = 0x80;
/// Reset control: the processor is reset when RCPU rises.
const RESET_CPU: u8 = 1 << 2;
const RESET_SYSTEM: u8 = 1 << 1;

/// The bus as configuration software sees it.
#[derive(Debug)]
pub struct Pci {
    address: u32,
    host_bridge: [u8; 256],
    isa_bridge: [u8; 256],
    power_management: [u8; 256],
    reset_control: u8,
    reset: bool,
}

impl Default for Pci {
    fn default() -> Self {
        // Bits of the command: I/O, memory, bus master. Status: medium DEVSEL. Then revision and class.
        let mut host = intel(0x1237, [0x06, 0x00, 0x80, 0x02, 0x02, 0x00, 0x00, 0x06]);
        // Subsystem 1AF4:1100 is how SeaBIOS recognizes a machine that has fw_cfg (src/fw/paravirt.c, qemu_detect).
        host[0x2C..0x30].copy_from_slice(&[0xF4, 0x1A, 0x00, 0x11]);
        host[SMRAM] = 0x02;
        let mut isa = intel(0x7110, [0x07, 0x00, 0x80, 0x02, 0x02, 0x00, 0x01, 0x06]);
        isa[PIRQ_ROUTES].fill(NOT_ROUTED);
        let mut power = intel(0x7113, [0x01, 0x00, 0x80, 0x02, 0x03, 0x00, 0x80, 0x06]);
        power[PM_BASE..PM_BASE + 4].copy_from_slice(&(u32::from(pm_timer::BASE) | 1).to_le_bytes());
        power[PM_ENABLE] = 1;
        Self {
            address: 0,
            host_bridge: host,
            isa_bridge: isa,
            power_management: power,
            reset_control: 0,
            reset: false,
        }
    }
}

/// The configuration of a function of Intel's: its device ID, and what stands from the command on.
fn intel(device: u16, from_command: [u8; 8]) -> [u8; 256] {
    let mut config = [0; 256];
    config[..2].copy_from_slice(&INTEL.to_le_bytes());
    config[2..4].copy_from_slice(&device.to_le_bytes());
    config[COMMAND..COMMAND + 8].copy_from_slice(&from_command);
    config
}

impl Pci {
    /// Reads the configuration address: a doubleword at 0xCF8 and nothing else.
    pub fn address(&self) -> u32 {
        self.address
    }

    /// Writes the configuration address.
    pub fn set_address(&mut self, value: u32) {
        self.address = value & ADDRESS_WRITABLE;
    }

    /// Reads the byte at 0xCFC + `offset`. A function that is not there answers all ones.
    pub fn read(&self, offset: u8) -> u8 {
        let config = match self.function() {
            Some(HOST_BRIDGE) => &self.host_bridge,
            Some(ISA_BRIDGE) => &self.isa_bridge,
            Some(POWER_MANAGEMENT) => &self.power_management,
            _ => return 0xFF,
        };
        config[self.register(offset)]
    }

    /// Writes the byte at 0xCFC + `offset`. Where the ACPI registers are stays as it is.
    pub fn write(&mut self, offset: u8, value: u8) {
        let register = self.register(offset);
        match (self.function(), register) {
            // Memory space cannot be disabled; SERR# and parity can be enabled (3.2.3).
            (Some(HOST_BRIDGE), COMMAND) => self.host_bridge[COMMAND] = value & 0x40 | 0x06,
            (Some(HOST_BRIDGE), _) if register == COMMAND + 1 => self.host_bridge[register] = value & 0x01,
            (Some(HOST_BRIDGE), _) if PAM_AND_DRAM.contains(&register) || register == SMRAM => {
                self.host_bridge[register] = value;
            }
            (Some(ISA_BRIDGE), _) if PIRQ_ROUTES.contains(&register) => self.isa_bridge[register] = value,
            _ => {}
        }
    }

    /// Reads 0xCF9.
    pub fn reset_control(&self) -> u8 {
        self.reset_control
    }

    /// Writes 0xCF9.
    pub fn set_reset_control(&mut self, value: u8) {
        self.reset |= value & !self.reset_control & RESET_CPU != 0;
        self.reset_control = value & (RESET_CPU | RESET_SYSTEM);
    }

    /// Takes the request to reset, if there was one.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset)
    }

    /// The function that the address selects.
    fn function(&self) -> Option<u32> {
        (self.address & ADDRESS_ENABLE != 0).then_some(self.address & ADDRESS_FUNCTION)
    }

    /// The register that the address and the offset select.
    fn register(&self, offset: u8) -> usize {
        (self.address & 0xFC) as usize | usize::from(offset & 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_dword(pci: &mut Pci, address: u32) -> u32 {
        pci.set_address(address);
        u32::from_le_bytes([0, 1, 2, 3].map(|offset| pci.read(offset)))
    }

    #[test]
    fn the_host_bridge_is_a_440fx_that_seabios_takes_for_qemus() {
        let mut pci = Pci::default();
        assert_eq!(read_dword(&mut pci, 0x8000_0000), 0x1237_8086);
        assert_eq!(read_dword(&mut pci, 0x8000_0008) >> 8, 0x06_0000);
        assert_eq!(read_dword(&mut pci, 0x8000_002C), 0x1100_1AF4);
    }

    #[test]
    fn every_other_function_is_absent() {
        let mut pci = Pci::default();
        let is_there = |function: &u32| [HOST_BRIDGE, ISA_BRIDGE, POWER_MANAGEMENT].contains(function);
        for function in (0..0x1_0000).map(|bdf| bdf << 8).filter(|function| !is_there(function)) {
            assert_eq!(read_dword(&mut pci, 0x8000_0000 | function), 0xFFFF_FFFF);
        }
    }

    #[test]
    fn the_bridge_to_isa_is_alone_in_its_device_and_routes_no_interrupt_before_it_is_told() {
        let mut pci = Pci::default();
        assert_eq!(read_dword(&mut pci, 0x8000_0800), 0x7110_8086);
        assert_eq!(read_dword(&mut pci, 0x8000_0808) >> 8, 0x06_0100);
        assert_eq!(read_dword(&mut pci, 0x8000_080C) >> 16 & 0xFF, 0, "header type");
        assert_eq!(read_dword(&mut pci, 0x8000_0860), 0x8080_8080);
        pci.write(2, 11);
        assert_eq!(read_dword(&mut pci, 0x8000_0860), 0x800B_8080);
    }

    #[test]
    fn power_management_says_where_acpi_is_and_keeps_to_it() {
        let mut pci = Pci::default();
        assert_eq!(read_dword(&mut pci, 0x8000_0B00), 0x7113_8086);
        assert_eq!(read_dword(&mut pci, 0x8000_0B40), 0x0601);
        pci.write(1, 0xB0);
        assert_eq!(read_dword(&mut pci, 0x8000_0B40), 0x0601);
        assert_eq!(read_dword(&mut pci, 0x8000_0B80), 1);
    }

    #[test]
    fn without_the_enable_bit_there_is_no_configuration_cycle() {
        assert_eq!(read_dword(&mut Pci::default(), 0), 0xFFFF_FFFF);
    }

    #[test]
    fn the_address_reads_back_without_its_reserved_bits() {
        let mut pci = Pci::default();
        pci.set_address(0xFFFF_FFFF);
        assert_eq!(pci.address(), 0x80FF_FFFC);
    }

    #[test]
    fn identification_is_read_only_and_the_attribute_map_is_stored() {
        let mut pci = Pci::default();
        pci.set_address(0x8000_0000);
        pci.write(0, 0);
        assert_eq!(pci.read(0), 0x86);
        pci.set_address(0x8000_0058);
        pci.write(1, 0x30);
        assert_eq!(pci.read(1), 0x30);
    }

    #[test]
    fn a_reset_needs_the_rising_edge_of_rcpu() {
        let mut pci = Pci::default();
        pci.set_reset_control(0x02);
        assert!(!pci.take_reset());
        pci.set_reset_control(0x06);
        assert!(pci.take_reset());
        pci.set_reset_control(0x06);
        assert!(!pci.take_reset());
    }
}
