//! Bytes that are mostly zeros, such as an XSAVE image in canonical form: serialized as their length and the runs between
//! the zeros.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// No image is longer: XSAVE areas have some kilobytes (SDM vol. 1, 13.4). A stranger's length is not believed.
const MOST: u32 = 1 << 20;
/// Fewer zeros than this do not end a run: to name the next one would take as many bytes.
const GAP: usize = 4;

/// A length, and runs: (zeros before it, bytes).
type Sparse<T> = (u32, Vec<(u32, T)>);

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let sparse: Sparse<&[u8]> = (bytes.len() as u32, runs(bytes));
    sparse.serialize(serializer)
}

fn runs(bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut runs = Vec::new();
    let mut done = 0;
    while let Some(zeros) = bytes[done..].iter().position(|b| *b != 0) {
        let run = &bytes[done + zeros..];
        let end = run.windows(GAP).position(|w| w.iter().all(|b| *b == 0)).unwrap_or(run.len());
        runs.push((zeros as u32, &run[..end]));
        done += zeros + end;
    }
    runs
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let (length, runs) = Sparse::<Vec<u8>>::deserialize(deserializer)?;
    if length > MOST {
        return Err(D::Error::custom("an image is longer than any"));
    }
    let length = length as usize;
    let mut bytes = Vec::with_capacity(length);
    for (zeros, run) in runs {
        let start = bytes.len() + zeros as usize;
        if start + run.len() > length {
            return Err(D::Error::custom("a run ends behind its image"));
        }
        bytes.resize(start, 0);
        bytes.extend(run);
    }
    bytes.resize(length, 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Image(#[serde(with = "super")] Vec<u8>);

    proptest! {
        #[test]
        fn every_image_survives(bytes in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..300)) {
            let image = Image(bytes);
            let coded = postcard::to_stdvec(&image).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Image>(&coded).unwrap(), image);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = postcard::from_bytes::<Image>(&bytes);
        }
    }

    #[test]
    fn an_image_of_zeros_takes_a_few_bytes() {
        assert!(postcard::to_stdvec(&Image(vec![0; 4096])).unwrap().len() <= 4);
    }

    #[test]
    fn a_run_behind_the_end_and_a_length_of_gigabytes_are_refused() {
        let coded = |length: u32, runs: Vec<(u32, Vec<u8>)>| postcard::to_stdvec(&(length, runs)).unwrap();
        assert!(postcard::from_bytes::<Image>(&coded(4, vec![(3, vec![1])])).is_ok());
        assert!(postcard::from_bytes::<Image>(&coded(4, vec![(4, vec![1])])).is_err());
        assert!(postcard::from_bytes::<Image>(&coded(u32::MAX, vec![])).is_err());
    }
}
