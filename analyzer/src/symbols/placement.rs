//! Where an image stands in the guest: found by comparing instructions that trapped with the image's code.
//!
//! KASLR, position-independent programs and kernels that move themselves shift an image by whole pages. A shift is
//! believed where the instructions of the trace stand at the shifted places and nowhere else; otherwise the image is
//! of another build, and nothing is guessed.

use std::collections::BTreeSet;
use trapline_formats::{ExitKind, Site};

/// Bytes of an image at the addresses that its symbols use.
pub(crate) type Chunk = (u64, Vec<u8>);

const PAGE: u64 = 4096;
/// Instructions that propose places. The longest are the most telling.
const PROPOSERS: usize = 24;
/// Places proposed by one instruction.
const PROPOSALS: usize = 4096;
/// This many bytes of instructions have to agree.
const ENOUGH: usize = 4;

/// What has to be added to an image's addresses, and how many instructions agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) offset: u64,
    pub(super) agreed: usize,
}

/// Finds the place of an image; `None` where none or several are as good.
pub(super) fn find(chunks: &[Chunk], sites: &[Site]) -> Option<Placement> {
    let instructions = instructions(sites);
    let mut best: Option<(usize, Placement)> = None;
    let mut tie = false;
    for offset in proposals(chunks, &instructions) {
        let Some((bytes, agreed)) = score(chunks, &instructions, offset) else { continue };
        match &best {
            Some((most, _)) if bytes < *most => {}
            Some((most, _)) if bytes == *most => tie = true,
            _ => {
                tie = false;
                best = Some((bytes, Placement { offset, agreed }));
            }
        }
    }
    // An image at its own address needs no proof that it is nowhere else.
    let at_home =
        score(chunks, &instructions, 0).filter(|(bytes, _)| best.is_none_or(|(most, _)| most == *bytes));
    if let Some((_, agreed)) = at_home.filter(|(bytes, _)| *bytes >= ENOUGH) {
        return Some(Placement { offset: 0, agreed });
    }
    best.filter(|(bytes, _)| *bytes >= ENOUGH && !tie).map(|(_, placement)| placement)
}

/// Instructions with their bytes as the image has them: not those that were rewritten.
fn instructions(sites: &[Site]) -> BTreeSet<(u64, &[u8])> {
    sites
        .iter()
        .filter(|s| s.kind != ExitKind::ClockRead && !s.instruction.bytes.is_empty())
        .map(|s| (s.instruction.address.0, s.instruction.bytes.as_slice()))
        .collect()
}

fn proposals(chunks: &[Chunk], instructions: &BTreeSet<(u64, &[u8])>) -> BTreeSet<u64> {
    let mut longest: Vec<_> = instructions.iter().collect();
    longest.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
    let mut offsets = BTreeSet::new();
    for &(address, bytes) in longest.into_iter().take(PROPOSERS) {
        let places = chunks.iter().flat_map(|chunk| places(chunk, address, bytes));
        offsets.extend(places.take(PROPOSALS).map(|at| address.wrapping_sub(at)));
    }
    offsets
}

/// Where a chunk holds these bytes at the same distance from the start of a page.
fn places<'a>(chunk: &'a Chunk, address: u64, bytes: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
    let first = address.wrapping_sub(chunk.0) % PAGE;
    (first as usize..chunk.1.len())
        .step_by(PAGE as usize)
        .filter(move |&at| chunk.1[at..].starts_with(bytes))
        .map(|at| chunk.0.wrapping_add(at as u64))
}

/// Bytes and instructions that agree; `None` where more than one in ten of those inside the image do not.
fn score(chunks: &[Chunk], instructions: &BTreeSet<(u64, &[u8])>, offset: u64) -> Option<(usize, usize)> {
    let (mut bytes_agreed, mut agreed, mut others) = (0, 0, 0);
    for &(address, bytes) in instructions {
        let Some(found) = at(chunks, address.wrapping_sub(offset), bytes.len()) else { continue };
        if found == bytes {
            agreed += 1;
            bytes_agreed += bytes.len();
        } else {
            others += 1;
            // Nothing that follows could make up for so many.
            if others * 10 > instructions.len() {
                return None;
            }
        }
    }
    (agreed >= others * 9).then_some((bytes_agreed, agreed))
}

/// Instructions that are in an image moved by so much, and those that are others there.
pub(super) fn agreement(chunks: &[Chunk], sites: &[Site], offset: u64) -> (usize, usize) {
    let here = instructions(sites);
    let here = here.iter().filter_map(|(address, bytes)| {
        Some(at(chunks, address.wrapping_sub(offset), bytes.len())? == *bytes)
    });
    let (same, others): (Vec<_>, Vec<_>) = here.partition(|same| *same);
    (same.len(), others.len())
}

/// Bytes of an image.
pub(super) fn at(chunks: &[Chunk], address: u64, length: usize) -> Option<&[u8]> {
    chunks.iter().find_map(|(start, bytes)| {
        let from = usize::try_from(address.checked_sub(*start)?).ok()?;
        bytes.get(from..from.checked_add(length)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_formats::{CpuMode, Gva, Instruction};

    fn site(address: u64, bytes: &[u8]) -> Site {
        let instruction =
            Instruction { address: Gva(address), bytes: bytes.to_vec(), mode: CpuMode::Long64, cpl: 0 };
        Site { kind: ExitKind::PortRead, address: 0, size: 1, rep: false, instruction }
    }

    /// Three pages of code that repeats nowhere.
    fn image(at: u64) -> Vec<Chunk> {
        let bytes = (0..3 * 4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        vec![(at, bytes)]
    }

    fn sites(image: &[Chunk], offset: u64) -> Vec<Site> {
        let one = |i: u64| site(image[0].0 + i * 700 + offset, at(image, image[0].0 + i * 700, 2).unwrap());
        (0..17).map(one).collect()
    }

    #[test]
    fn an_image_is_found_wherever_it_was_moved_to() {
        let image = image(0x40_0000);
        for offset in [0, 0x1e00_0000, 0x5000, 0u64.wrapping_sub(0x1000)] {
            let found = find(&image, &sites(&image, offset));
            assert_eq!(found, Some(Placement { offset, agreed: 17 }), "{offset:#x}");
        }
    }

    #[test]
    fn an_image_of_another_build_is_nowhere() {
        let image = image(0x40_0000);
        let mut other = image.clone();
        other[0].1.iter_mut().for_each(|b| *b = !*b);
        assert_eq!(find(&other, &sites(&image, 0)), None);
        assert_eq!(find(&image, &[]), None);
        assert_eq!(find(&[], &sites(&image, 0)), None);
    }

    #[test]
    fn what_agrees_at_a_place_is_counted() {
        let image = image(0x40_0000);
        let mut sites = sites(&image, 0x5000);
        sites[3].instruction.bytes[0] ^= 1;
        assert_eq!(agreement(&image, &sites, 0x5000), (16, 1));
    }

    #[test]
    fn one_short_instruction_is_no_proof() {
        let image = image(0x40_0000);
        assert_eq!(find(&image, &sites(&image, 0x7000)[..1]), None);
    }

    #[test]
    fn two_equal_places_are_none() {
        let page = image(0)[0].1[..4096].to_vec();
        let image = vec![(0x1000, [page.clone(), page].concat())];
        let sites: Vec<_> =
            (0..5).map(|i| site(0x9000 + i * 700, at(&image, 0x1000 + i * 700, 2).unwrap())).collect();
        assert_eq!(find(&image, &sites), None);
    }
}
