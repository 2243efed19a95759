//! Kernels, and what they are booted with, that cannot be: each is refused with the reason and what to try, before anything runs.

use crate::images_of_others::image;
use crate::program::Folder;

/// The smallest multiboot kernel: its header, and HLT.
fn multiboot(folder: &Folder) {
    let words = [0x1bad_b002_u32, 0x1_0003, 0xe451_4ffb, 0x10_0000, 0x10_0000, 0, 0, 0x10_0020];
    let mut kernel: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    kernel.push(0xf4);
    folder.file("kernel", &kernel);
}

/// A folder with the small Linux, as bzImage and vmlinux.
fn linux() -> Folder {
    let folder = Folder::new();
    for name in ["bzImage", "vmlinux"] {
        std::os::unix::fs::symlink(image("linux", &format!("linux/{name}")), folder.path(name)).unwrap();
    }
    folder
}

#[test]
fn an_image_that_is_not_what_its_flag_says_is_refused_with_the_flag_that_fits() {
    let folder = linux();
    let mut rom = vec![0; 128 << 10];
    rom[(128 << 10) - 16] = 0xea;
    folder.file("rom", &rom);
    folder.file("flat", &[0xf4]);
    folder.file("packed.gz", &[0x1f, 0x8b, 8, 0]);
    let refused = |flag: &str, file: &str, words: &[&str]| {
        folder.run(&["record", flag, file]).says(2, &[&[file], words].concat());
        assert!(!folder.path("run.trap").exists(), "nothing was recorded");
    };
    refused("--multiboot", "bzImage", &["no multiboot header", "a bzImage", "--kernel boots"]);
    refused("--multiboot", "vmlinux", &["no multiboot header", "64-bit ELF", "--kernel boots"]);
    refused("--multiboot", "flat", &["no multiboot header (magic 0x1badb002) in its first 8192 bytes"]);
    refused("--multiboot", "rom", &["no multiboot header", "a firmware ROM", "--firmware boots"]);
    refused("--multiboot", "packed.gz", &["unpack it first"]);
    refused("--kernel", "flat", &["neither a bzImage nor an ELF file"]);
    refused("--kernel", "rom", &["neither a bzImage nor", "a firmware ROM", "--firmware boots"]);
    refused("--firmware", "flat", &["multiple of 64 KiB"]);
}

#[test]
fn a_64_bit_elf_file_with_a_multiboot_header_is_refused_with_what_to_try() {
    let folder = Folder::new();
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0".to_vec();
    file.resize(64, 0);
    file.extend([0x1bad_b002_u32, 0, 0xe452_4ffe].iter().flat_map(|w| w.to_le_bytes()));
    folder.file("wide", &file);
    folder.run(&["record", "--multiboot", "wide"]).says(2, &["wide", "64-bit ELF file", "objcopy"]);
}

#[test]
fn truncated_kernels_are_refused_at_every_length() {
    let folder = linux();
    for name in ["bzImage", "vmlinux"] {
        let whole = std::fs::read(folder.path(name)).unwrap();
        // Nothing but the start of the first sector, a part of the setup header, the setup code alone; then more and more.
        let setup = (usize::from(whole[0x1f1]) + 1) * 512;
        let part = whole.len() / 10;
        for bytes in
            [1, 100, 0x1ff, 0x210, setup, setup + 512, part, part * 5, part * 9, whole.len() - part / 2]
        {
            folder.file("cut", &whole[..bytes]);
            let ran = folder.run(&["record", "--kernel", "cut", "--memory", "128M", "--max-exits", "1"]);
            ran.says(2, &["kernel cut cannot be loaded"]);
            assert!(!ran.err.contains("panicked"), "{name}, {bytes} bytes: {}", ran.err);
        }
    }
}

#[test]
fn an_initrd_that_is_missing_empty_or_too_large_is_refused() {
    let folder = linux();
    folder.file("empty", b"");
    folder.file("large", &vec![0; 40 << 20]);
    let run = |initrd| folder.run(&["record", "--kernel", "vmlinux", "--initrd", initrd, "--memory", "48M"]);
    run("none").says(2, &["initrd none", "No such file"]);
    run("empty").says(2, &["initrd empty", "it is empty"]);
    run("large").says(2, &["initrd large", "41943040 bytes", "of 48 MiB", "more --memory"]);
    folder.file("larger", &vec![0; 50 << 20]);
    run("larger").says(2, &["initrd larger", "52428800 bytes", "at most 50331648 fit"]);
}

