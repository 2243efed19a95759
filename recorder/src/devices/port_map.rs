//! The port map of a PC (Intel 82371AB PIIX4 data sheet, table 13, and each device's own source): which device answers at
//! which port, and what the registers are called in reports. One table serves both.

/// Which device answers at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Owner {
    /// The bus floats.
    Nobody,
    /// The first serial port.
    Com1,
    /// The interrupt controllers.
    Pic,
    /// The timer.
    Pit,
    /// Port 0x61.
    SystemControlB,
    /// Port 0x60 of the keyboard controller.
    KeyboardData,
    /// Port 0x64 of the keyboard controller.
    KeyboardCommand,
    /// Port 0x92.
    SystemControlA,
    /// Clock and CMOS memory.
    Rtc,
    /// DMA controller for channels 0 to 3.
    Dma1,
    /// DMA controller for channels 4 to 7.
    Dma2,
    /// DMA pages and POST codes.
    DmaPages,
    /// A port that only takes time.
    Delay,
    /// Debug console at 0x402.
    DebugPort402,
    /// Debug console at 0xE9.
    DebugPortE9,
    /// The exit device.
    Exit,
    /// `fw_cfg`'s selector.
    FwCfgSelector,
    /// `fw_cfg`'s data.
    FwCfgData,
    /// PCI configuration address, and the reset control register inside it.
    PciAddress,
    /// PCI configuration data.
    PciData,
    /// ACPI fixed hardware.
    PmTimer,
}

/// One row: ports `start..end` belong to `owner` and are this register of this device.
#[derive(Debug, Clone, Copy)]
pub struct PortRange {
    /// First port.
    pub start: u16,
    /// First port after the range.
    pub end: u16,
    /// Who answers.
    pub owner: Owner,
    /// The device's name.
    pub device: &'static str,
    /// The register's name.
    pub register: &'static str,
}

const fn port(start: u16, owner: Owner, device: &'static str, register: &'static str) -> PortRange {
    PortRange { start, end: start + 1, owner, device, register }
}

const fn ports(
    start: u16,
    end: u16,
    owner: Owner,
    device: &'static str,
    register: &'static str,
) -> PortRange {
    PortRange { start, end, owner, device, register }
}

/// A well-known place where this PC has nothing, named so that a report can say what was looked for.
const fn absent(start: u16, end: u16, device: &'static str) -> PortRange {
    PortRange { start, end, owner: Owner::Nobody, device, register: "" }
}

