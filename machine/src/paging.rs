//! Linear addresses to guest-physical ones, as the guest's page tables stand: every paging mode, with the checks, the
//! error code and the accessed and dirty bits of a processor (Intel SDM vol. 3, chapter 4).
//!
//! `KVM_TRANSLATE` answers "where", but not "may it": it knows neither privilege nor what a fault would say.

use crate::memory::Memory;
use trapline_formats::{CpuidEntry, Gpa, Gva, SystemRegisters};

/// CR0.WP: a supervisor obeys read-only pages too (SDM vol. 3, 2.5).
const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;

/// Bits of a paging-structure entry (SDM vol. 3, tables 4-5 to 4-20).
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

/// Bits of the error code of #PF (SDM vol. 3, 4.7).
const FAULT_PRESENT: u32 = 1;
const FAULT_WRITE: u32 = 1 << 1;
const FAULT_USER: u32 = 1 << 2;
const FAULT_RESERVED: u32 = 1 << 3;
const FAULT_FETCH: u32 = 1 << 4;

/// What is to be done at an address, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Access {
    /// It writes.
    pub write: bool,
    /// It fetches an instruction.
    pub fetch: bool,
    /// CPL is 3, and the access is not to a descriptor table or TSS.
    pub user: bool,
    /// A supervisor may touch user pages in spite of SMAP: RFLAGS.AC is set, and the access is an explicit one.
    pub smap_open: bool,
}

/// The translation fails: the error code that #PF would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFault(pub u32);

/// An entry of a page table, on the way to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// 1 for a page table, 2 for a page directory, and so on upwards.
    pub level: u32,
    /// Where it is; `None`: in a register (PDPTEs of PAE paging).
    pub gpa: Option<Gpa>,
    /// What it says.
    pub value: u64,
    /// It maps a page, and not another table.
    pub is_leaf: bool,
    /// It is present and has a bit that must not be set.
    pub is_reserved: bool,
}

/// How linear addresses are translated: the control registers that say so.
#[derive(Debug, Clone, Copy)]
pub struct Paging {
    cr0: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    pdptrs: Option<[u64; 4]>,
    /// MAXPHYADDR: higher bits of an entry are reserved.
    physical_bits: u32,
}

/// The shape of the tables in one paging mode.
struct Shape {
    levels: u32,
    entry_bytes: u64,
    index_bits: u32,
}

/// An entry on the way, to have its accessed and dirty bits set.
#[derive(Clone, Copy, Default)]
struct Step {
    gpa: u64,
    entry: u64,
}

/// What the entries so far allow together.
#[derive(Clone, Copy)]
struct Rights {
    writable: bool,
    user: bool,
    executable: bool,
}

/// The way down to a page.
struct Path {
    /// By level, less 1.
    steps: [Step; 5],
    rights: Rights,
    /// The level of the last step.
    leaf: u32,
}

impl Paging {
    /// Paging as these registers set it up, on a processor with so many bits of physical address.
    pub fn of(system: &SystemRegisters, physical_bits: u32) -> Self {
        let [cr0, _, cr3, cr4, _] = system.control;
        Self { cr0, cr3, cr4, efer: system.efer, pdptrs: system.pdptrs, physical_bits }
    }

    /// Whether an address is canonical: outside of 64-bit paging every address is (SDM vol. 1, 3.3.7.1).
    pub fn is_canonical(&self, address: u64) -> bool {
        let bits = if self.cr4 & CR4_LA57 != 0 { 57 } else { 48 };
        let shift = 64 - bits;
        self.efer & EFER_LMA == 0 || ((address << shift) as i64 >> shift) as u64 == address
    }

    /// Where the address is, or the fault that the access raises. Marks the entries accessed and the page dirty, as a
    /// processor does where the access is allowed.
    pub fn translate(&self, memory: &Memory, address: Gva, access: Access) -> Result<Gpa, PageFault> {
        if self.cr0 & CR0_PG == 0 {
            return Ok(Gpa(address.0 & 0xffff_ffff));
        }
        let shape = self.shape();
        let path = self.walk(memory, &shape, address.0).map_err(|code| self.fault(access, code))?;
        self.check(path.rights, access)?;
        mark(memory, &shape, &path.steps, path.leaf, access);
        Ok(self.page(&shape, &path, address.0))
    }

    /// Where the address is, for somebody outside of the guest who looks: nobody's rights matter, and nothing is marked.
    pub fn locate(&self, memory: &Memory, address: Gva) -> Option<Gpa> {
        if self.cr0 & CR0_PG == 0 {
            return Some(Gpa(address.0 & 0xffff_ffff));
        }
        let shape = self.shape();
        let path = self.walk(memory, &shape, address.0).ok().filter(|_| self.is_canonical(address.0))?;
        Some(self.page(&shape, &path, address.0))
    }

