//! Finds instructions in an image by following them from where it is entered.
//!
//! A raw byte scan would take data for code. So: recursive descent from known entry points, in the mode of each, through
//! direct jumps, across far jumps that change the mode. Four kinds of places are followed on probation: what a call goes
//! to, what comes after a call (it may never return), addresses that code uses as constants (function pointers, interrupt
//! vectors), and what jump tables hold. If anything reached from such a place by jumps alone does not decode, all that was
//! reached from it is dropped again.

mod jump_table;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, OpKind};
use jump_table::Tables;
use std::collections::{BTreeMap, BTreeSet};
use trapline_formats::CpuMode;

/// A part of the image, as the guest sees it in linear memory.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Linear address of its first byte.
    pub linear: u64,
    /// Offset of its first byte in the image.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
}

/// A place where code is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Base of its code segment.
    pub segment_base: u64,
    /// Offset in the segment.
    pub ip: u64,
    /// Mode it is decoded in.
    pub mode: CpuMode,
}

/// The base of the real-mode segment F000, where PC firmware lives.
const F_SEGMENT: u64 = 0xf_0000;

/// Instructions that were reached, by offset in the image and mode.
pub type Reached = BTreeMap<(u64, CpuMode), Instruction>;

/// An image and how it is seen.
struct Image<'a> {
    bytes: &'a [u8],
    views: &'a [View],
}

impl Image<'_> {
    fn offset(&self, linear: u64) -> Option<u64> {
        let view = self.views.iter().find(|v| linear.wrapping_sub(v.linear) < v.bytes)?;
        Some(view.offset + (linear - view.linear))
    }

    fn dword(&self, linear: u64) -> Option<u32> {
        let bytes = self.bytes.get(self.offset(linear)? as usize..)?;
        bytes.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
    }

    fn decode(&self, entry: Entry) -> Option<(u64, Instruction)> {
        let offset = self.offset(entry.segment_base.wrapping_add(entry.ip))?;
        let bytes = &self.bytes[offset as usize..];
        if bytes.len() >= 4 && bytes[..4] == [0; 4] {
            return None; // `add [eax], al` twice: padding, not code
        }
        let instruction = Decoder::with_ip(entry.mode.bits(), bytes, entry.ip, DecoderOptions::NONE).decode();
        (!instruction.is_invalid()).then_some((offset, instruction))
    }
}

/// Offset in the image and length of every instruction for which `wanted` says yes and that is reached from `entries`, or
/// from `likely` ones, which are followed on probation.
pub fn find(
    bytes: &[u8],
    views: &[View],
    entries: &[Entry],
    likely: &[Entry],
    wanted: impl Fn(&Instruction) -> bool,
) -> BTreeMap<u64, usize> {
    let reached = reach(bytes, views, entries, likely);
    reached.iter().filter(|(_, i)| wanted(i)).map(|((offset, _), i)| (*offset, i.len())).collect()
}

/// Every instruction that is reached so.
pub fn reach(bytes: &[u8], views: &[View], entries: &[Entry], likely: &[Entry]) -> Reached {
    let image = Image { bytes, views };
    let mut reached = Reached::new();
    let mut places: BTreeSet<Entry> = entries.iter().chain(likely).copied().collect();
    let mut tried = BTreeSet::new();
    while let Some(entry) = places.pop_first() {
        if !tried.insert(entry) {
            continue;
        }
        let mut more = BTreeSet::new();
        // Entry points that were given are code, whatever follows.
        let is_given = entries.contains(&entry);
        if let Some(found) = follow(&image, entry, is_given, &reached, &mut more) {
            reached.extend(found);
            places.extend(more.difference(&tried));
        }
    }
    reached
}

/// Follows direct flow from an entry. `None`: something reached does not decode, and the entry was not given.
fn follow(
    image: &Image<'_>,
    entry: Entry,
    is_given: bool,
    known: &Reached,
    places: &mut BTreeSet<Entry>,
) -> Option<Reached> {
    let mut found = Reached::new();
    let mut sound = true;
    let mut tables = Tables::default();
    let mut work = vec![entry];
    while let Some(at) = work.pop() {
        let Some((offset, instruction)) = image.decode(at) else {
            if !is_given {
                return None;
            }
            sound = false;
            continue;
        };
        if known.contains_key(&(offset, at.mode)) || found.insert((offset, at.mode), instruction).is_some() {
            continue;
        }
        constants(image, &instruction, at, places);
        tables.note(&instruction, at);
        let next = successors(image, &instruction, at);
        let is_call = matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        if is_call { places.extend(next) } else { work.extend(next) }
    }
    if sound {
        places.extend(tables.places(image));
    }
    Some(found)
}

