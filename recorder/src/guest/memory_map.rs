//! The memory map of a PC: what firmware would report by E820 (ACPI 6.5, 15.4).

use crate::guest::acpi;
use trapline_formats::MemoryRegion;

/// RAM.
pub(crate) const RAM: u32 = 1;
/// Not for the operating system.
pub(crate) const RESERVED: u32 = 2;
/// The EBDA begins here on every PC; what follows belongs to firmware and cards.
pub(crate) const LOW_END: u64 = 0x9_fc00;
const ONE_MIB: u64 = 1 << 20;

/// A row of the map: start, bytes, type.
pub(crate) type Row = (u64, u64, u32);

/// The rows, ascending.
pub(crate) fn of(memory: &[MemoryRegion]) -> Vec<Row> {
    let mut rows = vec![(0, LOW_END, RAM), (acpi::RSDP, acpi::END - acpi::RSDP, RESERVED)];
    for region in memory.iter().filter(|r| !r.readonly) {
        let start = region.gpa.max(ONE_MIB);
        let end = region.gpa + region.bytes;
        if start < end {
            rows.push((start, end - start, RAM));
        }
    }
    rows
}