    /// The entries on the way to an address, as far as it goes, for somebody who looks. None where paging is off.
    pub fn entries(&self, memory: &Memory, address: Gva) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.cr0 & CR0_PG == 0 {
            return entries;
        }
        let shape = self.shape();
        let mut table = self.cr3 & if shape.levels == 3 { 0xffff_ffe0 } else { self.frame_mask() };
        for level in (1..=shape.levels).rev() {
            let Some(step) = self.any_entry(memory, &shape, table, level, address.0) else { break };
            let is_present = step.entry & PRESENT != 0;
            let is_leaf = level == 1 || self.is_large(&shape, step.entry, level);
            entries.push(Entry {
                level,
                gpa: (step.gpa != u64::MAX).then_some(Gpa(step.gpa)),
                value: step.entry,
                is_leaf,
                is_reserved: is_present && self.reserved(&shape, step.entry, level) != 0,
            });
            if !is_present || is_leaf {
                break;
            }
            table = step.entry & self.frame_mask();
        }
        entries
    }

    /// Goes down the tables to the leaf; where that is not there, the error code says so.
    fn walk(&self, memory: &Memory, shape: &Shape, address: u64) -> Result<Path, u32> {
        let mut path = Path {
            steps: [Step::default(); 5],
            rights: Rights { writable: true, user: true, executable: true },
            leaf: 1,
        };
        let mut table = self.cr3 & if shape.levels == 3 { 0xffff_ffe0 } else { self.frame_mask() };
        for level in (1..=shape.levels).rev() {
            let step = self.entry(memory, shape, table, level, address).ok_or(0u32)?;
            if self.reserved(shape, step.entry, level) != 0 {
                return Err(FAULT_PRESENT | FAULT_RESERVED);
            }
            path.steps[level as usize - 1] = step;
            path.leaf = level;
            // PDPTEs of PAE paging hold no rights (SDM vol. 3, 4.4.1).
            if !(shape.levels == 3 && level == 3) {
                path.rights.take(step.entry, self.efer);
            }
            if self.is_large(shape, step.entry, level) {
                break;
            }
            table = step.entry & self.frame_mask();
        }
        Ok(path)
    }

    fn shape(&self) -> Shape {
        let levels = match (self.efer & EFER_LMA != 0, self.cr4 & CR4_LA57 != 0, self.cr4 & CR4_PAE != 0) {
            (true, true, _) => 5,
            (true, false, _) => 4,
            (false, _, true) => 3,
            (false, _, false) => return Shape { levels: 2, entry_bytes: 4, index_bits: 10 },
        };
        Shape { levels, entry_bytes: 8, index_bits: 9 }
    }

    /// Bits 51:12 as far as the processor has them, of CR3 and of entries.
    fn frame_mask(&self) -> u64 {
        ((1 << self.physical_bits) - 1) & !0xfff
    }

    /// The entry at a level, present; `None` where it is not.
    fn entry(&self, memory: &Memory, shape: &Shape, table: u64, level: u32, address: u64) -> Option<Step> {
        self.any_entry(memory, shape, table, level, address).filter(|step| step.entry & PRESENT != 0)
    }

    /// The entry at a level, whatever it is; `None` where the table is not in memory.
    fn any_entry(
        &self,
        memory: &Memory,
        shape: &Shape,
        table: u64,
        level: u32,
        address: u64,
    ) -> Option<Step> {
        let index = address >> (12 + (level - 1) * shape.index_bits);
        if let (3, 3, Some(pdptrs)) = (shape.levels, level, self.pdptrs) {
            // Loaded with CR3, not read again at each translation (SDM vol. 3, 4.4.1).
            let entry = pdptrs[(index & 3) as usize];
            return Some(Step { gpa: u64::MAX, entry });
        }
        let bits = if shape.levels == 3 && level == 3 { 2 } else { shape.index_bits };
        let gpa = table + (index & ((1 << bits) - 1)) * shape.entry_bytes;
        let mut bytes = [0; 8];
        // A table outside of memory reads as "not present" for the guest, as KVM has it.
        memory.read(Gpa(gpa), &mut bytes[..shape.entry_bytes as usize]).ok()?;
        let entry = u64::from_le_bytes(bytes);
        Some(Step { gpa, entry })
    }

    fn is_large(&self, shape: &Shape, entry: u64, level: u32) -> bool {
        let may = match shape.levels {
            2 => level == 2 && self.cr4 & CR4_PSE != 0,
            3 => level == 2,
            _ => level == 2 || level == 3,
        };
        may && entry & LARGE != 0
    }

    /// Reserved bits that are set.
    fn reserved(&self, shape: &Shape, entry: u64, level: u32) -> u64 {
        let too_high = !((1u64 << self.physical_bits) - 1);
        if shape.levels == 2 {
            // 4 MiB pages keep physical address bits 39:32 in 20:13 (PSE-36); bit 21 is reserved (SDM vol. 3, table 4-4).
            return if self.is_large(shape, entry, level) { entry & (1 << 21) } else { 0 };
        }
        if shape.levels == 3 && level == 3 {
            return entry & (too_high | 0x1e6);
        }
        let no_execute = if self.efer & EFER_NXE == 0 { NO_EXECUTE } else { 0 };
        // In 64-bit paging, bits 62:52 are free or a protection key; in PAE paging, reserved.
        let high = if shape.levels == 3 { 0x7fff_ffff_ffff_ffff } else { 0x000f_ffff_ffff_ffff };
        let low = match level {
            _ if self.is_large(shape, entry, level) => ((1u64 << (12 + (level - 1) * 9)) - 1) & !0x1fff,
            4 | 5 => LARGE,
            _ => 0,
        };
        entry & (too_high & high | no_execute | low)
    }

    fn check(&self, rights: Rights, access: Access) -> Result<(), PageFault> {
        let denied = if access.user {
            !rights.user || access.write && !rights.writable
        } else {
            let smap = self.cr4 & CR4_SMAP != 0 && rights.user && !access.fetch && !access.smap_open;
            let smep = self.cr4 & CR4_SMEP != 0 && rights.user && access.fetch;
            smap || smep || access.write && !rights.writable && self.cr0 & CR0_WP != 0
        };
        if denied || access.fetch && !rights.executable {
            return Err(self.fault(access, FAULT_PRESENT));
        }
        Ok(())
    }

    fn fault(&self, access: Access, code: u32) -> PageFault {
        // The fetch bit exists only where fetches can be told apart (SDM vol. 3, 4.7).
        let tells_fetches = self.efer & EFER_NXE != 0 && self.cr4 & CR4_PAE != 0 || self.cr4 & CR4_SMEP != 0;
        let bit = |is: bool, bit: u32| if is { bit } else { 0 };
        PageFault(
            code | bit(access.write, FAULT_WRITE)
                | bit(access.user, FAULT_USER)
                | bit(access.fetch && tells_fetches, FAULT_FETCH),
        )
    }

    fn page(&self, shape: &Shape, path: &Path, address: u64) -> Gpa {
        let (level, entry) = (path.leaf, path.steps[path.leaf as usize - 1].entry);
        let offset = (1u64 << (12 + (level - 1) * shape.index_bits)) - 1;
        let high = if shape.levels == 2 && level == 2 { (entry >> 13 & 0xff) << 32 } else { 0 };
        Gpa(entry & self.frame_mask() & !offset | high | address & offset)
    }
}