/// Where control goes from an instruction, as far as the instruction alone says.
fn successors(image: &Image<'_>, instruction: &Instruction, at: Entry) -> Vec<Entry> {
    let next = Entry { ip: wrap(at.mode, instruction.next_ip()), ..at };
    match instruction.flow_control() {
        FlowControl::Next
        | FlowControl::XbeginXabortXend
        | FlowControl::IndirectCall
        | FlowControl::Interrupt => vec![next],
        FlowControl::ConditionalBranch | FlowControl::Call if is_near(instruction) => {
            vec![next, Entry { ip: wrap(at.mode, instruction.near_branch_target()), ..at }]
        }
        FlowControl::UnconditionalBranch if is_near(instruction) => {
            vec![Entry { ip: wrap(at.mode, instruction.near_branch_target()), ..at }]
        }
        FlowControl::UnconditionalBranch | FlowControl::Call => {
            let far = far_target(image, instruction);
            let falls = instruction.flow_control() == FlowControl::Call;
            far.into_iter().chain(falls.then_some(next)).collect()
        }
        _ => Vec::new(),
    }
}

fn is_near(instruction: &Instruction) -> bool {
    matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

/// The target of a direct far jump or call: where modes change.
fn far_target(image: &Image<'_>, instruction: &Instruction) -> Option<Entry> {
    let (offset, selector, is_wide) = match instruction.code() {
        Code::Jmp_ptr1616 | Code::Call_ptr1616 => {
            (u64::from(instruction.far_branch16()), instruction.far_branch_selector(), false)
        }
        Code::Jmp_ptr1632 | Code::Call_ptr1632 => {
            (u64::from(instruction.far_branch32()), instruction.far_branch_selector(), true)
        }
        _ => return None,
    };
    let is_firmware = image.offset(F_SEGMENT + offset).is_some();
    // Too large for a selector: a real-mode segment. Boot loaders have small GDTs, and flat segments in them.
    let is_segment = match (is_firmware, is_wide) {
        (false, false) => selector == 0 || selector >= 0x100,
        _ => selector >= 0x1000,
    };
    Some(if is_segment {
        Entry { segment_base: u64::from(selector) << 4, ip: offset, mode: CpuMode::Real16 }
    } else if offset > 0xffff || !is_firmware {
        Entry { segment_base: 0, ip: offset, mode: CpuMode::Protected32 }
    } else {
        Entry { segment_base: F_SEGMENT, ip: offset, mode: CpuMode::Protected16 }
    })
}

fn wrap(mode: CpuMode, ip: u64) -> u64 {
    match mode.bits() {
        16 => ip & 0xffff,
        32 => ip & 0xffff_ffff,
        _ => ip,
    }
}

/// Constants of an instruction that may be addresses of code.
fn constants(image: &Image<'_>, instruction: &Instruction, at: Entry, places: &mut BTreeSet<Entry>) {
    for op in 0..instruction.op_count() {
        let value = match instruction.op_kind(op) {
            OpKind::Immediate16 | OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64 => {
                instruction.immediate(op)
            }
            OpKind::Memory => instruction.memory_displacement64(),
            _ => continue,
        };
        let wide = if at.mode == CpuMode::Long64 { CpuMode::Long64 } else { CpuMode::Protected32 };
        if image.offset(value).is_some() {
            places.insert(Entry { segment_base: 0, ip: value, mode: wide });
        }
        // An interrupt vector F000:xxxx in one constant, or an offset in the segment that the code itself is in.
        if value >> 16 == 0xf000 {
            places.insert(Entry { segment_base: F_SEGMENT, ip: value & 0xffff, mode: CpuMode::Real16 });
        } else if at.mode.bits() == 16 && value <= 0xffff && image.offset(F_SEGMENT + value).is_some() {
            places.insert(Entry { segment_base: F_SEGMENT, ip: value, mode: CpuMode::Real16 });
        }
    }
}
