//! PVH's start info (Xen, xen/include/public/arch-x86/hvm/start_info.h), with its memory map and modules behind it.

use super::Initrd;
use crate::guest::acpi;
use crate::guest::memory_map::Row;
use linux_loader::loader::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use trapline_formats::Gpa;
use vm_memory::ByteValued;

/// "xEn3" with the top bit of the E set.
const MAGIC: u32 = 0x336e_c578;
const MODULES: u64 = 0x80;
const MAP: u64 = 0x100;

/// The structures, to be put at `at`.
pub(super) fn start_info(at: u64, cmdline: u64, initrd: Initrd, map: &[Row]) -> Vec<(Gpa, Vec<u8>)> {
    let info = hvm_start_info {
        magic: MAGIC,
        version: 1,
        nr_modules: initrd.is_some().into(),
        modlist_paddr: at + MODULES,
        cmdline_paddr: cmdline,
        rsdp_paddr: acpi::RSDP,
        memmap_paddr: at + MAP,
        memmap_entries: map.len() as u32,
        ..hvm_start_info::default()
    };
    let module =
        initrd.map(|(paddr, size)| hvm_modlist_entry { paddr, size, ..hvm_modlist_entry::default() });
    let rows = map.iter().flat_map(|&(addr, size, type_)| {
        hvm_memmap_table_entry { addr, size, type_, reserved: 0 }.as_slice().to_vec()
    });
    let mut pieces = vec![(Gpa(at), info.as_slice().to_vec()), (Gpa(at + MAP), rows.collect())];
    pieces.extend(module.map(|m| (Gpa(at + MODULES), m.as_slice().to_vec())));
    pieces
}
