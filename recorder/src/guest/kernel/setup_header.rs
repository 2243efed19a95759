//! The setup header of a bzImage (Linux, Documentation/arch/x86/boot.rst), as far as the image's protocol has one.

use super::Initrd;
use linux_loader::loader::bootparam::setup_header;
use vm_memory::ByteValued;

/// Where it starts.
const START: usize = 0x1f1;
/// A short jump stands in it, from its end over the rest of the header: this is how far.
const JUMP_BYTES: usize = 0x201;
const JUMP_END: usize = 0x202;
/// "HdrS".
const MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
/// Before protocol 2.03.
const OLD_INITRD_ADDR_MAX: u32 = 0x37ff_ffff;
/// Before protocol 2.06.
const OLD_CMDLINE_SIZE: u32 = 255;

/// A boot loader without a number of its own.
const OTHER_LOADER: u8 = 0xff;

/// Fills in what every boot loader does: who it is, and where command line and RAM disk are.
pub(crate) fn fill_in(fields: &mut setup_header, cmdline: u64, initrd: Initrd) {
    fields.type_of_loader = OTHER_LOADER;
    fields.cmd_line_ptr = cmdline as u32;
    if let Some((at, bytes)) = initrd {
        fields.ramdisk_image = at as u32;
        fields.ramdisk_size = bytes as u32;
    }
}

/// The header.
pub(crate) struct SetupHeader {
    /// Its fields; where a limit is younger than the image, the one that held before, and for other fields 0.
    pub(crate) fields: setup_header,
    /// How long it is: behind it, there is code.
    bytes: usize,
}

impl SetupHeader {
    /// The header of this image, if it is a bzImage.
    pub(crate) fn of(image: &[u8]) -> Option<Self> {
        (image.get(MAGIC.0..MAGIC.0 + MAGIC.1.len())? == MAGIC.1).then_some(())?;
        let end = JUMP_END + usize::from(image[JUMP_BYTES]);
        let bytes = (end.min(image.len()) - START).min(size_of::<setup_header>());
        let mut fields = setup_header::default();
        fields.as_mut_slice()[..bytes].copy_from_slice(&image[START..START + bytes]);
        if fields.initrd_addr_max == 0 {
            fields.initrd_addr_max = OLD_INITRD_ADDR_MAX;
        }
        if fields.cmdline_size == 0 {
            fields.cmdline_size = OLD_CMDLINE_SIZE;
        }
        Some(Self { fields, bytes })
    }

    /// Writes the fields that the image has into it.
    pub(crate) fn put(&self, image: &mut [u8]) {
        image[START..START + self.bytes].copy_from_slice(&self.fields.as_slice()[..self.bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::samples;

    #[test]
    fn limits_that_an_old_header_does_not_have_are_those_of_its_time() {
        let mut image = samples::old_bzimage(0x2a);
        let mut header = SetupHeader::of(&image).unwrap();
        assert_eq!({ header.fields.initrd_addr_max }, OLD_INITRD_ADDR_MAX);
        assert_eq!({ header.fields.cmdline_size }, OLD_CMDLINE_SIZE);
        // And what it does not have is not written.
        header.fields.cmd_line_ptr = 0x2_0000;
        let before = image.clone();
        header.put(&mut image);
        assert_eq!(image[0x228..0x22c], 0x2_0000u32.to_le_bytes());
        assert_eq!((&image[..0x228], &image[0x22c..]), (&before[..0x228], &before[0x22c..]));
    }

    #[test]
    fn what_is_cut_short_is_none_or_ends_where_it_ends() {
        let image = samples::bzimage(b"");
        assert!(SetupHeader::of(&image[..0x205]).is_none());
        assert_eq!(SetupHeader::of(&image[..0x210]).unwrap().bytes, 0x210 - START);
        assert!(SetupHeader::of(&[0; 0x400]).is_none());
    }
}
