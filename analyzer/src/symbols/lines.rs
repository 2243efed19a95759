//! Source lines from DWARF.

use super::safe;
use addr2line::Context;
use gimli::{EndianArcSlice, LittleEndian, SectionId};
use object::{CompressionFormat, Object, ObjectSection};
use std::io::Read;
use std::sync::Arc;

/// A section of debug information is not unpacked beyond this.
const LARGEST: u64 = 1 << 30;

/// The source lines of one file.
pub(super) struct Lines(Context<EndianArcSlice<LittleEndian>>);

impl Lines {
    /// Reads the debug information of an ELF file; `None` where it has none or it is damaged.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        let elf = object::File::parse(file).ok()?;
        elf.section_by_name(".debug_line")?;
        let load = |id: SectionId| -> Result<_, gimli::Error> {
            let bytes = elf.section_by_name(id.name()).and_then(|s| contents(&s)).unwrap_or_default();
            Ok(EndianArcSlice::new(Arc::from(bytes), LittleEndian))
        };
        let dwarf = gimli::Dwarf::load(load).ok()?;
        Context::from_dwarf(dwarf).ok().map(Self)
    }

    /// "drivers/tty/serial/8250/8250_port.c:1234".
    pub(super) fn at(&self, address: u64) -> Option<String> {
        let location = self.0.find_location(address).ok()??;
        let line = location.line.map_or(String::new(), |line| format!(":{line}"));
        Some(safe(format!("{}{line}", location.file?).as_bytes()))
    }
}

/// The bytes of a section, unpacked.
pub(crate) fn contents<'a>(section: &impl ObjectSection<'a>) -> Option<Vec<u8>> {
    let packed = section.compressed_data().ok()?;
    let mut bytes = Vec::new();
    match packed.format {
        CompressionFormat::None => return Some(packed.data.to_vec()),
        CompressionFormat::Zlib => {
            flate2::read::ZlibDecoder::new(packed.data).take(LARGEST).read_to_end(&mut bytes).ok()?;
        }
        CompressionFormat::Zstandard => {
            zstd::Decoder::new(packed.data).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
        }
        _ => return None,
    }
    Some(bytes)
}
