//! Linux's zero page (`struct boot_params`; Documentation/arch/x86/zero-page.rst).

use super::setup_header::fill_in;
use super::{Initrd, seed};
use crate::guest::acpi;
use crate::guest::memory_map::Row;
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use vm_memory::ByteValued;

/// "HdrS".
const MAGIC: u32 = 0x5372_6448;
const BOOT_FLAG: u16 = 0xaa55;

/// The page.
pub(super) fn build(
    mut header: setup_header,
    cmdline: u64,
    cmdline_bytes: u64,
    initrd: Initrd,
    map: &[Row],
) -> Vec<u8> {
    header.header = MAGIC;
    header.boot_flag = BOOT_FLAG;
    fill_in(&mut header, cmdline, initrd);
    header.setup_data = seed::SEED;
    // The image's own limit, which a loader reads and leaves (Documentation/arch/x86/boot.rst); memtest86+ looks no further
    // than this for the terminating zero, and needs to see it.
    header.cmdline_size = header.cmdline_size.max(cmdline_bytes as u32 + 1);
    let mut page = boot_params { hdr: header, acpi_rsdp_addr: acpi::RSDP, ..boot_params::default() };
    page.e820_entries = map.len() as u8;
    for (slot, &(addr, size, r#type)) in page.e820_table.iter_mut().zip(map) {
        *slot = boot_e820_entry { addr, size, r#type };
    }
    page.as_slice().to_vec()
}
