//! Compressed kernels: Linux's bzImage, and what else is packed as one.

use super::payload;
use super::setup_header::SetupHeader;
use super::text::Text;
use super::{Loaded, Protocol};
use crate::disassembly::{Entry, View};
use crate::guest::entry::Mode;
use crate::hand_off::{HandOff, JMP_RAX};
use crate::rewrite::{self, Ports};
use crate::sweep::Sweep;
use linux_loader::loader::KernelLoader;
use linux_loader::loader::bootparam::setup_header;
use linux_loader::loader::bzimage::BzImage;
use std::collections::BTreeSet;
use std::io::Cursor;
use trapline_formats::{CpuMode, Gpa, StandIns, Suspect};
use vm_memory::{Bytes, GuestAddress};

/// `xloadflags`: the image has the 64-bit entry point, 0x200 behind the 32-bit one.
const XLF_KERNEL_64: u16 = 1;
const ENTRY_64: u64 = 0x200;

/// Loads it at its preferred place below the kernel that it unpacks; what runs before it uses these ports.
pub(super) fn load(
    image: &[u8],
    protocol: Protocol,
    low: u64,
    used_ports: BTreeSet<u8>,
) -> Result<Loaded, String> {
    let (header, at, bytes) = place(image, low)?;
    if header.code32_start == 0 {
        return Err("it is entered in real mode alone, by a boot loader on a BIOS: --firmware bios.bin \
                    --option-rom linuxboot.bin (QEMU's) beside --kernel boots it so"
            .into());
    }
    let has_64 = header.xloadflags & XLF_KERNEL_64 != 0;
    let is_64 = match protocol {
        Protocol::Auto => has_64,
        Protocol::Linux64 if has_64 => true,
        Protocol::Linux64 => return Err("it has no 64-bit entry point".into()),
        Protocol::Linux32 => false,
        Protocol::Pvh => return Err("a bzImage has no PVH entry: give the ELF file vmlinux".into()),
    };
    let end = (at + bytes.len() as u64).max(header.pref_address.saturating_add(header.init_size.into()));
    if end > low {
        return Err(format!("it needs memory up to {end:#x} to unpack itself, and the guest has {low:#x}"));
    }
    let loaded = loaded(header, is_64, at, end, used_ports);
    if header.payload_length == 0 || !has_64 {
        Ok(plain(loaded, at, bytes))
    } else {
        packed(loaded, at, bytes)
    }
}

/// One that a boot loader has put at this address; nothing but what it packs is known of it then.
pub(super) fn in_memory(
    header: setup_header,
    at: u64,
    bytes: Vec<u8>,
    used_ports: BTreeSet<u8>,
) -> Result<Loaded, String> {
    if header.xloadflags & XLF_KERNEL_64 == 0 {
        return Err("it is no kernel of 64 bits".into());
    }
    let end = at + bytes.len() as u64;
    packed(loaded(header, true, at, end, used_ports), at, bytes)
}

fn loaded(header: setup_header, is_64: bool, at: u64, end: u64, used_ports: BTreeSet<u8>) -> Loaded {
    let (mode, ip) = if is_64 { (Mode::Bits64, at + ENTRY_64) } else { (Mode::Bits32, at) };
    Loaded {
        entry: if is_64 { "bzImage, 64-bit" } else { "bzImage, 32-bit" },
        mode,
        ip,
        header: Some(header),
        is_pvh: false,
        contents: Vec::new(),
        end,
        rewrites: Vec::new(),
        suspects: Vec::new(),
        stand_ins: StandIns::default(),
        used_ports,
        hand_off: None,
    }
}

/// The setup header, the load address and the protected-mode part.
fn place(image: &[u8], low: u64) -> Result<(setup_header, u64, Vec<u8>), String> {
    let scratch = super::scratch(low)?;
    let result = BzImage::load(&scratch, None, &mut Cursor::new(image), None).map_err(|e| e.to_string())?;
    let header = SetupHeader::of(image).ok_or("it has no setup header")?.fields;
    let at = result.kernel_load.0;
    let mut bytes = vec![0; (result.kernel_end - at) as usize];
    // `syssize`: the protected-mode part in paragraphs of 16 bytes.
    let whole = u64::from(header.syssize) * 16;
    if (bytes.len() as u64) + 15 < whole {
        return Err(format!(
            "it is truncated: its header promises {whole} bytes of kernel, and {} are there",
            bytes.len()
        ));
    }
    scratch.read_slice(&mut bytes, GuestAddress(at)).map_err(|e| e.to_string())?;
    Ok((header, at, bytes))
}

