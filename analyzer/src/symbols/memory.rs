//! The Linux kernel in a trace: loaded as it runs, or packed as a bzImage carries it.

use super::payload::{self, field};
use super::placement::Chunk;
use super::source::Source;
use trapline_formats::{Trace, TraceError};

const PAGE: u64 = 4096;
/// Memory looked at. Kernels are loaded low, initial file systems high.
const MOST: usize = 128 << 20;
/// The role of a kernel's file in a trace.
const KERNEL: &str = "kernel";
const NAME: &str = "the kernel in the trace";

/// The kernel of a trace, if the guest was booted from one and its memory is readable. It may turn out to have no names.
pub(super) fn kernel(trace: &Trace) -> Result<Option<Source>, TraceError> {
    if !trace.header().files.iter().any(|f| f.role == KERNEL) {
        return Ok(None);
    }
    let memory = match memory(trace) {
        Ok(memory) => memory,
        // The report of a damaged trace has no names, and says elsewhere what is damaged.
        Err(TraceError::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Some(image) = packed(&memory) {
        return Ok(Source::of_image(NAME.into(), image));
    }
    Ok(Some(Source::of_chunks(NAME.into(), loaded(memory))))
}

/// The first memory of the guest that is not all zeros, as runs of pages at their guest-physical addresses. Pages of
/// zeros between two pages are part of a run: tables have gaps.
fn memory(trace: &Trace) -> Result<Vec<Chunk>, TraceError> {
    /// A gap is not bridged beyond this.
    const GAP: u64 = 64;
    let mut runs: Vec<Chunk> = Vec::new();
    let mut bytes = 0;
    trace.start_memory(|number, content| {
        if bytes >= MOST {
            return;
        }
        let Some(gpa) = number.checked_mul(PAGE) else { return };
        match runs.last_mut() {
            Some((start, run))
                if (*start + run.len() as u64..=*start + run.len() as u64 + GAP * PAGE).contains(&gpa) =>
            {
                run.resize((gpa - *start) as usize, 0);
                run.extend_from_slice(content);
            }
            _ => runs.push((gpa, content.to_vec())),
        }
        bytes += content.len();
    })?;
    Ok(runs)
}

/// The kernel that a loaded bzImage will unpack: its zero page says where it is.
fn packed(memory: &[Chunk]) -> Option<Vec<u8>> {
    let headers = memory.iter().flat_map(|(_, run)| {
        (0..run.len()).step_by(PAGE as usize).filter_map(|page| run[page..].get(..PAGE as usize))
    });
    headers.filter_map(|page| Some((page, payload::payload(page)?))).find_map(|(page, (offset, length))| {
        // code32_start: where the protected-mode code was loaded.
        let start = (field(page, 0x214)? as u64).checked_add(offset as u64)?;
        payload::unpack(super::placement::at(memory, start, length)?)
    })
}

/// A kernel that runs where it was loaded: its pages by the addresses that it gives them. Linux on x86-64 maps its image at
/// 0xffffffff80000000 + physical address (Documentation/arch/x86/x86_64/mm.rst).
fn loaded(memory: Vec<Chunk>) -> Vec<Chunk> {
    memory.into_iter().map(|(gpa, run)| (gpa.wrapping_add(0xffff_ffff_8000_0000), run)).collect()
}
