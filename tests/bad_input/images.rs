//! Images that cannot be loaded, memory that cannot be had.

use crate::program::Folder;

#[test]
fn a_missing_rom_is_named() {
    Folder::new().run(&["record", "--firmware", "no.bin"]).says(2, &["firmware no.bin", "No such file"]);
}

#[test]
fn a_rom_that_cannot_be_read_is_named_with_the_reason() {
    // Root may read any file; but nobody the first byte of an address space.
    Folder::new()
        .run(&["record", "--firmware", "/proc/self/mem"])
        .says(2, &["firmware /proc/self/mem", "Input/output error"]);
}

#[test]
fn an_empty_rom_a_directory_and_a_rom_of_impossible_size_are_refused() {
    let folder = Folder::new();
    folder.file("empty.bin", b"");
    folder.file("odd.bin", &[0; 1000]);
    folder.file("large.bin", &vec![0; 17 << 20]);
    folder.run(&["record", "--firmware", "empty.bin"]).says(2, &["empty.bin", "it is empty"]);
    folder
        .run(&["record", "--firmware", "odd.bin"])
        .says(2, &["odd.bin", "1000 bytes", "multiple of 64 KiB"]);
    folder.run(&["record", "--firmware", "large.bin"]).says(2, &["large.bin", "at most 16777216"]);
    folder.run(&["record", "--firmware", "."]).says(2, &["directory"]);
}

#[test]
fn a_flat_image_larger_than_memory_is_refused() {
    let folder = Folder::new();
    folder.file("large.bin", &vec![0x90; 2 << 20]);
    folder
        .run(&["record", "--flat", "large.bin", "--memory", "1M"])
        .says(2, &["large.bin", "at most 1015808 fit"]);
}

#[test]
fn impossible_sizes_of_memory_are_refused_with_what_is_possible() {
    let folder = Folder::new();
    folder.file("guest.bin", &[0xf4]);
    let run = |size| folder.run(&["record", "--flat", "guest.bin", "--memory", size]);
    run("0").says(2, &["--memory 0", "at least 1M"]);
    run("1000001").says(2, &["at least 1M"]);
    run("1048577").says(2, &["multiple of 4096"]);
    run("9000G").says(2, &["this host has only", "MiB available"]);
    run("99999999999G").says(2, &["more than 64 bits"]);
    run("lots").says(2, &["a size is a number"]);
}

#[test]
fn a_guest_is_needed_and_only_one() {
    let folder = Folder::new();
    folder.run(&["record"]).says(2, &["--firmware", "--flat"]);
    folder.run(&["record", "--firmware", "a", "--flat", "b"]).says(2, &["cannot be used with"]);
}

#[test]
fn a_regular_expression_that_is_none_is_refused() {
    let folder = Folder::new();
    folder.file("guest.bin", &[0xf4]);
    folder.run(&["record", "--flat", "guest.bin", "--until-console", "("]).says(2, &["--until-console"]);
}
