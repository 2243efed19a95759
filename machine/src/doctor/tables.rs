//! Descriptor tables and page tables of probe guests, and the registers that put them to use.
//!
//! Intel SDM vol. 3: 3.4.5 (segment descriptors), 4.5 (4-level paging), 6.11 and 6.14.1 (gates), 7.2.1 and 7.7 (TSS).

use super::guest::{GDT, HANDLER_STACK, HANDLERS, IDT, TSS};
use crate::error::MachineError;
use crate::memory::Memory;
use kvm_bindings::{kvm_segment, kvm_sregs};
use trapline_formats::Gpa;

/// The modes that code is probed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Real,
    /// 32-bit protected mode without paging, CPL 0.
    Protected,
    /// 64-bit mode, CPL 0.
    Long,
    /// 64-bit mode, CPL 3.
    User,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Real => "16-bit",
            Self::Protected => "32-bit",
            Self::Long => "64-bit",
            Self::User => "64-bit user mode",
        }
    }
}

/// Selectors into the GDT. SYSCALL wants the stack segment behind the code segment; SYSRET wants, from its base: 32-bit
/// code, data, 64-bit code.
pub(super) const KERNEL_CODE: u16 = 0x08;
pub(super) const KERNEL_DATA: u16 = 0x10;
pub(super) const SYSRET_BASE: u16 = 0x18;
pub(super) const USER_DATA: u16 = 0x20 | 3;
pub(super) const USER_CODE: u16 = 0x28 | 3;
const TASK: u16 = 0x30;

const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
/// Present, writable, user.
const OPEN: u64 = 7;
/// A 2 MiB page, accessed and dirty already, so that nothing sets the bits while the guest runs.
const LARGE: u64 = 1 << 7 | 1 << 6 | 1 << 5;

/// Address of the handler of a vector.
pub(super) fn handler(vector: u8) -> u64 {
    HANDLERS + 16 * u64::from(vector)
}

pub(super) fn write(memory: &Memory, mode: Mode) -> Result<(), MachineError> {
    let put = |gpa: u64, value: u64| memory.write(Gpa(gpa), &value.to_le_bytes());
    if mode == Mode::Real {
        for vector in 0..256 {
            let handler = (HANDLERS + 16 * vector) as u32; // offset, segment 0
            memory.write(Gpa(4 * vector), &handler.to_le_bytes())?;
        }
        return Ok(());
    }
    let long = mode != Mode::Protected;
    let kernel_code = if long { 0x00af_9b00_0000_ffff } else { 0x00cf_9b00_0000_ffff };
    let task = TSS & 0xff_ffff;
    let gdt = [
        0,
        kernel_code,
        0x00cf_9300_0000_ffff,              // kernel data
        0x00cf_fb00_0000_ffff,              // user code, 32-bit
        0x00cf_f300_0000_ffff,              // user data
        0x00af_fb00_0000_ffff,              // user code, 64-bit
        0x0000_8b00_0000_0067 | task << 16, // busy TSS
        0,                                  // its base, bits 63:32
    ];
    for (i, descriptor) in gdt.into_iter().enumerate() {
        put(GDT + 8 * i as u64, descriptor)?;
    }
    for vector in 0..256 {
        let handler = HANDLERS + 16 * vector;
        // Interrupt gate, present. DPL 3, so that user mode may use INT n.
        let gate = handler & 0xffff | u64::from(KERNEL_CODE) << 16 | 0xee00 << 32 | (handler >> 16) << 48;
        if long {
            put(IDT + 16 * vector, gate)?;
            put(IDT + 16 * vector + 8, 0)?;
        } else {
            put(IDT + 8 * vector, gate)?;
        }
    }
    // RSP0 in a 64-bit TSS; in a 32-bit one the same bytes are ESP0 and SS0 (0: never used here).
    put(TSS + 4, HANDLER_STACK)?;
    if long {
        put(PML4, PDPT | OPEN)?;
        put(PDPT, DIRECTORY | OPEN)?;
        for i in 0..512 {
            put(DIRECTORY + 8 * i, i << 21 | OPEN | LARGE)?;
        }
    }
    Ok(())
}

fn code(selector: u16, dpl: u8, long: bool) -> kvm_segment {
    kvm_segment {
        limit: 0xffff_ffff,
        selector,
        type_: 11, // execute, read, accessed
        present: 1,
        dpl,
        s: 1,
        l: long.into(),
        db: (!long).into(),
        g: 1,
        ..Default::default()
    }
}

fn data(selector: u16, dpl: u8) -> kvm_segment {
    // Read, write, accessed.
    kvm_segment { type_: 3, db: 1, l: 0, ..code(selector, dpl, false) }
}

/// Puts the tables to use: the system registers in which the code begins.
pub(super) fn enter(s: &mut kvm_sregs, mode: Mode) {
    if mode == Mode::Real {
        // As after reset, but code at segment 0.
        s.cs.base = 0;
        s.cs.selector = 0;
        return;
    }
    let long = mode != Mode::Protected;
    let (code_selector, data_selector, dpl) =
        if mode == Mode::User { (USER_CODE, USER_DATA, 3) } else { (KERNEL_CODE, KERNEL_DATA, 0) };
    s.cs = code(code_selector, dpl, long);
    s.ds = data(data_selector, dpl);
    (s.es, s.fs, s.gs, s.ss) = (s.ds, s.ds, s.ds, s.ds);
    s.gdt.base = GDT;
    s.gdt.limit = 8 * 8 - 1;
    s.idt.base = IDT;
    s.idt.limit = if long { 0xfff } else { 0x7ff };
    s.tr = kvm_segment {
        base: TSS,
        limit: 0x67,
        selector: TASK,
        type_: 11, // busy TSS
        present: 1,
        ..Default::default()
    };
    // PE, MP, ET, NE; without CR0.TS and CR0.EM, so that x87 and SSE are on.
    s.cr0 = 0x33;
    // OSFXSR, OSXMMEXCPT.
    s.cr4 = 0x600;
    if long {
        s.cr0 |= 1 << 31; // PG
        s.cr4 |= 1 << 5; // PAE
        s.cr3 = PML4;
        s.efer = 0x500; // LME, LMA
    }
}
