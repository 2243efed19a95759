//! Chunks with what they are decoded with, as inputs of a target.

/// A chunk, and the number of its first exit.
pub struct ExitsInput<'a> {
    pub first_exit: u64,
    pub chunk: &'a [u8],
}

impl<'a> ExitsInput<'a> {
    /// Takes an input apart.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let (first_exit, chunk) = bytes.split_first_chunk()?;
        Some(Self { first_exit: u64::from_le_bytes(*first_exit), chunk })
    }

    /// The input of this chunk.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.first_exit.to_le_bytes()[..], self.chunk].concat()
    }
}

/// A chunk of digests, and the sites of its exits.
pub struct DigestInput<'a> {
    pub sites: Vec<u32>,
    pub chunk: &'a [u8],
}

impl<'a> DigestInput<'a> {
    /// Takes an input apart: a number of exits, as many numbers of sites, a chunk.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let (exits, rest) = bytes.split_first()?;
        let (sites, chunk) = rest.split_at_checked(usize::from(*exits))?;
        // Predictions are kept by the number modulo 1024: some sites have to share theirs.
        let site = |byte: &u8| u32::from(byte & 63) + 1024 * u32::from(byte >> 6);
        Some(Self { sites: sites.iter().map(site).collect(), chunk })
    }

    /// The input of a chunk of exits at these sites, which are few.
    pub fn bytes(sites: &[u32], chunk: &[u8]) -> Vec<u8> {
        let numbers: Vec<_> = sites.iter().map(|site| *site as u8).collect();
        [&[numbers.len() as u8], numbers.as_slice(), chunk].concat()
    }
}
