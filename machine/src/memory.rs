//! Guest memory: RAM and ROM behind memslots, through vm-memory.

mod page_set;
mod page_table;
mod watch;

pub use page_set::PageSet;
pub use page_table::PageTable;
pub use watch::{Changed, MemoryWatch};

use crate::error::{MachineError, refused};
use crate::page_map::PageMap;
use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use std::sync::atomic::{AtomicBool, Ordering};
use trapline_formats::memory::{PAGE_BYTES, is_zero, page_hash};
use trapline_formats::{Gpa, MemoryRegion};
use vm_memory::bitmap::AtomicBitmap;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// Guest memory as vm-memory maps it. It notes which pages were written through it.
pub type Mapping = GuestMemoryMmap<AtomicBitmap>;

/// The memory of one guest.
#[derive(Debug)]
pub struct Memory {
    mmap: Mapping,
    regions: Vec<MemoryRegion>,
    /// KVM was asked to log what the guest writes.
    is_logged: AtomicBool,
}

impl Memory {
    /// Maps memory for these regions: page-aligned, ascending, apart from each other.
    pub fn new(regions: &[MemoryRegion]) -> Result<Self, MachineError> {
        let failed = |r: &MemoryRegion, reason: String| MachineError::Memory {
            gpa: Gpa(r.gpa),
            bytes: r.bytes,
            reason,
        };
        let page = PAGE_BYTES as u64;
        for r in regions {
            if r.bytes == 0
                || r.bytes % page != 0
                || r.gpa % page != 0
                || r.gpa.checked_add(r.bytes).is_none()
            {
                return Err(failed(r, "it is not a whole number of pages".into()));
            }
        }
        let ranges: Vec<_> = regions.iter().map(|r| (GuestAddress(r.gpa), r.bytes as usize)).collect();
        let largest = regions.iter().max_by_key(|r| r.bytes);
        let mmap = Mapping::from_ranges(&ranges).map_err(|e| match largest {
            Some(r) => failed(r, e.to_string()),
            None => MachineError::Memory { gpa: Gpa(0), bytes: 0, reason: "there is no region".into() },
        })?;
        Ok(Self { mmap, regions: regions.to_vec(), is_logged: AtomicBool::new(false) })
    }

    /// Gives the regions to KVM, one slot each.
    pub(crate) fn register(&self, vm: &VmFd) -> Result<(), MachineError> {
        for slot in self.slots()? {
            // SAFETY: the mapping is as large as the slot says and lives as long as `self`, which the machine keeps until
            // after the VM is closed; slots do not overlap because vm-memory refuses overlapping regions.
            unsafe { vm.set_user_memory_region(slot) }.map_err(refused("KVM_SET_USER_MEMORY_REGION"))?;
        }
        Ok(())
    }

    fn slots(&self) -> Result<Vec<kvm_userspace_memory_region>, MachineError> {
        let log = if self.is_logged.load(Ordering::Relaxed) { KVM_MEM_LOG_DIRTY_PAGES } else { 0 };
        let slots = self.mmap.iter().zip(&self.regions).zip(0..).map(|((region, info), slot)| {
            let host = region.get_host_address(vm_memory::MemoryRegionAddress(0)).map_err(|e| {
                MachineError::Memory { gpa: Gpa(info.gpa), bytes: info.bytes, reason: e.to_string() }
            })?;
            Ok(kvm_userspace_memory_region {
                slot,
                // The guest writes nothing into ROM.
                flags: if info.readonly { KVM_MEM_READONLY } else { log },
                guest_phys_addr: info.gpa,
                memory_size: info.bytes,
                userspace_addr: host as u64,
            })
        });
        slots.collect()
    }

    /// Has KVM log the pages that the guest writes, from now on. False: it refuses.
    fn log_writes(&self, vm: &VmFd) -> Result<bool, MachineError> {
        if self.is_logged.swap(true, Ordering::Relaxed) {
            return Ok(true);
        }
        let is_done = self.register(vm).is_ok();
        if !is_done {
            self.is_logged.store(false, Ordering::Relaxed);
            self.register(vm)?;
        }
        Ok(is_done)
    }

    /// The pages that may have been written since the last call: by the guest, as KVM logged it or else any, or by us.
    fn take_written(&self, vm: &VmFd, is_logged: bool) -> Result<PageSet, MachineError> {
        let mut pages = PageSet::empty(&self.regions);
        for (i, (region, info)) in self.mmap.iter().zip(&self.regions).enumerate() {
            pages.add(i, &AtomicBitmap::get_and_reset(vm_memory::MmapRegion::bitmap(region)));
            if info.readonly {
                continue;
            }
            if is_logged {
                let log = vm.get_dirty_log(i as u32, info.bytes as usize);
                pages.add(i, &log.map_err(refused("KVM_GET_DIRTY_LOG"))?);
            } else {
                pages.add_all(i);
            }
        }
        Ok(pages)
    }

