use super::*;
use trapline_formats::MemoryRegion;

const ROOT: u64 = 0x1000;
const RIGHTS: u64 = PRESENT | WRITABLE | USER;

fn memory() -> Memory {
    Memory::new(&[MemoryRegion { gpa: 0, bytes: 1 << 20, readonly: false }]).unwrap()
}

fn put(memory: &Memory, gpa: u64, entry: u64) {
    memory.write(Gpa(gpa), &entry.to_le_bytes()).unwrap();
}

fn put32(memory: &Memory, gpa: u64, entry: u32) {
    memory.write(Gpa(gpa), &entry.to_le_bytes()).unwrap();
}

fn entry(memory: &Memory, gpa: u64) -> u64 {
    let mut bytes = [0; 8];
    memory.read(Gpa(gpa), &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

fn paging(cr4: u64, efer: u64) -> Paging {
    Paging { cr0: CR0_PG | CR0_WP | 1, cr3: ROOT, cr4, efer, pdptrs: None, physical_bits: 40 }
}

fn long() -> Paging {
    paging(CR4_PAE, EFER_LMA | EFER_NXE)
}

const READ: Access = Access { write: false, fetch: false, user: false, smap_open: false };
const WRITE: Access = Access { write: true, ..READ };
const FETCH: Access = Access { fetch: true, ..READ };
const USER_READ: Access = Access { user: true, ..READ };
const USER_WRITE: Access = Access { user: true, ..WRITE };

/// Four levels to the page 0x5000 at linear 0x8080_6040_5000, whose last entry is `leaf`.
const LINEAR: u64 = 0xffff_8080_6040_5000;
fn four_levels(memory: &Memory, leaf: u64) {
    put(memory, ROOT + (LINEAR >> 39 & 511) * 8, 0x2000 | RIGHTS);
    put(memory, 0x2000 + (LINEAR >> 30 & 511) * 8, 0x3000 | RIGHTS);
    put(memory, 0x3000 + (LINEAR >> 21 & 511) * 8, 0x4000 | RIGHTS);
    put(memory, 0x4000 + (LINEAR >> 12 & 511) * 8, leaf);
}

fn walk(memory: &Memory, paging: &Paging, address: u64, access: Access) -> Result<u64, u32> {
    paging.translate(memory, Gva(address), access).map(|g| g.0).map_err(|f| f.0)
}

#[test]
fn without_paging_an_address_is_itself() {
    let off = Paging { cr0: 1, ..long() };
    assert_eq!(walk(&memory(), &off, 0x1_2345_6789, WRITE), Ok(0x2345_6789));
}

#[test]
fn four_levels_lead_to_the_page_and_are_marked() {
    let memory = memory();
    four_levels(&memory, 0x5000 | RIGHTS);
    assert_eq!(walk(&memory, &long(), LINEAR | 0x123, READ), Ok(0x5123));
    let leaf = 0x4000 + (LINEAR >> 12 & 511) * 8;
    assert_eq!(entry(&memory, leaf), 0x5000 | RIGHTS | ACCESSED);
    assert_eq!(walk(&memory, &long(), LINEAR, USER_WRITE), Ok(0x5000));
    assert_eq!(entry(&memory, leaf), 0x5000 | RIGHTS | ACCESSED | DIRTY);
    assert_eq!(entry(&memory, ROOT + (LINEAR >> 39 & 511) * 8), 0x2000 | RIGHTS | ACCESSED);
}

#[test]
fn a_look_needs_no_rights_and_marks_nothing() {
    let memory = memory();
    four_levels(&memory, 0x5000 | PRESENT);
    let look = |address| long().locate(&memory, Gva(address)).map(|g| g.0);
    assert_eq!(look(LINEAR | 0x123), Some(0x5123));
    assert_eq!(entry(&memory, 0x4000 + (LINEAR >> 12 & 511) * 8), 0x5000 | PRESENT);
    assert_eq!(entry(&memory, ROOT + (LINEAR >> 39 & 511) * 8), 0x2000 | RIGHTS);
    assert_eq!(look(LINEAR + 0x1000), None);
    assert_eq!(look(LINEAR & 0xffff_ffff_ffff | 1 << 60), None, "not canonical");
    assert_eq!(Paging { cr0: 1, ..long() }.locate(&memory, Gva(0x1_2345_6789)), Some(Gpa(0x2345_6789)));
}

#[test]
fn a_refused_access_says_why_and_marks_nothing() {
    let memory = memory();
    four_levels(&memory, 0x5000 | PRESENT | NO_EXECUTE);
    let leaf = 0x4000 + (LINEAR >> 12 & 511) * 8;
    assert_eq!(walk(&memory, &long(), LINEAR, USER_READ), Err(FAULT_PRESENT | FAULT_USER));
    assert_eq!(walk(&memory, &long(), LINEAR, WRITE), Err(FAULT_PRESENT | FAULT_WRITE));
    assert_eq!(walk(&memory, &long(), LINEAR, FETCH), Err(FAULT_PRESENT | FAULT_FETCH));
    assert_eq!(walk(&memory, &long(), LINEAR + 0x1000, USER_WRITE), Err(FAULT_WRITE | FAULT_USER));
    assert_eq!(entry(&memory, leaf), 0x5000 | PRESENT | NO_EXECUTE);
}

#[test]
fn a_supervisor_writes_read_only_pages_only_without_wp() {
    let memory = memory();
    four_levels(&memory, 0x5000 | PRESENT);
    let without = Paging { cr0: CR0_PG | 1, ..long() };
    assert_eq!(walk(&memory, &without, LINEAR, WRITE), Ok(0x5000));
    assert_eq!(walk(&memory, &long(), LINEAR, WRITE), Err(FAULT_PRESENT | FAULT_WRITE));
}

#[test]
fn smap_and_smep_keep_a_supervisor_from_user_pages() {
    let memory = memory();
    four_levels(&memory, 0x5000 | RIGHTS);
    let smap = paging(CR4_PAE | CR4_SMAP, EFER_LMA);
    let smep = paging(CR4_PAE | CR4_SMEP, EFER_LMA);
    assert_eq!(walk(&memory, &smap, LINEAR, READ), Err(FAULT_PRESENT));
    assert_eq!(walk(&memory, &smap, LINEAR, Access { smap_open: true, ..READ }), Ok(0x5000));
    assert_eq!(walk(&memory, &smap, LINEAR, USER_READ), Ok(0x5000));
    assert_eq!(walk(&memory, &smep, LINEAR, FETCH), Err(FAULT_PRESENT | FAULT_FETCH));
    assert_eq!(walk(&memory, &smep, LINEAR, READ), Ok(0x5000));
}

#[test]
fn reserved_bits_fault_as_such() {
    let memory = memory();
    four_levels(&memory, 0x5000 | RIGHTS | 1 << 45);
    assert_eq!(walk(&memory, &long(), LINEAR, READ), Err(FAULT_PRESENT | FAULT_RESERVED));
    four_levels(&memory, 0x5000 | RIGHTS | NO_EXECUTE);
    let no_nx = paging(CR4_PAE, EFER_LMA);
    assert_eq!(walk(&memory, &no_nx, LINEAR, READ), Err(FAULT_PRESENT | FAULT_RESERVED));
}

#[test]
fn large_pages_end_the_walk() {
    let memory = memory();
    four_levels(&memory, 0);
    put(&memory, 0x3000 + (LINEAR >> 21 & 511) * 8, 0x40_0000 | RIGHTS | LARGE);
    assert_eq!(walk(&memory, &long(), LINEAR, READ), Ok(0x40_0000 | LINEAR & 0x1f_ffff));
    put(&memory, 0x2000 + (LINEAR >> 30 & 511) * 8, 0x4000_0000 | RIGHTS | LARGE);
    assert_eq!(walk(&memory, &long(), LINEAR, READ), Ok(0x4000_0000 | LINEAR & 0x3fff_ffff));
}

#[test]
fn two_levels_have_4_mib_pages_above_4_gib() {
    let memory = memory();
    put32(&memory, ROOT + 4, 0x2000 | RIGHTS as u32);
    put32(&memory, 0x2000 + 5 * 4, 0x7000 | RIGHTS as u32);
    let plain = paging(0, 0);
    assert_eq!(walk(&memory, &plain, 0x40_5678, USER_WRITE), Ok(0x7678));
    assert_eq!(entry(&memory, 0x2014) as u32, 0x7000 | (RIGHTS | ACCESSED | DIRTY) as u32);
    put32(&memory, ROOT + 8, 0x80_0000 | 3 << 13 | (RIGHTS | LARGE) as u32);
    assert_eq!(walk(&memory, &paging(CR4_PSE, 0), 0x81_2345, READ), Ok(0x3_0081_2345));
}

#[test]
fn pae_takes_its_pointers_from_registers_or_memory() {
    let memory = memory();
    put(&memory, ROOT + 3 * 8, 0x2000 | PRESENT);
    put(&memory, 0x2000, 0x3000 | RIGHTS);
    put(&memory, 0x3000 + 8, 0x6000 | RIGHTS);
    let pae = paging(CR4_PAE, EFER_NXE);
    assert_eq!(walk(&memory, &pae, 0xc000_1abc, USER_WRITE), Ok(0x6abc));
    let registers = Paging { pdptrs: Some([0x2000 | PRESENT, 0, 0, 0]), ..pae };
    assert_eq!(walk(&memory, &registers, 0x1abc, USER_WRITE), Ok(0x6abc));
    assert_eq!(walk(&memory, &registers, 0xc000_1abc, READ), Err(0));
    put(&memory, 0x2000, 0x3000 | RIGHTS | 1 << 55);
    assert_eq!(walk(&memory, &registers, 0x1abc, READ), Err(FAULT_PRESENT | FAULT_RESERVED));
}

#[test]
fn five_levels_widen_what_is_canonical() {
    let memory = memory();
    let five = paging(CR4_PAE | CR4_LA57, EFER_LMA | EFER_NXE);
    let address = 0x0055_0000_0000_5000u64;
    assert!(five.is_canonical(address) && !long().is_canonical(address));
    for (level, table) in [(48, ROOT), (39, 0x2000), (30, 0x3000), (21, 0x4000)] {
        put(&memory, table + (address >> level & 511) * 8, (table + 0x1000) | RIGHTS);
    }
    put(&memory, 0x5000 + (address >> 12 & 511) * 8, 0x9000 | RIGHTS);
    assert_eq!(walk(&memory, &five, address, READ), Ok(0x9000));
}

#[test]
fn a_table_outside_of_memory_is_not_present() {
    let memory = memory();
    put(&memory, ROOT, 0x1000_0000 | RIGHTS);
    assert_eq!(walk(&memory, &long(), 0, WRITE), Err(FAULT_WRITE));
}
