//! ACPI tables (ACPI Specification 6.5, chapter 5): what an operating system needs to find the timer, the virtio slots and the way
//! to switch off. Fixed hardware is that of [`crate::devices::pm_timer`]. Guests that are entered without firmware find them in
//! memory; firmware puts them there itself: [`loader`].

pub mod loader;

use crate::devices::pm_timer::{BASE, SLP_TYP_S5};
use crate::devices::virtio;
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, aml};
use trapline_formats::Gpa;

/// Where the RSDP is: in the area that operating systems search for it (ACPI 6.5, 5.2.5.1).
pub const RSDP: u64 = 0xe_0000;
/// The other tables follow.
const TABLES: u64 = RSDP + 0x40;
/// What the tables may fill.
pub const END: u64 = 0x10_0000;

const OEM: [u8; 6] = *b"TRAPLN";
const TABLE: [u8; 8] = *b"TRAPLINE";
/// The system control interrupt, where every PC has it.
pub(super) const SCI: u16 = 9;
pub(super) const LOCAL_APIC: u32 = crate::devices::local_apic::DEFAULT_ADDRESS as u32;
pub(super) const IO_APIC: u32 = crate::devices::io_apic::ADDRESS as u32;

/// All tables, to be put at [`RSDP`].
pub fn tables() -> (Gpa, Vec<u8>) {
    let tables = Tables::at(TABLES);
    let mut bytes = rsdp(tables.xsdt);
    bytes.resize((TABLES - RSDP) as usize, 0);
    bytes.extend(tables.bytes);
    (Gpa(RSDP), bytes)
}

fn rsdp(xsdt: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Rsdp::new(OEM, xsdt).to_aml_bytes(&mut bytes);
    bytes
}

/// All tables but the RSDP one after the other, and the addresses of those that are pointed to or that point.
struct Tables {
    base: u64,
    bytes: Vec<u8>,
    facs: u64,
    dsdt: u64,
    fadt: u64,
    madt: u64,
    xsdt: u64,
}

impl Tables {
    /// Tables that lie from this address on.
    fn at(base: u64) -> Self {
        let mut all = Self { base, bytes: Vec::new(), facs: 0, dsdt: 0, fadt: 0, madt: 0, xsdt: 0 };
        all.facs = all.put(&acpi_tables::facs::FACS::new(), 64);
        all.dsdt = all.put(&dsdt(), 16);
        all.fadt = all.put(&fadt(all.facs, all.dsdt), 16);
        all.madt = all.put(&madt(), 16);
        let mut xsdt = XSDT::new(OEM, TABLE, 1);
        xsdt.add_entry(all.fadt);
        xsdt.add_entry(all.madt);
        all.xsdt = all.put(&xsdt, 16);
        all
    }

    /// Appends a table; returns its address.
    fn put(&mut self, table: &dyn Aml, alignment: u64) -> u64 {
        let at = (self.base + self.bytes.len() as u64).next_multiple_of(alignment);
        self.bytes.resize((at - self.base) as usize, 0);
        table.to_aml_bytes(&mut self.bytes);
        at
    }
}

/// The AML: `\_S5`, which says what to write into PM1a control to switch off, and the virtio slots.
fn dsdt() -> Sdt {
    let mut dsdt = Sdt::new(*b"DSDT", 36, 2, OEM, TABLE, 1);
    let mut code = Vec::new();
    let zero = aml::ZERO;
    aml::Name::new("_S5_".into(), &aml::Package::new(vec![&SLP_TYP_S5, &SLP_TYP_S5, &zero, &zero]))
        .to_aml_bytes(&mut code);
    for (slot, irq) in (0u32..).zip(virtio::IRQS) {
        virtio_slot(slot, irq, &mut code);
    }
    dsdt.append_slice(&code);
    dsdt.update_checksum();
    dsdt
}

/// A slot of virtio over MMIO, by the name that Linux and others know it by.
fn virtio_slot(slot: u32, irq: u8, code: &mut Vec<u8>) {
    let address = virtio::ADDRESS as u32 + slot * virtio::LENGTH as u32;
    let memory = aml::Memory32Fixed::new(true, address, virtio::LENGTH as u32);
    // As ISA has them: edge-triggered, active high, not shared.
    let interrupt = aml::Interrupt::new(true, true, false, false, irq.into());
    let resources = aml::ResourceTemplate::new(vec![&memory, &interrupt]);
    let (id, number) = (aml::Name::new("_HID".into(), &"LNRO0005"), aml::Name::new("_UID".into(), &slot));
    let resources = aml::Name::new("_CRS".into(), &resources);
    let path = format!("_SB_.VIO{slot}");
    aml::Device::new(path.as_str().into(), vec![&id, &number, &resources]).to_aml_bytes(code);
}

fn fadt(facs: u64, dsdt: u64) -> acpi_tables::fadt::FADT {
    let mut fadt = FADTBuilder::new(OEM, TABLE, 1)
        .firmware_ctrl_32(facs as u32)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::Desktop)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::ResetRegSup);
    let port = u32::from(BASE);
    // The builder knows either; SeaBIOS looks at this one alone.
    fadt.dsdt = (dsdt as u32).into();
    fadt.sci_int = SCI.into();
    fadt.pm1a_evt_blk = port.into();
    fadt.pm1a_cnt_blk = (port + 4).into();
    fadt.pm_tmr_blk = (port + 8).into();
    fadt.pm1_evt_len = 4;
    fadt.pm1_cnt_len = 2;
    fadt.pm_tmr_len = 4;
    // Latencies above these say that there are no C2 and C3 (ACPI 6.5, 5.2.9).
    fadt.p_lvl2_lat = 101.into();
    fadt.p_lvl3_lat = 1001.into();
    // ISA devices and an i8042 are there (IAPC_BOOT_ARCH, 5.2.9.3).
    fadt.iapc_boot_arch = 3.into();
    fadt.reset_reg = GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, 0xcf9);
    fadt.reset_value = 6;
    fadt.finalize()
}

/// One processor, one I/O APIC, and where its pins are not those of the 8259A or not as ISA has them (ACPI 6.5, 5.2.12).
/// The structures are written out: the crate has none for interrupt source overrides.
fn madt() -> Sdt {
    let mut madt = Sdt::new(*b"APIC", 36, 5, OEM, TABLE, 1);
    let [a, b, c, d] = LOCAL_APIC.to_le_bytes();
    // PCAT_COMPAT: there is a pair of 8259A too.
    madt.append_slice(&[a, b, c, d, 1, 0, 0, 0]);
    // Processor local APIC: processor 0, APIC id 0, enabled.
    madt.append_slice(&[0, 8, 0, 0, 1, 0, 0, 0]);
    let [a, b, c, d] = IO_APIC.to_le_bytes();
    // I/O APIC: id 1, its address, first global interrupt 0.
    madt.append_slice(&[1, 12, 1, 0, a, b, c, d, 0, 0, 0, 0]);
    // Interrupt source overrides: bus ISA, IRQ, global interrupt, flags. The timer is on pin 2, as the bus has it; the SCI is
    // level-triggered and active high.
    madt.append_slice(&[2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    madt.append_slice(&[2, 10, 0, SCI as u8, SCI as u8, 0, 0, 0, 0x0d, 0]);
    // Local APIC NMI: LINT1 of every processor, as the bus has it.
    madt.append_slice(&[4, 6, 0xff, 0, 0, 1]);
    madt.update_checksum();
    madt
}
