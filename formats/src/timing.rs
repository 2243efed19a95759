//! The timing stream: four bytes an exit, two 16-bit floating numbers of ticks.
//!
//! A number is `mantissa << exponent` with an 11-bit mantissa and a 5-bit exponent: a relative error of at most 1/2048,
//! up to 2^42 ticks. What rounding leaves over is carried into the next number of the same kind, so the *sum* over any
//! range of exits is exact to one last place of its largest number. Values are therefore good for quantiles, sums for totals.

use crate::error::Malformed;

/// How long one exit took, in ticks of [`crate::Header::tick_hz`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// From the KVM_RUN entry before this exit to its return: guest, hardware and kernel together.
    pub guest: u64,
    /// From this return to the next KVM_RUN entry: our own process, device and recorder together.
    pub vmm: u64,
}

const MANTISSA_BITS: u32 = 11;
const MAX_EXPONENT: u32 = 31;

/// How a number of ticks is stored: the numbers ascend as the ticks do. What exceeds 2^42 is cut to that.
#[inline]
pub fn compress(ticks: u64) -> u16 {
    let exponent = (64 - ticks.leading_zeros()).saturating_sub(MANTISSA_BITS);
    if exponent > MAX_EXPONENT {
        return u16::MAX;
    }
    (exponent << MANTISSA_BITS) as u16 | (ticks >> exponent) as u16
}

/// The number of ticks that is stored so.
#[inline]
pub fn expand(coded: u16) -> u64 {
    u64::from(coded & ((1 << MANTISSA_BITS) - 1)) << (coded >> MANTISSA_BITS)
}

/// Encodes timings into chunks.
#[derive(Debug, Default)]
pub struct TimingEncoder {
    bytes: Vec<u8>,
    guest_rest: u64,
    vmm_rest: u64,
}

impl TimingEncoder {
    /// Appends the timing of the next exit.
    #[inline]
    pub fn push(&mut self, timing: Timing) {
        let mut coded = [0; 4];
        coded[..2].copy_from_slice(&carry(timing.guest, &mut self.guest_rest).to_le_bytes());
        coded[2..].copy_from_slice(&carry(timing.vmm, &mut self.vmm_rest).to_le_bytes());
        self.bytes.extend_from_slice(&coded);
    }

    /// Takes the chunk and starts the next. What rounding left over goes on into it.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

#[inline]
fn carry(ticks: u64, rest: &mut u64) -> u16 {
    let wanted = ticks.saturating_add(*rest);
    let coded = compress(wanted);
    *rest = wanted - expand(coded);
    coded
}

/// Decodes a chunk.
pub fn decode(bytes: &[u8]) -> Result<Vec<Timing>, Malformed> {
    let (timings, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Malformed("a timing chunk is not a multiple of four bytes"));
    }
    let half = |a, b| expand(u16::from_le_bytes([a, b]));
    Ok(timings.iter().map(|t| Timing { guest: half(t[0], t[1]), vmm: half(t[2], t[3]) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_are_exact_and_values_are_close(ticks in prop::collection::vec(0u64..1 << 40, 1..300)) {
            let mut encoder = TimingEncoder::default();
            for &t in &ticks {
                encoder.push(Timing { guest: t, vmm: 0 });
            }
            let decoded = decode(&encoder.take()).unwrap();
            let (sum, truth): (u64, u64) = (decoded.iter().map(|t| t.guest).sum(), ticks.iter().sum());
            let largest = ticks.iter().max().unwrap();
            prop_assert!(sum <= truth && truth - sum <= largest / 1024 + 1, "{} {}", sum, truth);
        }

        #[test]
        fn a_single_value_is_rounded_by_at_most_one_in_a_thousand(t in 0u64..1 << 42) {
            let back = expand(compress(t));
            prop_assert!(back <= t && t - back <= t / 1024);
        }
    }

    #[test]
    fn small_numbers_are_exact() {
        for t in 0..2048 {
            assert_eq!(expand(compress(t)), t);
        }
    }
}
