//! Segment descriptors out of the GDT and LDT (Intel SDM vol. 3, 3.4.5 and 3.5).

use super::cpu::{Cpu, LDTR, TR, rights};
use super::fault::{Fault, Stop, TS};
use crate::paging::Access;
use trapline_formats::Segment;

/// Accesses to descriptor tables and the TSS are the supervisor's, whatever the CPL (SDM vol. 3, 4.6.1).
pub(crate) const SYSTEM: Access = Access { write: false, fetch: false, user: false, smap_open: false };

/// The error code that names a selector (SDM vol. 3, 6.13).
pub(crate) fn code_of(selector: u16, external: u32) -> u32 {
    u32::from(selector & 0xfffc) | external
}

/// A descriptor and where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    pub(crate) segment: Segment,
    /// Linear address.
    at: u64,
}

impl Descriptor {
    /// Sets the accessed bit, in memory too, as loading a segment register does (SDM vol. 3, 3.4.5.1).
    pub(crate) fn load(mut self, cpu: &Cpu) -> Result<Segment, Stop> {
        if rights::is_code_or_data(&self.segment) && self.segment.rights & 1 == 0 {
            self.segment.rights |= 1;
            let byte = (self.segment.rights & 0xff) as u8;
            cpu.write(self.at + 5, &[byte], SYSTEM)?;
        }
        Ok(self.segment)
    }
}

/// Reads the descriptor of a selector that is not null; one beyond its table raises `vector` with the selector.
pub(crate) fn read(cpu: &Cpu, selector: u16, vector: u8, external: u32) -> Result<Descriptor, Stop> {
    let beyond = Fault::coded(vector, code_of(selector, external));
    let (base, limit) = if selector & 4 == 0 {
        (cpu.system.gdt.0, u32::from(cpu.system.gdt.1))
    } else {
        let ldt = &cpu.system.segments[LDTR];
        if rights::is_unusable(ldt) {
            return Err(beyond.into());
        }
        (ldt.base, ldt.limit)
    };
    let offset = u64::from(selector & 0xfff8);
    if offset + 7 > u64::from(limit) {
        return Err(beyond.into());
    }
    let at = base.wrapping_add(offset);
    let raw = cpu.number(at, 8, SYSTEM)?;
    Ok(Descriptor { segment: segment(selector, raw), at })
}

/// The fields of an 8-byte descriptor (SDM vol. 3, figure 3-8).
fn segment(selector: u16, raw: u64) -> Segment {
    let limit = (raw & 0xffff | raw >> 32 & 0xf_0000) as u32;
    let in_pages = raw >> 55 & 1 != 0;
    Segment {
        base: raw >> 16 & 0xff_ffff | raw >> 32 & 0xff00_0000,
        limit: if in_pages { limit << 12 | 0xfff } else { limit },
        selector,
        rights: (raw >> 40 & 0xff | (raw >> 52 & 0xf) << 8) as u16,
    }
}

/// A segment register that was loaded with a null selector.
pub(crate) fn null(selector: u16, dpl: u8) -> Segment {
    Segment { base: 0, limit: 0, selector, rights: u16::from(dpl) << 5 | 1 << 12 }
}

/// The stack for a privilege level, out of the TSS: (SS, where there is one, and ESP or RSP).
pub(crate) fn stack_of(cpu: &Cpu, level: u8, external: u32) -> Result<(u16, u64), Stop> {
    let tss = &cpu.system.segments[TR];
    let fault = Fault::coded(TS, code_of(tss.selector, external));
    if cpu.is_long() {
        // 64-bit TSS: RSP0 at 4 (SDM vol. 3, 7.7).
        return Ok((0, field(cpu, 4 + u64::from(level) * 8, 8, fault)?));
    }
    // Types 1 and 3 are 16-bit TSSs, 9 and 11 are 32-bit ones (SDM vol. 3, table 3-2, figures 7-2 and 7-10).
    if rights::kind(tss) & 8 == 0 {
        let at = 2 + u64::from(level) * 4;
        return Ok((field(cpu, at + 2, 2, fault)? as u16, field(cpu, at, 2, fault)?));
    }
    let at = 4 + u64::from(level) * 8;
    Ok((field(cpu, at + 4, 2, fault)? as u16, field(cpu, at, 4, fault)?))
}

/// The stack of an interrupt-stack-table entry, 1 to 7.
pub(crate) fn interrupt_stack(cpu: &Cpu, entry: u8, external: u32) -> Result<u64, Stop> {
    let fault = Fault::coded(TS, code_of(cpu.system.segments[TR].selector, external));
    field(cpu, 0x24 + (u64::from(entry) - 1) * 8, 8, fault)
}

fn field(cpu: &Cpu, offset: u64, bytes: usize, fault: Fault) -> Result<u64, Stop> {
    let tss = &cpu.system.segments[TR];
    if rights::is_unusable(tss) || offset + bytes as u64 - 1 > u64::from(tss.limit) {
        return Err(fault.into());
    }
    cpu.number(tss.base.wrapping_add(offset), bytes, SYSTEM)
}
