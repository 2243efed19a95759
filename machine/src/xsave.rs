//! The XSAVE image in canonical form: two equal FPU and vector states have equal bytes.
//!
//! A processor may or may not mark a component as "in its initial configuration", and what it then leaves in memory is
//! undefined (SDM vol. 1, 13.6). Canonical: a component whose content is the initial one is marked so, and is all zeros.

use crate::error::MachineError;

const BYTES: usize = 4096;
/// Legacy region: x87 in bytes 0-159 (MXCSR and its mask in 24-31), XMM in 160-415 (SDM vol. 1, 10.5.1).
const X87: std::ops::Range<usize> = 0..160;
const MXCSR: std::ops::Range<usize> = 24..28;
const MXCSR_MASK: std::ops::Range<usize> = 28..32;
const XMM: std::ops::Range<usize> = 160..416;
/// Bytes 416-511 are reserved or software's.
const UNUSED: std::ops::Range<usize> = 416..512;
/// XSTATE_BV, first field of the header (SDM vol. 1, 13.4.2).
const XSTATE_BV: std::ops::Range<usize> = 512..520;
/// Where a component lies in the standard format: (number, offset, bytes).
pub(crate) type Component = (u32, usize, usize);

const X87_BIT: u64 = 1;
const SSE_BIT: u64 = 2;
const AVX_BIT: u64 = 4;
const MXCSR_INIT: u32 = 0x1f80;
const FCW_INIT: u16 = 0x37f;

/// The canonical bytes of an image in the standard format.
pub(crate) fn canonical(words: &[u32; BYTES / 4], components: &[Component]) -> Vec<u8> {
    let mut image: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut present = le64(&image[XSTATE_BV]);
    if present & (SSE_BIT | AVX_BIT) == 0 {
        image[MXCSR].copy_from_slice(&MXCSR_INIT.to_le_bytes());
    }
    image[MXCSR_MASK].fill(0);
    image[UNUSED].fill(0);
    if present & X87_BIT == 0 || is_x87_initial(&image) {
        present &= !X87_BIT;
        clear_x87(&mut image);
    }
    let mxcsr_initial = image[MXCSR] == MXCSR_INIT.to_le_bytes();
    let rest = [(1, XMM.start, XMM.len())];
    for &(component, offset, bytes) in rest.iter().chain(components) {
        let bit = 1u64.checked_shl(component).unwrap_or(0);
        let Some(area) = offset.checked_add(bytes).and_then(|end| image.get_mut(offset..end)) else {
            continue;
        };
        if present & bit == 0 {
            area.fill(0);
        } else if area.iter().all(|b| *b == 0) && (component > 1 || mxcsr_initial) {
            present &= !bit;
        }
    }
    // MXCSR is restored only with SSE or AVX marked present.
    if !mxcsr_initial {
        present |= SSE_BIT;
    }
    image[XSTATE_BV].copy_from_slice(&present.to_le_bytes());
    image
}

/// Moves the extended components of an image to where another processor has them: AMD and Intel put protection keys, and others,
/// at different offsets. A component that `to` has not must be in its initial configuration.
pub(crate) fn moved(image: &[u8], from: &[Component], to: &[Component]) -> Result<Vec<u8>, MachineError> {
    let mut out = image.to_vec();
    if from == to {
        return Ok(out);
    }
    if image.len() != BYTES {
        return Err(MachineError::Restore(format!("its XSAVE image has {} bytes", image.len())));
    }
    let mut present = le64(&image[XSTATE_BV]);
    for &(_, offset, bytes) in from {
        if let Some(area) = out.get_mut(offset..offset + bytes) {
            area.fill(0);
        }
    }
    for &(component, offset, bytes) in from {
        let bit = 1u64.checked_shl(component).unwrap_or(0);
        let target = to.iter().find(|(number, _, size)| (*number, *size) == (component, bytes));
        let Some(content) = image.get(offset..offset + bytes).filter(|_| present & bit != 0) else {
            present &= !bit;
            continue;
        };
        match target.and_then(|(_, offset, bytes)| out.get_mut(*offset..offset + bytes)) {
            Some(area) => area.copy_from_slice(content),
            None => return Err(lacks(component)),
        }
    }
    out[XSTATE_BV].copy_from_slice(&present.to_le_bytes());
    Ok(out)
}

/// Why KVM refuses a state that has these components (XCR0, XSTATE_BV), where it is for one that this processor lacks.
pub(crate) fn missing(components: u64, here: &[Component]) -> Option<MachineError> {
    let is_here = |component: u32| here.iter().any(|(number, ..)| *number == component);
    (2..64).find(|c| components >> c & 1 != 0 && !is_here(*c)).map(lacks)
}

/// The components that an image marks as present.
pub(crate) fn present(image: &[u8]) -> u64 {
    image.get(XSTATE_BV).map_or(0, le64)
}

fn lacks(component: u32) -> MachineError {
    // SDM vol. 1, 13.1; AMD APM vol. 2, 11.5.2.
    let name = match component {
        2 => "AVX",
        3 | 4 => "MPX",
        5..=7 => "AVX-512",
        9 => "protection keys",
        11 | 12 => "CET",
        17 | 18 => "AMX",
        62 => "LWP",
        _ => "no name known",
    };
    MachineError::Restore(format!(
        "this processor lacks XSAVE component {component} ({name}), which is in use"
    ))
}