#[test]
fn a_kernel_that_memory_is_too_small_for_is_refused_with_what_it_needs() {
    let folder = linux();
    for kernel in ["vmlinux", "bzImage"] {
        folder
            .run(&["record", "--kernel", kernel, "--memory", "16M"])
            .says(2, &[kernel, "it needs memory up to 0x"]);
    }
}

#[test]
fn what_a_bios_cannot_boot_is_refused_before_it_starts() {
    let folder = linux();
    folder.file("rom", &[[0x55, 0xaa].as_slice(), &[0; 510]].concat());
    folder.file("bios", &vec![0; 64 << 10]);
    let run =
        |more: &[&str]| folder.run(&[&["record", "--firmware", "bios", "--memory", "48M"], more].concat());
    run(&["--option-rom", "none"]).says(2, &["option ROM none", "No such file"]);
    run(&["--option-rom", "bzImage"]).says(2, &["option ROM bzImage", "at most 131072 fit"]);
    run(&["--option-rom", "bios"]).says(2, &["option ROM bios", "55 AA"]);
    run(&["--option-rom", "rom", "--kernel", "vmlinux"]).says(2, &["kernel vmlinux", "boots a bzImage"]);
    run(&["--option-rom", "rom", "--kernel", "bzImage", "--protocol", "pvh"])
        .says(2, &["cannot be used with"]);
    let long = "x".repeat(2048);
    run(&["--option-rom", "rom", "--kernel", "bzImage", "--cmdline", &long]).says(2, &["2048 bytes", "2047"]);
    folder.file("large", &vec![0; 45 << 20]);
    run(&["--option-rom", "rom", "--kernel", "bzImage", "--initrd", "large"]).says(2, &["large", "--memory"]);
}

#[test]
fn a_command_line_that_is_too_long_is_refused_with_its_bound() {
    let folder = linux();
    multiboot(&folder);
    let text = "x".repeat(40_000);
    let run =
        |flag, kernel, text| folder.run(&["record", flag, kernel, "--memory", "64M", "--cmdline", text]);
    run("--kernel", "bzImage", &text[..2048]).says(2, &["--cmdline", "2048 bytes", "this kernel takes 2047"]);
    run("--multiboot", "kernel", &text).says(2, &["--cmdline", "40000 bytes", "this kernel takes 32767"]);
    run("--flat", "kernel", "text").says(2, &["--cmdline", "--kernel"]);
}

#[test]
fn modules_that_are_missing_empty_too_large_or_told_too_much_are_refused() {
    let folder = Folder::new();
    multiboot(&folder);
    folder.file("small", b"module");
    folder.file("empty", b"");
    folder.file("large", &vec![0; 2 << 20]);
    let run = |modules: &[&str]| {
        let modules: Vec<&str> = modules.iter().flat_map(|m| ["--module", *m]).collect();
        folder.run(&[&["record", "--multiboot", "kernel", "--memory", "3M"][..], &modules].concat())
    };
    run(&["none"]).says(2, &["module none", "No such file"]);
    run(&["empty=text"]).says(2, &["module empty", "it is empty"]);
    let fits = "kernel and modules before it leave 2088960 of 3 MiB: give the guest more --memory";
    run(&["small", "large"]).says(2, &["module large", "2097152 bytes", fits]);
    let long = format!("small={}", "x".repeat(40_000));
    run(&[&long]).says(2, &["what the modules are told has 40017 bytes", "32764 fit"]);
    folder
        .run(&["record", "--kernel", "kernel", "--module", "small"])
        .says(2, &["--kernel", "cannot be used with", "--module"]);
    folder
        .run(&["record", "--multiboot", "kernel", "--initrd", "small"])
        .says(2, &["--multiboot", "cannot be used with", "--initrd"]);
}
