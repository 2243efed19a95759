//! A set of interrupt vectors: the 256-bit registers IRR, ISR and TMR of a local APIC (Intel SDM vol. 3, 11.8.4).

/// The set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct VectorSet([u32; 8]);

impl VectorSet {
    /// Adds a vector.
    pub fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector >> 5)] |= 1 << (vector & 31);
    }

    /// Takes a vector out.
    pub fn remove(&mut self, vector: u8) {
        self.0[usize::from(vector >> 5)] &= !(1 << (vector & 31));
    }

    /// Adds a vector or takes it out.
    pub fn set(&mut self, vector: u8, is_in: bool) {
        if is_in {
            self.insert(vector);
        } else {
            self.remove(vector);
        }
    }

    /// Whether a vector is in the set.
    pub fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 5)] >> (vector & 31) & 1 != 0
    }

    /// The highest vector, which has the highest priority.
    pub fn highest(&self) -> Option<u8> {
        let (word, bits) = (0u8..8).zip(self.0).rfind(|(_, bits)| *bits != 0)?;
        Some(word << 5 | bits.ilog2() as u8)
    }

    /// The register of vectors 32 * `index` and up.
    pub fn word(&self, index: u8) -> u32 {
        self.0[usize::from(index & 7)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_the_last_of_those_inserted_whatever_the_order() {
        let mut set = VectorSet::default();
        assert_eq!(set.highest(), None);
        for (vector, highest) in [(33, 33), (0, 33), (255, 255), (64, 255)] {
            set.insert(vector);
            assert_eq!(set.highest(), Some(highest));
        }
        set.remove(255);
        assert_eq!(set.highest(), Some(64));
    }

    #[test]
    fn every_vector_is_one_bit_of_one_word() {
        for vector in 0..=255u8 {
            let mut set = VectorSet::default();
            set.set(vector, true);
            assert!(set.contains(vector));
            assert_eq!(set.word(vector / 32), 1 << (vector % 32));
            set.set(vector, false);
            assert_eq!(set, VectorSet::default());
        }
    }
}