/// The map, in the order of the ports.
pub const PORTS: &[PortRange] = &[
    ports(0x00, 0x08, Owner::Dma1, "DMA 1", "address and count"),
    ports(0x08, 0x10, Owner::Dma1, "DMA 1", "control"),
    port(0x20, Owner::Pic, "PIC", "master command"),
    port(0x21, Owner::Pic, "PIC", "master mask"),
    absent(0x2E, 0x30, "Super I/O (absent)"),
    port(0x40, Owner::Pit, "PIT", "channel 0"),
    port(0x41, Owner::Pit, "PIT", "channel 1"),
    port(0x42, Owner::Pit, "PIT", "channel 2"),
    port(0x43, Owner::Pit, "PIT", "control"),
    absent(0x4E, 0x50, "Super I/O (absent)"),
    port(0x60, Owner::KeyboardData, "keyboard controller", "data"),
    port(0x61, Owner::SystemControlB, "PIT", "port 0x61: gate 2, speaker"),
    port(0x64, Owner::KeyboardCommand, "keyboard controller", "status and command"),
    port(0x70, Owner::Rtc, "CMOS/RTC", "index"),
    port(0x71, Owner::Rtc, "CMOS/RTC", "data"),
    port(0x80, Owner::DmaPages, "POST code", "POST code"),
    ports(0x81, 0x90, Owner::DmaPages, "DMA page", "page"),
    port(0x92, Owner::SystemControlA, "port 0x92", "A20, fast reset"),
    port(0xA0, Owner::Pic, "PIC", "slave command"),
    port(0xA1, Owner::Pic, "PIC", "slave mask"),
    absent(0xB2, 0xB4, "APM/SMI (absent)"),
    ports(0xC0, 0xD0, Owner::Dma2, "DMA 2", "address and count"),
    ports(0xD0, 0xE0, Owner::Dma2, "DMA 2", "control"),
    port(0xE9, Owner::DebugPortE9, "debug port 0xE9", "output"),
    port(0xED, Owner::Delay, "delay", "delay"),
    absent(0xF0, 0xF2, "coprocessor error (absent)"),
    port(0xF4, Owner::Exit, "exit", "code"),
    absent(0x170, 0x178, "IDE secondary (absent)"),
    absent(0x1F0, 0x1F8, "IDE primary (absent)"),
    absent(0x278, 0x27B, "LPT2 (absent)"),
    absent(0x2E8, 0x2F0, "COM4 (absent)"),
    absent(0x2F8, 0x300, "COM2 (absent)"),
    absent(0x376, 0x377, "IDE secondary (absent)"),
    absent(0x378, 0x37B, "LPT1 (absent)"),
    absent(0x3B0, 0x3E0, "VGA (absent)"),
    absent(0x3E8, 0x3F0, "COM3 (absent)"),
    absent(0x3F0, 0x3F6, "floppy (absent)"),
    absent(0x3F6, 0x3F7, "IDE primary (absent)"),
    absent(0x3F7, 0x3F8, "floppy (absent)"),
    port(0x3F8, Owner::Com1, "COM1", "data, divisor low"),
    port(0x3F9, Owner::Com1, "COM1", "interrupt enable, divisor high"),
    port(0x3FA, Owner::Com1, "COM1", "interrupt identification, FIFO control"),
    port(0x3FB, Owner::Com1, "COM1", "line control"),
    port(0x3FC, Owner::Com1, "COM1", "modem control"),
    port(0x3FD, Owner::Com1, "COM1", "line status"),
    port(0x3FE, Owner::Com1, "COM1", "modem status"),
    port(0x3FF, Owner::Com1, "COM1", "scratch"),
    port(0x402, Owner::DebugPort402, "debug port 0x402", "output"),
    port(0x4D0, Owner::Pic, "PIC", "master edge/level"),
    port(0x4D1, Owner::Pic, "PIC", "slave edge/level"),
    port(0x510, Owner::FwCfgSelector, "fw_cfg", "selector"),
    port(0x511, Owner::FwCfgData, "fw_cfg", "data"),
    absent(0x514, 0x51C, "fw_cfg DMA (absent)"),
    ports(0x600, 0x602, Owner::PmTimer, "ACPI PM1", "status"),
    ports(0x602, 0x604, Owner::PmTimer, "ACPI PM1", "enable"),
    ports(0x604, 0x606, Owner::PmTimer, "ACPI PM1", "control"),
    ports(0x606, 0x608, Owner::PmTimer, "ACPI PM1", "reserved"),
    ports(0x608, 0x60C, Owner::PmTimer, "ACPI PM timer", "counter"),
    port(0xCF8, Owner::PciAddress, "PCI configuration", "address"),
    port(0xCF9, Owner::PciAddress, "PCI configuration", "address, reset control"),
    ports(0xCFA, 0xCFC, Owner::PciAddress, "PCI configuration", "address"),
    ports(0xCFC, 0xD00, Owner::PciData, "PCI configuration", "data"),
    // Where Bochs has it: UEFI firmware switches a machine off there that has a 440FX, and small kernels do.
    ports(0xB004, 0xB006, Owner::PmTimer, "ACPI PM1", "control"),
];

/// Ranges of guest-physical addresses where a PC may have devices and this one has none: (start, end, device).
pub const MMIO: &[(u64, u64, &str)] = &[
    (0x000A_0000, 0x000C_0000, "VGA memory (absent)"),
    (0xFED0_0000, 0xFED0_0400, "HPET (absent)"),
    (0xFED4_0000, 0xFED4_5000, "TPM (absent)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_no_port_has_two_owners() {
        for pair in PORTS.windows(2) {
            assert!(pair[0].start < pair[0].end && pair[0].end <= pair[1].start, "{pair:x?}");
        }
    }
}
