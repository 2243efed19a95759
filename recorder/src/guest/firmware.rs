//! Firmware ROMs: mapped at the top of 4 GiB, their last 128 KiB copied below 1 MiB, entered at the reset vector.

use super::acpi;
use super::boot_rom::BootRom;
use super::kernel::Kernel;
use super::{Guest, Mirror, Start, file, ram_regions, read_image};
use crate::disassembly::{Entry, View};
use crate::error::RecorderError;
use crate::rewrite::{self, Code, Ports};
use std::path::{Path, PathBuf};
use trapline_formats::{CpuMode, Gpa, MemoryRegion, StandIns};

const FOUR_GIB: u64 = 1 << 32;
const ONE_MIB: u64 = 1 << 20;
/// The legacy BIOS area: E0000-FFFFF. RAM here (as with the host bridge's PAM registers set to "RAM"), because firmware
/// keeps variables in it.
const LEGACY_BYTES: u64 = 128 << 10;
/// What fits between the APICs at FEC00000-FEE00FFF and 4 GiB with room to spare.
const LARGEST: u64 = 16 << 20;

/// Offsets in F000 at which IBM's PC BIOS had its services, and PC firmware has kept them since, because programs jump
/// there (IBM PC/AT Technical Reference, BIOS listing): POST, NMI, INT 19, 14, 16, 09, 13, 0E, 17, 10, 12, 11, 15, 1A, 08,
/// the vector of unused interrupts, INT 05.
const SERVICES: [u64; 17] = [
    0xe05b, 0xe2c3, 0xe6f2, 0xe739, 0xe82e, 0xe987, 0xec59, 0xef57, 0xefd2, 0xf065, 0xf841, 0xf84d, 0xf859,
    0xfe6e, 0xfea5, 0xff53, 0xff54,
];

/// A ROM, and what it finds to boot.
#[derive(Debug, Clone, Copy)]
pub struct Firmware<'a> {
    /// The image.
    pub rom: &'a Path,
    /// Option ROMs, in the order in which they are tried.
    pub option_roms: &'a [PathBuf],
    /// A kernel that one of them boots.
    pub kernel: Option<Kernel<'a>>,
}

impl<'a> Firmware<'a> {
    /// A ROM alone.
    pub fn of(rom: &'a Path) -> Self {
        Self { rom, option_roms: &[], kernel: None }
    }
}

/// Loads a ROM from a file.
pub fn load(firmware: Firmware<'_>, ram_bytes: u64) -> Result<Guest, RecorderError> {
    let path = firmware.rom;
    let mut memory = ram_regions(ram_bytes)?;
    let image = read_image("firmware", path, LARGEST)?;
    let bytes = image.len() as u64;
    if !bytes.is_multiple_of(64 << 10) {
        let reason =
            format!("{bytes} bytes is no size of a ROM: it must be a multiple of 64 KiB, and at most 16 MiB");
        return Err(RecorderError::Unusable { role: "firmware", path: path.to_owned(), reason });
    }
    let mut files = vec![file("firmware", path, &image)];
    let mut boots = BootRom::default();
    boots.contents.files.extend(acpi::loader::files());
    boots.add_roms(firmware.option_roms)?;
    memory.push(MemoryRegion { gpa: FOUR_GIB - bytes, bytes, readonly: true });
    memory.sort_by_key(|r| r.gpa);
    let legacy = bytes.min(LEGACY_BYTES);
    let views = [
        View { linear: FOUR_GIB - bytes, offset: 0, bytes },
        View { linear: ONE_MIB - legacy, offset: bytes - legacy, bytes: legacy },
    ];
    // The reset vector: CS base FFFF0000, IP FFF0 (SDM vol. 3, 10.1.4); the far jump there leads to F000:xxxx.
    let reset = Entry { segment_base: 0xffff_0000, ip: 0xfff0, mode: CpuMode::Real16 };
    let services = SERVICES.map(|ip| Entry { segment_base: 0xf_0000, ip, mode: CpuMode::Real16 });
    let mut code = Code::reached(&image, &views, &[reset], &services);
    if let Some(kernel) = &firmware.kernel {
        boots.add_kernel(kernel, memory[0].bytes, code.used_ports.clone())?;
    }
    code.used_ports.extend(boots.kernel.iter().flat_map(|kernel| &kernel.used_ports));
    files.extend(boots.files);
    let rewritten = rewrite::sources_at(image, &views, code);
    let low = rewritten.image[(bytes - legacy) as usize..].to_vec();
    let mut guest = Guest {
        entry: "firmware".into(),
        memory,
        ram_bytes,
        contents: vec![(Gpa(FOUR_GIB - bytes), rewritten.image), (Gpa(ONE_MIB - legacy), low)],
        files,
        rewrites: rewritten.rewrites,
        suspects: rewritten.suspects,
        stand_ins: rewritten.stand_ins,
        used_ports: rewritten.used_ports,
        mirrors: vec![Mirror { gpas: [ONE_MIB - legacy, FOUR_GIB - legacy], bytes: legacy }],
        fw_cfg: boots.contents,
        hand_off: None,
        start: Start::Reset,
    };
    if guest.stand_ins == StandIns::default() {
        // What it boots may read clocks, too.
        guest.stand_ins = Ports::of(&guest).map(Ports::stand_ins).unwrap_or_default();
    }
    if let Some(kernel) = boots.kernel {
        guest.rewrites.extend(kernel.rewrites);
        guest.rewrites.sort_by_key(|rewrite| rewrite.gpa);
        guest.suspects.extend(kernel.suspects);
        guest.hand_off = kernel.hand_off;
    }
    Ok(guest)
}