fn is_x87_initial(image: &[u8]) -> bool {
    let outside = |i: &usize| !MXCSR.contains(i) && !MXCSR_MASK.contains(i) && *i >= 2;
    image[..2] == FCW_INIT.to_le_bytes() && X87.filter(outside).all(|i| image[i] == 0)
}

fn clear_x87(image: &mut [u8]) {
    let mxcsr: Vec<u8> = image[MXCSR].to_vec();
    image[X87].fill(0);
    image[MXCSR].copy_from_slice(&mxcsr);
}

/// The image as KVM takes it.
pub(crate) fn to_words(image: &[u8]) -> Result<[u32; BYTES / 4], MachineError> {
    let (words, rest) = image.as_chunks::<4>();
    if !rest.is_empty() || words.len() != BYTES / 4 {
        return Err(MachineError::Restore(format!("its XSAVE image has {} bytes, not {BYTES}", image.len())));
    }
    let mut out = [0; BYTES / 4];
    for (to, from) in out.iter_mut().zip(words) {
        *to = u32::from_le_bytes(*from);
    }
    // On a processor without XSAVE, KVM takes the legacy region as it is, whatever XSTATE_BV says: an x87 in its initial
    // configuration must be written out. Its only field that is not zero is the control word. (Doctor: `save-restore`.)
    if le64(&image[XSTATE_BV]) & X87_BIT == 0 {
        out[0] = out[0] & 0xffff_0000 | u32::from(FCW_INIT);
    }
    Ok(out)
}

fn le64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |all, b| all << 8 | u64::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(edit: impl FnOnce(&mut [u8])) -> [u32; BYTES / 4] {
        let mut image = vec![0; BYTES];
        edit(&mut image);
        to_words(&image).unwrap()
    }

    #[test]
    fn initial_state_has_one_form_whether_marked_or_not() {
        let unmarked = canonical(&words(|i| i[100] = 7), &[]);
        let marked = canonical(
            &words(|i| {
                i[512] = 3;
                i[..2].copy_from_slice(&FCW_INIT.to_le_bytes());
                i[MXCSR].copy_from_slice(&MXCSR_INIT.to_le_bytes());
            }),
            &[],
        );
        assert_eq!(unmarked, marked);
    }

    #[test]
    fn an_xmm_register_counts_and_what_is_behind_an_unmarked_one_does_not() {
        let state = |bv: u8, x: u8| {
            canonical(
                &words(|i| {
                    i[512] = bv;
                    i[200] = x;
                    i[MXCSR].copy_from_slice(&MXCSR_INIT.to_le_bytes());
                }),
                &[],
            )
        };
        assert_ne!(state(2, 1), state(2, 2));
        assert_eq!(state(0, 1), state(0, 2));
    }

    #[test]
    fn an_initial_x87_is_written_out_for_processors_without_xsave() {
        let unmarked = canonical(&words(|_| {}), &[]);
        let out = to_words(&unmarked).unwrap();
        assert_eq!(out[0], u32::from(FCW_INIT));
        assert_eq!(canonical(&out, &[]), unmarked);
    }

    #[test]
    fn a_component_moves_to_where_another_processor_has_it() {
        let (intel, amd) = ([(2, 576, 256), (9, 2688, 8)], [(2, 576, 256), (9, 832, 8)]);
        let mut image = vec![0; BYTES];
        image[XSTATE_BV].copy_from_slice(&0x206u64.to_le_bytes());
        (image[600], image[2690]) = (7, 9);
        let moved_image = moved(&image, &intel, &amd).unwrap();
        assert_eq!((moved_image[600], moved_image[834], moved_image[2690]), (7, 9, 0));
        assert_eq!(moved(&moved_image, &amd, &intel).unwrap(), image);
    }

    #[test]
    fn a_component_that_is_not_there_must_be_initial() {
        let mut image = vec![0; BYTES];
        assert_eq!(moved(&image, &[(9, 2688, 8)], &[]).unwrap(), image);
        image[XSTATE_BV].copy_from_slice(&0x200u64.to_le_bytes());
        let refused = moved(&image, &[(9, 2688, 8)], &[]).unwrap_err().to_string();
        assert!(refused.contains("XSAVE component 9 (protection keys)"), "{refused}");
        let refused = missing(present(&image) | 7, &[(2, 576, 256)]).unwrap().to_string();
        assert!(refused.contains("XSAVE component 9 (protection keys)"), "{refused}");
        assert!(missing(7, &[(2, 576, 256)]).is_none());
    }

    #[test]
    fn the_canonical_form_is_its_own_canonical_form() {
        let image = canonical(
            &words(|i| {
                i.iter_mut().enumerate().for_each(|(n, b)| *b = n as u8);
                i[XSTATE_BV].copy_from_slice(&7u64.to_le_bytes());
            }),
            &[(2, 576, 256)],
        );
        assert_eq!(canonical(&to_words(&image).unwrap(), &[(2, 576, 256)]), image);
    }
}
