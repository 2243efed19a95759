//! Images with damaged headers, thousands of them: a loader refuses them with a reason or loads them into the memory there is.

use super::firmware::{self, Firmware};
use super::kernel::{self, Kernel, Protocol};
use super::multiboot::{self, Module, Multiboot};
use super::samples::{bzimage, elf32, elf64};
use super::{Guest, RecorderError};
use std::path::Path;
use tempfile::TempDir;

const RAM: u64 = 4 << 20;
const ROUNDS: u64 = 1500;
/// RDTSC, RET, and what looks like RDTSC in an immediate.
const CODE: &[u8] = &[0x0f, 0x31, 0xc3, 0xb8, 0x0f, 0x31, 0, 0, 0xc3, 0xe6, 0x80, 0xf4];

/// Marsaglia's xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Flips bits, puts extreme values, cuts: mostly in the first KiB, where headers are, and in the last, where ELF files have
/// their sections.
fn damage(image: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let part = image.len().min(1024);
        let at = if random.below(3) == 0 { image.len() - 1 - random.below(part) } else { random.below(part) };
        match random.below(8) {
            0 => image.truncate(1 + at),
            1 | 2 => {
                let value: u64 = [0, u64::MAX, 1 << 31, 0x10_0000][random.below(4)];
                let end = image.len().min(at + [1, 2, 4, 8][random.below(4)]);
                image[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            _ => image[at] ^= 1 << random.below(8),
        }
    }
}

/// Loads `ROUNDS` damaged copies; says how many were loaded all the same.
fn damaged(sample: &[u8], load: impl Fn(&Path) -> Result<Guest, RecorderError>) -> u64 {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("image");
    let mut loaded = 0;
    for seed in 1..=ROUNDS {
        let mut image = sample.to_vec();
        damage(&mut image, &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        std::fs::write(&path, &image).unwrap();
        match load(&path) {
            Ok(guest) => {
                loaded += 1;
                for (gpa, bytes) in &guest.contents {
                    let end = gpa.0 + bytes.len() as u64;
                    assert!(
                        guest
                            .memory
                            .iter()
                            .any(|region| gpa.0 >= region.gpa && end <= region.gpa + region.bytes),
                        "seed {seed}: {:#x} + {}",
                        gpa.0,
                        bytes.len()
                    );
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    // Some damage hits nothing that matters, most does.
    assert!(loaded > 0 && loaded < ROUNDS, "{loaded} of {ROUNDS} were loaded");
    loaded
}

fn kernel(path: &Path) -> Result<Guest, RecorderError> {
    kernel::load(Kernel { image: path, initrd: None, cmdline: "quiet", protocol: Protocol::Auto }, RAM)
}

#[test]
fn the_samples_are_what_they_claim_to_be() {
    let folder = TempDir::new().unwrap();
    let load = |image: &[u8], loader: &dyn Fn(&Path) -> Result<Guest, RecorderError>| {
        let path = folder.path().join("image");
        std::fs::write(&path, image).unwrap();
        loader(&path).unwrap_or_else(|e| panic!("{e}"))
    };
    let vmlinux = load(&elf64(CODE), &kernel);
    assert_eq!((vmlinux.entry.as_str(), vmlinux.rewrites.len()), ("vmlinux, 64-bit", 1));
    let packed = load(&bzimage(&elf64(CODE)), &kernel);
    assert_eq!(packed.entry, "bzImage, 64-bit");
    assert_eq!(packed.hand_off.map(|h| h.rewrites.len()), Some(1));
    let elf = load(&elf32(CODE), &multiboot);
    assert_eq!((elf.entry.as_str(), elf.rewrites.len()), ("multiboot, ELF", 1));
    assert_eq!(elf.rewrites[0].gpa, 0x10_0080);
}

#[test]
fn damaged_bzimages_do_no_harm() {
    damaged(&bzimage(&elf64(CODE)), kernel);
}

#[test]
fn damaged_kernels_for_a_bios_do_no_harm() {
    let folder = TempDir::new().unwrap();
    let rom = folder.path().join("rom");
    std::fs::write(&rom, vec![0xf4; 64 << 10]).unwrap();
    damaged(&bzimage(&elf64(CODE)), |image| {
        let kernel = Kernel { image, initrd: None, cmdline: "quiet", protocol: Protocol::Auto };
        firmware::load(Firmware { kernel: Some(kernel), ..Firmware::of(&rom) }, RAM)
    });
}

#[test]
fn damaged_elf_kernels_do_no_harm() {
    damaged(&elf64(CODE), kernel);
}

fn multiboot(path: &Path) -> Result<Guest, RecorderError> {
    let modules = [Module { path: path.to_owned(), text: "itself".into() }];
    multiboot::load(Multiboot { image: path, modules: &modules, cmdline: "quiet" }, RAM)
}

#[test]
fn damaged_multiboot_kernels_do_no_harm() {
    damaged(&elf32(CODE), multiboot);
}