    /// Has KVM forget every translation that it made, and with it the processor: memory that holds page tables was written behind
    /// their back.
    pub(crate) fn forget_translations(&self, vm: &VmFd) -> Result<(), MachineError> {
        for slot in self.slots()? {
            let none = kvm_userspace_memory_region { memory_size: 0, ..slot };
            // SAFETY: a slot of no size is deleted (KVM API 4.35).
            unsafe { vm.set_user_memory_region(none) }.map_err(refused("KVM_SET_USER_MEMORY_REGION"))?;
        }
        self.register(vm)
    }

    /// The mapping, for code that reads guest memory by its own means.
    pub fn mmap(&self) -> &Mapping {
        &self.mmap
    }

    /// What memory there is.
    pub fn regions(&self) -> &[MemoryRegion] {
        &self.regions
    }

    /// Copies bytes into guest memory, ROM included.
    pub fn write(&self, gpa: Gpa, bytes: &[u8]) -> Result<(), MachineError> {
        self.mmap
            .write_slice(bytes, GuestAddress(gpa.0))
            .map_err(|_| MachineError::OutOfMemory { gpa, bytes: bytes.len() })
    }

    /// Copies bytes out of guest memory.
    pub fn read(&self, gpa: Gpa, bytes: &mut [u8]) -> Result<(), MachineError> {
        let length = bytes.len();
        self.mmap
            .read_slice(bytes, GuestAddress(gpa.0))
            .map_err(|_| MachineError::OutOfMemory { gpa, bytes: length })
    }

    /// Whether the address is RAM or ROM.
    pub fn contains(&self, gpa: Gpa) -> bool {
        self.mmap.address_in_range(GuestAddress(gpa.0))
    }

    /// Whether the address is ROM.
    pub fn is_readonly(&self, gpa: Gpa) -> bool {
        self.regions.iter().any(|r| r.readonly && gpa.0 >= r.gpa && gpa.0 - r.gpa < r.bytes)
    }

    /// The pages that may hold something: every one that was ever written, and hardly more.
    fn in_use(&self) -> PageSet {
        let map = PageMap::open();
        let mut pages = PageSet::empty(&self.regions);
        for (mapping, region) in self.mmap.iter().zip(&self.regions) {
            let first = region.gpa / PAGE_BYTES as u64;
            map.for_each_used(mapping.as_ptr() as u64, region.bytes / PAGE_BYTES as u64, |page| {
                pages.insert(first + page);
            });
        }
        pages
    }

    /// Calls `visit` with every page that is not all zeros, ascending: (page number, content). The guest must stand still.
    pub fn for_each_page(&self, mut visit: impl FnMut(u64, &[u8; PAGE_BYTES])) -> Result<(), MachineError> {
        let mut content = [0; PAGE_BYTES];
        for page in self.in_use().iter() {
            self.read(Gpa(page * PAGE_BYTES as u64), &mut content)?;
            if !is_zero(&content) {
                visit(page, &content);
            }
        }
        Ok(())
    }

    /// The pages that are not all zeros, ascending: (page number, XXH3-64).
    pub fn hashes(&self) -> Result<Vec<(u64, u64)>, MachineError> {
        let mut pages = Vec::new();
        self.for_each_page(|number, content| pages.push((number, page_hash(content))))?;
        Ok(pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_that_was_written_is_visited_and_no_other_is_made_by_looking() {
        let bytes = 20_000 * PAGE_BYTES as u64;
        let regions =
            [(0, bytes), (1 << 32, bytes)].map(|(gpa, bytes)| MemoryRegion { gpa, bytes, readonly: false });
        let memory = Memory::new(&regions).unwrap();
        let written = [0, 1, 511, 512, 19_999].map(|page| page * PAGE_BYTES as u64);
        for gpa in written {
            memory.write(Gpa(gpa + 4095), &[7]).unwrap();
            memory.write(Gpa((1 << 32) + gpa), &[8]).unwrap();
        }
        memory.write(Gpa(bytes / 2), &[0]).unwrap();
        let mut visited = Vec::new();
        memory.for_each_page(|number, _| visited.push(number)).unwrap();
        let expected: Vec<u64> = [0, 1 << 32]
            .iter()
            .flat_map(|base| written.map(|gpa| (base + gpa) / PAGE_BYTES as u64))
            .collect();
        assert_eq!(visited, expected);

        let used = memory.in_use().iter().count();
        // Where the kernel hands out huge pages, each of these eleven brings 511 others.
        assert!((11..40_000).contains(&used), "{used} pages are in use");
    }
}
