//! A seed for Linux's random numbers, as `setup_data` (Documentation/arch/x86/boot.rst; type SETUP_RNG_SEED, Linux 6.0).
//!
//! Linux without RDRAND otherwise gathers entropy by reading the clock, tens of thousands of exits of it. It believes the seed if it
//! was built so (CONFIG_RANDOM_TRUST_BOOTLOADER). The seed is the same for every recording, so that two begin alike.

use trapline_formats::Gpa;

/// Where it lies.
pub(super) const SEED: u64 = 0x1_0000;
const SETUP_RNG_SEED: u32 = 9;
/// Not a secret.
const BYTES: &[u8; 32] = b"Trapline's, for all its guests. ";

/// The node of the list: next, type, length, data.
pub(super) fn node() -> (Gpa, Vec<u8>) {
    let length = BYTES.len() as u32;
    let node =
        [&0u64.to_le_bytes()[..], &SETUP_RNG_SEED.to_le_bytes(), &length.to_le_bytes(), BYTES].concat();
    (Gpa(SEED), node)
}
