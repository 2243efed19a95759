//! Uncompressed kernels: ELF files.

use super::text::Text;
use super::{Loaded, Protocol};
use crate::guest::entry::Mode;
use crate::rewrite::Ports;
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use linux_loader::loader::{KernelLoader, KernelLoaderResult};
use std::io::Cursor;
use trapline_formats::{Gpa, Rewrite, StandIns, Suspect};
use vm_memory::{Bytes, GuestAddress};

/// `e_ident` of a 64-bit little-endian ELF file, and EM_X86_64 as its machine.
pub(super) fn is_one(image: &[u8]) -> bool {
    image.starts_with(b"\x7fELF\x02\x01") && image.get(18..20) == Some(&[62, 0])
}

/// Whether it says so (`linux_banner`, the first words of its log).
fn is_linux(image: &[u8]) -> bool {
    const BANNER: &[u8] = b"Linux version ";
    image.windows(BANNER.len()).any(|bytes| bytes == BANNER)
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
        (Protocol::Pvh, Some(ip)) => ("vmlinux, PVH", Mode::Bits32, ip, true),
        // PVH has no place for a random seed: Linux would read the clock some hundred thousand times for one.
        (Protocol::Auto, Some(ip)) if !is_linux(image) => ("vmlinux, PVH", Mode::Bits32, ip, true),
        (Protocol::Auto | Protocol::Linux64, _) => ("vmlinux, 64-bit", Mode::Bits64, text.entry, false),
        (Protocol::Pvh, None) => return Err("it has no PVH entry point (CONFIG_PVH)".into()),
        (Protocol::Linux32, _) => {
            return Err("an ELF file has no 32-bit Linux entry: only a bzImage has".into());
        }
    };
    let ports = Ports::free(&text.sweep.ports)?;
    let (rewrites, suspects) = text.rewrites(ports);
    for rewrite in &rewrites {
        let at = rewrite.gpa.wrapping_sub(text.start) as usize;
        let place = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..rewrite.replacement.len()));
        place.ok_or("its sections are not in what it loads")?.copy_from_slice(&rewrite.replacement);
    }
    Ok(Loaded {
        entry,
        mode,
        ip,
        header: None,
        is_pvh,
        contents: vec![(Gpa(text.start), bytes)],
        end: result.kernel_end,
        stand_ins: if rewrites.is_empty() { StandIns::default() } else { ports.stand_ins() },
        rewrites,
        suspects,
        used_ports: text.sweep.ports,
        hand_off: None,
    })
}

/// What lies in memory from the lowest address on.
fn place(image: &[u8], text: &Text, low: u64) -> Result<(KernelLoaderResult, Vec<u8>), String> {
    let scratch = super::scratch(low)?;
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
    /// The sources of this kernel, by the physical address it was linked for: those that are rewritten, and the others.
    pub(super) fn rewrites(&self, ports: Ports) -> (Vec<Rewrite>, Vec<Suspect>) {
        let (mut rewrites, mut suspects) = (Vec::new(), Vec::new());
        for (address, original) in &self.sweep.sources {
            let Some(gpa) = self.physical(*address) else { continue };
            match ports.rewrite(gpa, original, "decoding the kernel's code from end to end") {
                Some(rewrite) => rewrites.push(rewrite),
                None => suspects.push(Suspect { gpa, bytes: original.clone() }),
            }
        }
        (rewrites, suspects)
    }
}
