//! Option ROMs, and a kernel that one of them boots by Linux's 16-bit protocol: QEMU's `linuxboot.bin`, on `SeaBIOS`.
//!
//! The ROM reads the real-mode part, the rest of the kernel, command line and RAM disk from `fw_cfg` to the addresses that stand
//! there beside them, and enters the real-mode part (QEMU, pc-bios/optionrom/linuxboot.S; keys: Linux,
//! include/uapi/linux/qemu_fw_cfg.h; protocol: Linux, Documentation/arch/x86/boot.rst).

use super::kernel::{self, Kernel, Loaded, SetupHeader, check_cmdline, fill_in, place_initrd};
use super::{file, read_image};
use crate::devices::fw_cfg::Contents;
use crate::error::RecorderError;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trapline_formats::GuestFile;

/// Where things go, as QEMU has it: real-mode part, command line, protected-mode part.
const SETUP_AT: u32 = 0x1_0000;
const CMDLINE_AT: u32 = 0x2_0000;
const KERNEL_AT: u32 = 0x10_0000;
/// Where the stack of the real-mode part ends, as an offset in it (boot.rst, `heap_end_ptr`).
const HEAP_END: u16 = (CMDLINE_AT - SETUP_AT - 0x200) as u16;
/// `SeaBIOS` keeps its tables at the end of RAM below 4 GiB.
const LEFT_TO_THE_BIOS: u64 = 1 << 20;
/// What fits between the video ROM's place and the BIOS.
const LARGEST_ROM: u64 = 128 << 10;
/// What a BIOS looks for (Plug and Play BIOS Specification 1.0A, 3.1).
const ROM_SIGNATURE: [u8; 2] = [0x55, 0xaa];
const SECTOR: usize = 512;
/// The first protocol whose command line may lie anywhere.
const OLDEST: u16 = 0x202;
/// `loadflags`: the protected-mode part goes to 1 MiB; there is a heap.
const LOADED_HIGH: u8 = 1;
const CAN_USE_HEAP: u8 = 0x80;

/// Keys in `fw_cfg`: of an address, a size, and what is to be there.
mod key {
    pub(super) const KERNEL: [u16; 3] = [0x07, 0x08, 0x11];
    pub(super) const INITRD: [u16; 3] = [0x0a, 0x0b, 0x12];
    pub(super) const CMDLINE: [u16; 3] = [0x13, 0x14, 0x15];
    pub(super) const SETUP: [u16; 3] = [0x16, 0x17, 0x18];
}

/// What goes into `fw_cfg`, and which files it comes from.
#[derive(Default)]
pub(super) struct BootRom {
    pub(super) contents: Contents,
    pub(super) files: Vec<GuestFile>,
    /// The kernel, if anything could be rewritten in it.
    pub(super) kernel: Option<Loaded>,
}

impl BootRom {
    /// Reads option ROMs, which are tried in this order.
    pub(super) fn add_roms(&mut self, roms: &[PathBuf]) -> Result<(), RecorderError> {
        for path in roms {
            let rom = self.read("option ROM", path, LARGEST_ROM)?;
            if !rom.starts_with(&ROM_SIGNATURE) {
                let reason = "no option ROM: it does not begin with the bytes 55 AA";
                return Err(unusable("option ROM", path, reason.into()));
            }
            let name = format!("genroms/{}", path.file_name().unwrap_or_default().to_string_lossy());
            self.contents.boots.push(format!("/rom@{name}"));
            self.contents.files.push((name, rom));
        }
        Ok(())
    }