/// An image that runs where it is loaded (memtest86+): its code is found from its entry points.
fn plain(mut loaded: Loaded, at: u64, bytes: Vec<u8>) -> Loaded {
    let views = [View { linear: at, offset: 0, bytes: bytes.len() as u64 }];
    let entry = |ip, mode| Entry { segment_base: 0, ip, mode };
    let entries = [entry(loaded.ip, loaded.mode.cpu_mode())];
    let likely = [entry(at, CpuMode::Protected32)];
    let rewritten = rewrite::sources(bytes, &views, &entries, &likely, &loaded.used_ports);
    loaded.contents = vec![(Gpa(at), rewritten.image)];
    loaded.rewrites = rewritten.rewrites;
    loaded.suspects = rewritten.suspects;
    loaded.stand_ins = rewritten.stand_ins;
    loaded.used_ports = rewritten.used_ports;
    loaded
}

/// An image that unpacks a kernel: the clock reads of both, and the jump from one to the other.
fn packed(mut loaded: Loaded, at: u64, mut bytes: Vec<u8>) -> Result<Loaded, String> {
    let header = loaded.header.unwrap_or_default();
    let start = header.payload_offset as usize;
    let end = start + header.payload_length as usize;
    let payload = bytes.get(start..end).ok_or("it is truncated: its payload is not all there")?;
    let before = bytes.get(ENTRY_64 as usize..start).ok_or("its payload lies where its code is entered")?;
    let inner = match payload::unpack(payload) {
        Some(Ok(image)) => Some(Text::of(&image).map_err(|e| format!("the kernel inside: {e}"))?),
        Some(Err(reason)) => return Err(format!("its payload cannot be unpacked: {reason}")),
        None => None,
    };
    let mut sweep = Sweep::default();
    sweep.over(64, before, at + ENTRY_64, &[]);
    sweep.over(64, &bytes[end..], at + end as u64, &[]);
    loaded.used_ports.extend(&sweep.ports);
    loaded.used_ports.extend(inner.iter().flat_map(|text| &text.sweep.ports));
    let (ports, jump) = Ports::free_with_one_more(&loaded.used_ports)?;
    let mut put = |gpa: u64, code: &[u8]| {
        let offset = (gpa - at) as usize;
        bytes[offset..offset + code.len()].copy_from_slice(code);
    };
    for (&gpa, original) in &sweep.sources {
        match ports.rewrite(gpa, original, "decoding the unpacking code from end to end") {
            Some(rewrite) => {
                put(gpa, &rewrite.replacement);
                loaded.rewrites.push(rewrite);
            }
            None => loaded.suspects.push(Suspect { gpa, bytes: original.clone() }),
        }
    }
    if let Some(text) = inner {
        for &gpa in &sweep.jumps_to_rax {
            put(gpa, &jump.instruction());
            loaded.rewrites.push(trapline_formats::Rewrite {
                gpa,
                original: JMP_RAX.to_vec(),
                replacement: jump.instruction().to_vec(),
                found_by: "decoding the unpacking code from end to end".into(),
            });
        }
        let (rewrites, suspects) = text.rewrites(ports);
        loaded.suspects.extend(suspects);
        loaded.hand_off = Some(HandOff { port: jump.0, entry: text.entry, rewrites });
    }
    loaded.stand_ins = ports.stand_ins();
    loaded.contents = vec![(Gpa(at), bytes)];
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::samples;

    #[test]
    fn code_behind_an_old_header_is_no_part_of_it() {
        let loaded = load(&samples::old_bzimage(0x3e), Protocol::Auto, 64 << 20, BTreeSet::new()).unwrap();
        let header = loaded.header.unwrap();
        assert_eq!((loaded.entry, header.init_size, header.payload_length), ("bzImage, 64-bit", 0, 0));
        assert!(
            load(&samples::old_bzimage(0x3e), Protocol::Auto, 1 << 20, BTreeSet::new()).is_err(),
            "no room"
        );
        // It ends before the flag of the 64-bit entry.
        assert_eq!(
            load(&samples::old_bzimage(0x2a), Protocol::Auto, 64 << 20, BTreeSet::new()).unwrap().entry,
            "bzImage, 32-bit"
        );
    }

    #[test]
    fn an_image_that_needs_a_bios_is_refused() {
        let mut image = samples::old_bzimage(0x3e);
        image[0x214..0x218].fill(0);
        let reason = load(&image, Protocol::Auto, 64 << 20, BTreeSet::new()).err().unwrap();
        assert!(reason.contains("--option-rom"), "{reason}");
    }
}
