//! What the fuzz targets of the trace format share.
#![forbid(unsafe_code)]

mod bound;
mod chunk;
mod dictionary;
mod file;
mod golden;
mod pieces;
mod reading;

pub use bound::{MIB, within};
pub use chunk::{DigestInput, ExitsInput};
pub use dictionary::dictionary;
pub use file::File;
pub use golden::write_seeds;
pub use pieces::{Piece, pieces, whole};
pub use reading::read_all;

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Decodes a struct from anything at all. What decodes is the same after it was encoded and decoded again.
pub fn decoded<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    within(8 * MIB, || {
        let value: T = postcard::from_bytes(bytes).ok()?;
        let coded = postcard::to_stdvec(&value).expect("serializing to memory");
        assert_eq!(postcard::from_bytes::<T>(&coded).as_ref(), Ok(&value));
        Some(value)
    })
}
