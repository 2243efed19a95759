//! The frames of a capture file: pcap (draft-ietf-opsawg-pcap) or pcapng (draft-ietf-opsawg-pcapng), read by `pcap-parser`.

use super::super::SHORTEST;
use super::super::link::LONGEST;
use pcap_parser::nom::Err as NomError;
use pcap_parser::pcapng::{Block, parse_block_be, parse_block_le, parse_sectionheaderblock};
use pcap_parser::{
    InterfaceDescriptionBlock, Linktype, PcapHeader, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_header,
};

const NS: u128 = 1_000_000_000;

/// A frame and when it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Captured {
    /// Nanoseconds since the first; a frame that is older than the one before it comes with that.
    pub(super) after_ns: u64,
    pub(super) bytes: Vec<u8>,
}

/// A capture.
#[derive(Debug, Default)]
pub(super) struct Capture {
    pub(super) frames: Vec<Captured>,
    /// Frames that were cut short when they were captured, or are none of Ethernet's by their length.
    pub(super) unusable: u64,
    /// When the first frame came.
    first_ns: Option<u128>,
}

impl Capture {
    fn add(&mut self, ns: u128, data: &[u8], length: u32) {
        if data.len() != length as usize || !(SHORTEST..=LONGEST).contains(&data.len()) {
            self.unusable += 1;
            return;
        }
        let first = *self.first_ns.get_or_insert(ns);
        let after = ns.saturating_sub(first).min(u64::MAX.into()) as u64;
        let after_ns = self.frames.last().map_or(0, |last| last.after_ns).max(after);
        self.frames.push(Captured { after_ns, bytes: data.to_vec() });
    }
}

/// Reads a whole file.
pub(super) fn read(content: &[u8]) -> Result<Capture, String> {
    if parse_sectionheaderblock(content).is_ok() {
        return read_pcapng(content);
    }
    let (rest, header) =
        parse_pcap_header(content).map_err(|_| "it is neither a pcap nor a pcapng file".to_owned())?;
    read_pcap(content, rest, &header)
}

fn read_pcap(content: &[u8], mut rest: &[u8], header: &PcapHeader) -> Result<Capture, String> {
    ethernet(header.network)?;
    if header.is_modified_format() {
        return Err("it is of the modified pcap format: save it as pcapng".into());
    }
    let parse = if header.is_bigendian() { parse_pcap_frame_be } else { parse_pcap_frame };
    let unit = if header.is_nanosecond_precision() { 1 } else { 1000 };
    let mut capture = Capture::default();
    while !rest.is_empty() {
        let (behind, frame) = parse(rest).map_err(|e| damaged(content, rest, &e))?;
        let ns = u128::from(frame.ts_sec) * NS + u128::from(frame.ts_usec) * unit;
        capture.add(ns, frame.data, frame.origlen);
        rest = behind;
    }
    Ok(capture)
}

/// What counts of an interface.
struct Interface {
    is_ethernet: Result<(), String>,
    /// Of its time stamps in a second.
    units: u128,
    offset_s: i64,
}

impl Interface {
    fn of(block: &InterfaceDescriptionBlock<'_>) -> Result<Self, String> {
        // A power of ten, or with the highest bit of two (draft-ietf-opsawg-pcapng, 4.2).
        let exponent = u32::from(block.if_tsresol & 0x7F);
        let base: u128 = if block.if_tsresol & 0x80 == 0 { 10 } else { 2 };
        let units = base.checked_pow(exponent).filter(|units| *units <= u64::MAX.into());
        let units = units.ok_or_else(|| format!("its time stamps have the unit {base}^-{exponent} s"))?;
        Ok(Self { is_ethernet: ethernet(block.linktype), units, offset_s: block.if_tsoffset })
    }

    fn ns(&self, high: u32, low: u32) -> u128 {
        let stamp = u128::from(high) << 32 | u128::from(low);
        let ns = (stamp * NS / self.units) as i128 + i128::from(self.offset_s) * NS as i128;
        ns.max(0) as u128
    }
}

fn read_pcapng(content: &[u8]) -> Result<Capture, String> {
    let mut capture = Capture::default();
    let (mut rest, mut is_big, mut interfaces) = (content, false, Vec::<Interface>::new());
    while !rest.is_empty() {
        if let Ok((_, section)) = parse_sectionheaderblock(rest) {
            (is_big, interfaces) = (section.big_endian(), Vec::new());
        }
        let parse = if is_big { parse_block_be } else { parse_block_le };
        let (behind, block) = parse(rest).map_err(|e| damaged(content, rest, &e))?;
        match block {
            Block::InterfaceDescription(block) => interfaces.push(Interface::of(&block)?),
            Block::EnhancedPacket(block) => {
                let Some(interface) = interfaces.get(block.if_id as usize) else {
                    return Err(format!(
                        "at byte {}: there is no interface {}",
                        at(content, rest),
                        block.if_id
                    ));
                };
                interface.is_ethernet.clone()?;
                let captured = block.data.get(..block.caplen as usize).unwrap_or(block.data);
                capture.add(interface.ns(block.ts_high, block.ts_low), captured, block.origlen);
            }
            Block::SimplePacket(_) => {
                return Err(format!("at byte {}: a packet without a time", at(content, rest)));
            }
            _ => {}
        }
        if behind.len() == rest.len() {
            break;
        }
        rest = behind;
    }
    Ok(capture)
}

fn ethernet(link: Linktype) -> Result<(), String> {
    if link == Linktype::ETHERNET {
        return Ok(());
    }
    Err(format!("it was captured on no Ethernet, but on a link of type {}", link.0))
}

fn at(content: &[u8], rest: &[u8]) -> usize {
    content.len() - rest.len()
}

fn damaged<E>(content: &[u8], rest: &[u8], error: &NomError<E>) -> String {
    let what =
        if error.is_incomplete() { "the file ends in the middle of a packet" } else { "this is no packet" };
    format!("at byte {}: {what}", at(content, rest))
}