/// Sets accessed bits down to the leaf, and the dirty bit there (SDM vol. 3, 4.8).
fn mark(memory: &Memory, shape: &Shape, steps: &[Step; 5], leaf: u32, access: Access) {
    for level in leaf..=shape.levels {
        let step = steps[level as usize - 1];
        let dirty = if level == leaf && access.write { DIRTY } else { 0 };
        let marked = step.entry | ACCESSED | dirty;
        if marked == step.entry || shape.levels == 3 && level == 3 {
            continue;
        }
        // It was read from there, so it can only fail for a table in ROM, whose bits stay as they are.
        let _ = memory.write(Gpa(step.gpa), &marked.to_le_bytes()[..shape.entry_bytes as usize]);
    }
}

impl Rights {
    fn take(&mut self, entry: u64, efer: u64) {
        self.writable &= entry & WRITABLE != 0;
        self.user &= entry & USER != 0;
        self.executable &= efer & EFER_NXE == 0 || entry & NO_EXECUTE == 0;
    }
}

/// MAXPHYADDR of a CPUID table: leaf 0x80000008, or 36 where there is none (SDM vol. 2, CPUID).
pub(crate) fn physical_bits(table: &[CpuidEntry]) -> u32 {
    let leaf = table.iter().find(|e| e.leaf == 0x8000_0008);
    leaf.map_or(36, |e| e.registers[0] & 0xff).clamp(32, 52)
}

#[cfg(test)]
#[path = "paging_tests.rs"]
mod tests;