    /// Reads the kernel; the guest has `low` bytes of RAM below the PCI hole, and its firmware uses these ports.
    pub(super) fn add_kernel(
        &mut self,
        kernel: &Kernel<'_>,
        low: u64,
        used_ports: BTreeSet<u8>,
    ) -> Result<(), RecorderError> {
        let image = self.read("kernel", kernel.image, low)?;
        let no_kernel = |reason: String| unusable("kernel", kernel.image, reason);
        let (mut header, end) = setup_part(&image).map_err(|reason| no_kernel(reason.into()))?;
        let (setup, rest) = image.split_at(end);
        self.kernel = kernel::for_a_bios(&image, low, used_ports).map_err(no_kernel)?;
        let closed = self.kernel.as_mut().and_then(|loaded| loaded.contents.pop());
        let rest = closed.map_or_else(|| rest.to_vec(), |(_, bytes)| bytes);
        check_cmdline(kernel.cmdline, header.fields.cmdline_size as usize)?;
        header.fields.loadflags |= CAN_USE_HEAP;
        header.fields.heap_end_ptr = HEAP_END;
        let mut place = None;
        if let Some(path) = kernel.initrd {
            let initrd = self.read("initrd", path, low)?;
            let bytes = initrd.len() as u64;
            let unpacked = self.kernel.as_ref().map(|loaded| loaded.end);
            let start = unpacked.unwrap_or(u64::from(KERNEL_AT) + rest.len() as u64);
            let end = (low - LEFT_TO_THE_BIOS).min(u64::from(header.fields.initrd_addr_max) + 1);
            let at = place_initrd(path, bytes, start..end, low)?;
            self.add(key::INITRD, at as u32, initrd);
            place = Some((at, bytes));
        }
        fill_in(&mut header.fields, CMDLINE_AT.into(), place);
        let mut setup = setup.to_vec();
        header.put(&mut setup);
        self.add(key::SETUP, SETUP_AT, setup);
        self.add(key::CMDLINE, CMDLINE_AT, [kernel.cmdline.as_bytes(), b"\0"].concat());
        self.add(key::KERNEL, KERNEL_AT, rest);
        Ok(())
    }

    fn read(&mut self, role: &'static str, path: &Path, limit: u64) -> Result<Vec<u8>, RecorderError> {
        let bytes = read_image(role, path, limit)?;
        self.files.push(file(role, path, &bytes));
        Ok(bytes)
    }

    fn add(&mut self, [address, size, data]: [u16; 3], at: u32, bytes: Vec<u8>) {
        let number = |value: u32| value.to_le_bytes().to_vec();
        let length = number(bytes.len() as u32);
        self.contents.items.extend([(address, number(at)), (size, length), (data, bytes)]);
    }
}

/// The header, and where the real-mode part ends.
fn setup_part(image: &[u8]) -> Result<(SetupHeader, usize), &'static str> {
    let header = SetupHeader::of(image)
        .filter(|h| h.fields.version >= OLDEST && h.fields.loadflags & LOADED_HIGH != 0)
        .ok_or("an option ROM boots a bzImage of boot protocol 2.02 or later, and it is none")?;
    // Zero stands for four (boot.rst, `setup_sects`).
    let sectors = match header.fields.setup_sects {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let end = (sectors + 1) * SECTOR;
    if end >= image.len() {
        return Err("it is truncated: it ends in its real-mode part");
    }
    Ok((header, end))
}

