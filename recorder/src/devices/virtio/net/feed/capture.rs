//! The frames of a capture file: pcap (draft-ietf-opsawg-pcap) or pcapng (draft-ietf-opsawg-pcapng), read by `pcap-parser`.

use super::super::SHORTEST;
use super::super::link::LONGEST;
use pcap_parser::nom::{Err as NomError, IResult};
use pcap_parser::pcapng::{
    parse_enhancedpacketblock_be, parse_enhancedpacketblock_le, parse_interfacedescriptionblock_be,
    parse_interfacedescriptionblock_le, parse_sectionheaderblock, parse_unknownblock_be,
    parse_unknownblock_le,
};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{
    EPB_MAGIC, EnhancedPacketBlock, IDB_MAGIC, InterfaceDescriptionBlock, Linktype, PcapError, PcapHeader,
    SPB_MAGIC, UnknownBlock, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_header,
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

/// Walks from block to block, and lets only those be decoded that count: the crate's decoder of some others panics on a length of 4.
fn read_pcapng(content: &[u8]) -> Result<Capture, String> {
    let mut capture = Capture::default();
    let (mut rest, mut is_big, mut interfaces) = (content, false, Vec::<Interface>::new());
    while !rest.is_empty() {
        if let Ok((_, section)) = parse_sectionheaderblock(rest) {
            (is_big, interfaces) = (section.big_endian(), Vec::new());
        }
        let failed = |e| damaged(content, rest, &e);
        let (walk, interface, packet) = if is_big { BIG } else { LITTLE };
        let (behind, block) = walk(rest).map_err(failed)?;
        match if is_big { block.block_type.swap_bytes() } else { block.block_type } {
            IDB_MAGIC => interfaces.push(Interface::of(&interface(rest).map_err(failed)?.1)?),
            EPB_MAGIC => {
                let block = packet(rest).map_err(failed)?.1;
                let Some(interface) = interfaces.get(block.if_id as usize) else {
                    return Err(format!(
                        "at byte {}: there is no interface {}",
                        at(content, rest),
                        block.if_id
                    ));
                };
                interface.is_ethernet.clone()?;
                let time = interface.ns(block.ts_high, block.ts_low);
                capture.add(time, block.packet_data(), block.origlen);
            }
            SPB_MAGIC => return Err(format!("at byte {}: a packet without a time", at(content, rest))),
            _ => {}
        }
        rest = behind;
    }
    Ok(capture)
}

type Parsed<'a, Block> = IResult<&'a [u8], Block, PcapError<&'a [u8]>>;
/// How any block is walked over, and how an interface and a packet are decoded.
type Parsers = (
    for<'a> fn(&'a [u8]) -> Parsed<'a, UnknownBlock<'a>>,
    for<'a> fn(&'a [u8]) -> Parsed<'a, InterfaceDescriptionBlock<'a>>,
    for<'a> fn(&'a [u8]) -> Parsed<'a, EnhancedPacketBlock<'a>>,
);
const LITTLE: Parsers =
    (parse_unknownblock_le, parse_interfacedescriptionblock_le, parse_enhancedpacketblock_le);
const BIG: Parsers =
    (parse_unknownblock_be, parse_interfacedescriptionblock_be, parse_enhancedpacketblock_be);

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
