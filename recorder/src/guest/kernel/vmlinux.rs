//! Uncompressed kernels: ELF files.

use super::text::Text;
use super::{Loaded, Protocol};
use crate::guest::entry::Mode;
use crate::rewrite::{self, Port};
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use linux_loader::loader::{KernelLoader, KernelLoaderResult};
use std::io::Cursor;
use trapline_formats::{Gpa, Suspect};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// `e_ident` of a 64-bit little-endian ELF file, and EM_X86_64 as its machine.
pub(super) fn is_one(image: &[u8]) -> bool {
    image.starts_with(b"\x7fELF\x02\x01") && image.get(18..20) == Some(&[62, 0])
}

/// Loads it where it asks to be.
pub(super) fn load(image: &[u8], protocol: Protocol, low: u64) -> Result<Loaded, String> {
    let text = Text::of(image)?;
    let (result, mut bytes) = place(image, &text, low)?;
    let pvh = match result.pvh_boot_cap {
        PvhBootCapability::PvhEntryPresent(entry) => Some(entry.0),
        _ => None,
    };
    let (entry, mode, ip, is_pvh) = match (protocol, pvh) {
        (Protocol::Auto | Protocol::Pvh, Some(ip)) => ("vmlinux, PVH", Mode::Bits32, ip, true),
        (Protocol::Auto | Protocol::Linux64, _) => ("vmlinux, 64-bit", Mode::Bits64, text.entry, false),
        (Protocol::Pvh, None) => return Err("it has no PVH entry point (CONFIG_PVH)".into()),
        (Protocol::Linux32, _) => {
            return Err("an ELF file has no 32-bit Linux entry: only a bzImage has".into());
        }
    };
    let port = Port::free(&text.sweep.ports, 0)?;
    let mut rewrites = Vec::new();
    for rewrite in text.rewrites(port) {
        let at = rewrite.gpa.wrapping_sub(text.start) as usize;
        let place = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..2));
        place.ok_or("its sections are not in what it loads")?.copy_from_slice(&rewrite.replacement);
        rewrites.push(rewrite);
    }
    Ok(Loaded {
        entry,
        mode,
        ip,
        header: None,
        is_pvh,
        contents: vec![(Gpa(text.start), bytes)],
        end: result.kernel_end,
        clock_port: (!rewrites.is_empty()).then_some(port.0),
        rewrites,
        suspects: text.suspects(),
        hand_off: None,
    })
}

/// What lies in memory from the lowest address on.
fn place(image: &[u8], text: &Text, low: u64) -> Result<(KernelLoaderResult, Vec<u8>), String> {
    let scratch: GuestMemoryMmap = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), low as usize)])
        .map_err(|e| format!("no memory to load it into: {e}"))?;
    let result = Elf::load(&scratch, None, &mut Cursor::new(image), None)
        .map_err(|e| format!("{e}; it needs memory up to {:#x}, and the guest has {low:#x}", text.end()))?;
    if result.kernel_end > low || text.start > result.kernel_end {
        return Err(format!("it needs memory up to {:#x}, and the guest has {low:#x}", result.kernel_end));
    }
    let mut bytes = vec![0; (result.kernel_end - text.start) as usize];
    scratch.read_slice(&mut bytes, GuestAddress(text.start)).map_err(|e| e.to_string())?;
    Ok((result, bytes))
}

impl Text {
    /// The clock reads of this kernel, by the physical address it was linked for.
    pub(super) fn rewrites(&self, port: Port) -> Vec<trapline_formats::Rewrite> {
        let physical = self.sweep.clock_reads.iter().filter_map(|at| self.physical(*at));
        physical
            .map(|gpa| rewrite::clock_read(gpa, port, "decoding the kernel's code from end to end"))
            .collect()
    }

    /// Instructions whose result the host decides, and that only CPUID keeps a kernel from executing.
    pub(super) fn suspects(&self) -> Vec<Suspect> {
        let suspect =
            |(at, bytes): &(u64, Vec<u8>)| Some(Suspect { gpa: self.physical(*at)?, bytes: bytes.clone() });
        self.sweep.unclosed.iter().filter_map(suspect).collect()
    }
}