fn unusable(role: &'static str, path: &Path, reason: String) -> RecorderError {
    RecorderError::Unusable { role, path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::kernel::Protocol;
    use crate::guest::samples;
    use tempfile::TempDir;

    const LOW: u64 = 64 << 20;

    /// Writes a file.
    fn written(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn item(rom: &BootRom, key: u16) -> &[u8] {
        &rom.contents.items.iter().find(|(k, _)| *k == key).unwrap().1
    }

    #[test]
    fn a_kernel_is_split_and_told_where_all_is() {
        let folder = TempDir::new().unwrap();
        let image = samples::old_bzimage(0x3e);
        let path = written(&folder, "kernel", &image);
        let initrd = written(&folder, "initrd", &[7; 5000]);
        let kernel =
            Kernel { image: &path, initrd: Some(&initrd), cmdline: "quiet", protocol: Protocol::Auto };
        let mut rom = BootRom::default();
        rom.add_kernel(&kernel, LOW, BTreeSet::new()).unwrap();
        let setup = item(&rom, key::SETUP[2]);
        assert_eq!(setup.len(), 0x400, "one sector of setup code behind the first");
        assert_eq!(item(&rom, key::KERNEL[2]), &image[0x400..], "there is nothing to rewrite");
        assert_eq!(item(&rom, key::KERNEL[1]), (image.len() as u32 - 0x400).to_le_bytes());
        assert_eq!(item(&rom, key::CMDLINE[2]), b"quiet\0");
        let at = (LOW - (1 << 20) - 2 * 4096) as u32;
        assert_eq!(item(&rom, key::INITRD[0]), at.to_le_bytes());
        let header = SetupHeader::of(setup).unwrap().fields;
        assert_eq!({ header.ramdisk_image }, at);
        assert_eq!(({ header.ramdisk_size }, { header.cmd_line_ptr }), (5000, CMDLINE_AT));
        assert_eq!((header.loadflags & CAN_USE_HEAP, header.type_of_loader), (CAN_USE_HEAP, 0xff));
        assert_eq!(setup[0x240..], image[0x240..0x400], "its code is as it was");
        assert_eq!(rom.files.iter().map(|f| f.role.as_str()).collect::<Vec<_>>(), ["kernel", "initrd"]);
    }

    #[test]
    fn clock_reads_of_a_kernel_are_rewritten_by_ports_that_the_firmware_does_not_use() {
        let folder = TempDir::new().unwrap();
        // rdtsc; hlt
        let path = written(&folder, "kernel", &samples::bzimage(&samples::elf64(&[0x0f, 0x31, 0xf4])));
        let kernel = Kernel { image: &path, initrd: None, cmdline: "", protocol: Protocol::Auto };
        let mut rom = BootRom::default();
        rom.add_kernel(&kernel, LOW, BTreeSet::from([0x9e])).unwrap();
        let loaded = rom.kernel.as_ref().unwrap();
        assert_eq!(loaded.stand_ins.clock, Some(0x9f));
        assert_eq!(loaded.hand_off.as_ref().unwrap().rewrites.len(), 1);
        let jump = [0xe6, loaded.hand_off.as_ref().unwrap().port];
        assert!(item(&rom, key::KERNEL[2]).windows(2).any(|bytes| bytes == jump));
    }

    #[test]
    fn what_cannot_be_booted_so_is_refused() {
        let folder = TempDir::new().unwrap();
        let refused = |image: &[u8], initrd: Option<&Path>| {
            let path = written(&folder, "kernel", image);
            let kernel = Kernel { image: &path, initrd, cmdline: "", protocol: Protocol::Auto };
            BootRom::default().add_kernel(&kernel, LOW, BTreeSet::new()).unwrap_err().to_string()
        };
        let image = samples::old_bzimage(0x3e);
        assert!(refused(&[0; 0x1000], None).contains("it is none"));
        assert!(refused(&image[..0x400], None).contains("truncated"));
        let mut low = image.clone();
        low[0x211] = 0;
        assert!(refused(&low, None).contains("it is none"));
        let initrd = written(&folder, "initrd", &vec![0; 63 << 20]);
        assert!(refused(&image, Some(&initrd)).contains("--memory"));
    }

    #[test]
    fn option_roms_are_tried_in_the_order_in_which_they_are_named() {
        let folder = TempDir::new().unwrap();
        let roms = ["b.bin", "a.bin"].map(|name| written(&folder, name, &[0x55, 0xaa, 1]));
        let mut rom = BootRom::default();
        rom.add_roms(&roms).unwrap();
        assert_eq!(rom.contents.boots, ["/rom@genroms/b.bin", "/rom@genroms/a.bin"]);
        assert_eq!(rom.contents.files.iter().filter(|(name, _)| name.starts_with("genroms/")).count(), 2);
        let no_rom = written(&folder, "c.bin", b"MZ");
        assert!(BootRom::default().add_roms(&[no_rom]).unwrap_err().to_string().contains("55 AA"));
    }
}
