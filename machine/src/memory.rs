//! Guest memory: RAM and ROM behind memslots, through vm-memory.

use crate::error::{MachineError, refused};
use kvm_bindings::{KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use trapline_formats::memory::{PAGE_BYTES, page_hash};
use trapline_formats::{Gpa, MemoryRegion};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// The memory of one guest.
#[derive(Debug)]
pub struct Memory {
    mmap: GuestMemoryMmap<()>,
    regions: Vec<MemoryRegion>,
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
        let mmap = GuestMemoryMmap::from_ranges(&ranges).map_err(|e| match largest {
            Some(r) => failed(r, e.to_string()),
            None => MachineError::Memory { gpa: Gpa(0), bytes: 0, reason: "there is no region".into() },
        })?;
        Ok(Self { mmap, regions: regions.to_vec() })
    }

    /// Gives the regions to KVM, one slot each.
    pub(crate) fn register(&self, vm: &VmFd) -> Result<(), MachineError> {
        for (slot, (region, info)) in self.mmap.iter().zip(&self.regions).enumerate() {
            let host = region.get_host_address(vm_memory::MemoryRegionAddress(0)).map_err(|e| {
                MachineError::Memory { gpa: Gpa(info.gpa), bytes: info.bytes, reason: e.to_string() }
            })?;
            let slot = kvm_userspace_memory_region {
                slot: slot as u32,
                flags: if info.readonly { KVM_MEM_READONLY } else { 0 },
                guest_phys_addr: info.gpa,
                memory_size: info.bytes,
                userspace_addr: host as u64,
            };
            // SAFETY: the mapping is as large as the slot says and lives as long as `self`, which the machine keeps until
            // after the VM is closed; slots do not overlap because vm-memory refuses overlapping regions.
            unsafe { vm.set_user_memory_region(slot) }.map_err(refused("KVM_SET_USER_MEMORY_REGION"))?;
        }
        Ok(())
    }

    /// The mapping, for code that reads guest memory by its own means.
    pub fn mmap(&self) -> &GuestMemoryMmap<()> {
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

    /// Calls `visit` with every page: (page number, content). The guest must stand still.
    pub fn for_each_page(&self, mut visit: impl FnMut(u64, &[u8])) -> Result<(), MachineError> {
        let mut page = vec![0; PAGE_BYTES];
        for region in &self.regions {
            for number in region.gpa / PAGE_BYTES as u64..(region.gpa + region.bytes) / PAGE_BYTES as u64 {
                self.read(Gpa(number * PAGE_BYTES as u64), &mut page)?;
                visit(number, &page);
            }
        }
        Ok(())
    }

    /// The pages that are not all zeros, ascending: (page number, XXH3-64).
    pub fn hashes(&self) -> Result<Vec<(u64, u64)>, MachineError> {
        let mut pages = Vec::new();
        self.for_each_page(|number, content| {
            if !is_zero(content) {
                pages.push((number, page_hash(content)));
            }
        })?;
        Ok(pages)
    }
}

/// Whether all bytes are zero.
pub fn is_zero(page: &[u8]) -> bool {
    let (words, tail) = page.as_chunks::<16>();
    words.iter().all(|w| u128::from_ne_bytes(*w) == 0) && tail.iter().all(|b| *b == 0)
}
