//! What of an XSAVE image is compared between two processors.

use std::ops::Range;

/// FOP, FIP and FDP: kept up to date on one processor, on another only where an x87 exception waits (AMD APM vol. 2, 11.4.4;
/// SDM vol. 1, 8.1.8).
const POINTERS: Range<usize> = 6..24;
/// The lower byte of MXCSR, and of the x87 status word.
const STATUS: [usize; 2] = [24, 2];
/// DE, a denormal operand: a sticky flag that emulated processors do not always set (SDM vol. 1, 10.2.3.1 and 8.1.3).
const DENORMAL: u8 = 1 << 1;
/// Sign and exponent of ST0 to ST7: an MMX register is the fraction, and writing it fills them with ones (SDM vol. 1, 9.2.1),
/// which emulated processors do not always do.
const REGISTERS: Range<usize> = 32..160;
const ROW: usize = 16;
const EXPONENT: Range<usize> = 8..10;
/// Initial values, and where components are marked (SDM vol. 1, 13.6 and 13.4.2).
const FCW_INIT: [u8; 2] = [0x7f, 3];
const MXCSR: Range<usize> = 24..28;
const MXCSR_INIT: [u8; 4] = [0x80, 0x1f, 0, 0];
const XMM: Range<usize> = 160..416;
const XSTATE_BV: usize = 512;
const X87_BIT: u8 = 1;
const SSE_BIT: u8 = 2;

/// Clears what is not compared.
pub(super) fn forget(image: &mut [u8]) {
    if let Some(pointers) = image.get_mut(POINTERS) {
        pointers.fill(0);
    }
    for at in STATUS {
        if let Some(byte) = image.get_mut(at) {
            *byte &= !DENORMAL;
        }
    }
    for register in image.get_mut(REGISTERS).into_iter().flat_map(|area| area.chunks_exact_mut(ROW)) {
        if register[EXPONENT] == [0xff, 0xff] {
            register[EXPONENT].fill(0);
        }
    }
    mark_initial(image);
}

/// A component that is in its initial configuration by now is marked so, as in every canonical image.
fn mark_initial(image: &mut [u8]) {
    if image.len() <= XSTATE_BV {
        return;
    }
    let is_zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    if image[..2] == FCW_INIT && is_zero(&image[2..24]) && is_zero(&image[REGISTERS]) {
        image[..2].fill(0);
        image[XSTATE_BV] &= !X87_BIT;
    }
    if image[MXCSR] == MXCSR_INIT && is_zero(&image[XMM]) {
        image[XSTATE_BV] &= !SSE_BIT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forgotten(edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut image = vec![0; 4096];
        edit(&mut image);
        forget(&mut image);
        image
    }

    #[test]
    fn pointers_denormals_and_the_exponent_of_an_mmx_register_are_forgotten() {
        let edit = |image: &mut [u8]| {
            image[6..24].fill(0x5a);
            image[24] |= DENORMAL;
            image[32 + 8..32 + 10].fill(0xff);
        };
        assert_eq!(forgotten(edit), forgotten(|_| {}));
    }

    #[test]
    fn what_becomes_initial_is_marked_so() {
        let initial = forgotten(|image| image[MXCSR].copy_from_slice(&MXCSR_INIT));
        let edit = |image: &mut [u8]| {
            image[..2].copy_from_slice(&FCW_INIT);
            image[MXCSR].copy_from_slice(&MXCSR_INIT);
            (image[8], image[24], image[XSTATE_BV]) = (0x21, 0x82, 3);
        };
        assert_eq!(forgotten(edit), initial);
    }

    #[test]
    fn everything_else_counts() {
        for byte in [0, 2, 4, 24, 32, 40, 41, 160, 512, 600] {
            assert_ne!(forgotten(|image| image[byte] = 1), forgotten(|_| {}), "byte {byte}");
        }
    }

    #[test]
    fn an_image_that_is_too_short_is_no_reason_to_panic() {
        for length in [0, 3, 25, 100] {
            forget(&mut vec![0xff; length]);
        }
    }
}
