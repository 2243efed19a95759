use super::*;
use crate::guest::samples::{elf32, fields};

const LOW: u64 = 4 << 20;
/// Where `samples::elf32` has its program header.
const PROGRAM: usize = 0x34;

fn layout(image: &[u8]) -> Result<Layout, String> {
    Layout::of(image, &Header::find(image)?, LOW)
}

/// An image of these bytes with address fields, the header first.
fn flat(addresses: [u32; 5], bytes: usize) -> Vec<u8> {
    let magic = super::super::header::MAGIC;
    let flags = 1_u32 << 16;
    let mut words = vec![magic, flags, magic.wrapping_add(flags).wrapping_neg()];
    words.extend(addresses);
    let mut image: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    image.resize(bytes, 0x90);
    image
}

#[test]
fn an_elf_file_is_loaded_at_its_physical_addresses_and_entered_there() {
    let image = elf32(&[0xf4]);
    let layout = layout(&image).unwrap();
    let [segment] = layout.segments[..] else { panic!("{layout:?}") };
    assert_eq!((segment.gpa, segment.linear, segment.offset), (0x10_0000, 0xc010_0000, 0));
    assert_eq!(segment.bytes, segment.file_bytes + 0x1000);
    assert_eq!(layout.ip, 0x10_0080);
}

#[test]
fn a_clock_read_is_one_if_it_is_in_both_decodings() {
    // rdtsc ; ret ; then an immediate of 64-bit code that holds the bytes: mov rax, 0x310f_9090_9090_9090 ; ret
    let code = [0x0f, 0x31, 0xc3, 0x48, 0xb8, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x31, 0xc3];
    assert_eq!(layout(&elf32(&code)).unwrap().sources, [(0x80, 2)].into());
}

#[test]
fn address_fields_say_what_is_loaded_where() {
    let image = flat([0x10_0000, 0x10_0000, 0x10_0100, 0x10_2000, 0x10_0020], 0x200);
    let layout = layout(&image).unwrap();
    let segment = Segment {
        offset: 0,
        file_bytes: 0x100,
        gpa: 0x10_0000,
        bytes: 0x2000,
        linear: 0x10_0000,
        is_code: true,
    };
    assert_eq!((layout.segments, layout.ip), (vec![segment], 0x10_0020));
}

#[test]
fn address_fields_of_zero_mean_the_whole_file_and_no_zeroed_memory() {
    let mut image = vec![0x90; 0x40];
    image.extend(flat([0x10_0020, 0x10_0000, 0, 0, 0x10_0000], 0x100));
    let layout = layout(&image).unwrap();
    // The header lies 0x20 behind the start of what is loaded, and at 0x40 in the file.
    assert_eq!((layout.segments[0].offset, layout.segments[0].file_bytes), (0x20, 0x120));
    assert_eq!(layout.segments[0].bytes, 0x120);
}

#[test]
fn address_fields_that_cannot_be_are_refused_with_the_reason() {
    let refused = |addresses, words: &str| {
        let error = layout(&flat(addresses, 0x200)).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    refused([0x10_0000, 0x10_0010, 0, 0, 0x10_0010], "the header lies before");
    refused([0x10_0010, 0x10_0000, 0, 0, 0x10_0000], "begins before the file does");
    refused([0x10_0000, 0x10_0000, 0xf_0000, 0, 0x10_0000], "the end lies before the start");
    refused(
        [0x10_0000, 0x10_0000, 0x10_0201, 0, 0x10_0000],
        "promises 513 bytes from offset 0x0 on, and 512",
    );
    refused([0x10_0000, 0x10_0000, 0, 0x10_0010, 0x10_0000], "zeroed memory ends before");
    refused([0x10_0000, 0x10_0000, 0, 0, 0x20_0000], "entry point 0x200000 is in nothing");
    refused([0xffff_ff00, 0xffff_ff00, 0, 0, 0xffff_ff00], "give it more --memory");
    refused([0x10_0000, 0x10_0000, 0, 0xffff_ffff, 0x10_0000], "needs memory up to 0xffffffff");
}

#[test]
fn elf_files_that_cannot_be_are_refused_with_the_reason() {
    let refused = |field: (usize, usize, u64), words: &str| {
        let mut image = elf32(&[0xf4]);
        fields(&mut image, &[field]);
        let error = layout(&image).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    refused((4, 1, 2), "64-bit ELF file");
    refused((0, 1, 0), "no ELF file");
    refused((18, 2, 8), "another machine (8)");
    refused((44, 2, 0), "nothing to load");
    refused((44, 2, 0xfff), "ELF headers are damaged");
    refused((28, 4, 0x10_0000), "ELF headers are damaged");
    refused((PROGRAM + 4, 4, 0xffff_ffff), "truncated");
    refused((PROGRAM + 16, 4, 0x10_0000), "more bytes in the file than in memory");
    refused((PROGRAM + 20, 4, 0x100_0000), "give it more --memory");
    refused((24, 4, 0x8000_0000), "entry point 0x80000000 is in nothing");
}
