//! The held time stamp counter: what the guest's TSC showed while the guest ran, where the recorder made it stand still.
//!
//! A chunk goes with a chunk of inputs, and says what the TSC shows from there on:
//! ```text
//! chunk := value:varint (exits:varint behind:varint value:delta)*
//! ```
//! The first value is in force when the chunk begins. Then, each time that it changes: how many exits of the chunk are before that, less
//! those before the last change; 0 for right behind the exit, or 1 + the number of the carried keyframe that it stands behind; the value.

use crate::error::Malformed;
use crate::varint::{Cursor, put, put_delta};

/// No chunk has more values than this: each takes three bytes in the file, and more in memory.
const MAX_VALUES: usize = 1 << 18;

/// From somewhere on, the TSC shows another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldValue {
    /// Exits of the chunk before it.
    pub exits: u64,
    /// It stands behind this carried keyframe, which is behind the last of those exits, too. `None`: right behind the exit.
    pub keyframe: Option<u32>,
    /// What the TSC shows.
    pub value: u64,
}

impl HeldValue {
    /// Where it stands: ascending through a chunk.
    pub fn place(&self) -> (u64, u64) {
        (self.exits, behind(self.keyframe))
    }
}

fn behind(keyframe: Option<u32>) -> u64 {
    keyframe.map_or(0, |number| u64::from(number) + 1)
}

/// The values of a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldTsc {
    /// What the TSC shows where the chunk begins.
    pub first: u64,
    /// Its values from then on, in order.
    pub values: Vec<HeldValue>,
}

impl HeldTsc {
    /// What it shows where the chunk ends.
    pub fn last(&self) -> u64 {
        self.values.last().map_or(self.first, |held| held.value)
    }

    /// The chunk's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(10 + 4 * self.values.len());
        put(&mut bytes, self.first);
        let (mut exits, mut value) = (0, self.first);
        for held in &self.values {
            put(&mut bytes, held.exits.saturating_sub(exits));
            put(&mut bytes, behind(held.keyframe));
            put_delta(&mut bytes, held.value, value);
            (exits, value) = (held.exits, held.value);
        }
        bytes
    }

    /// Decodes the chunk that goes with inputs of so many exits.
    pub fn decode(exits: u64, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let mut chunk = Self { first: cursor.varint()?, values: Vec::new() };
        let (mut before, mut value) = (0u64, chunk.first);
        while !cursor.is_empty() {
            if chunk.values.len() >= MAX_VALUES {
                return Err(Malformed("a chunk holds more values of the TSC than any chunk may"));
            }
            before = before.saturating_add(cursor.varint()?);
            let keyframe = cursor.varint()?.checked_sub(1).map(u32::try_from).transpose();
            let keyframe = keyframe.map_err(|_| Malformed("a keyframe has an impossible number"))?;
            value = cursor.delta(value)?;
            let held = HeldValue { exits: before, keyframe, value };
            if before > exits {
                return Err(Malformed("a value of the TSC stands behind an exit of another chunk"));
            }
            if chunk.values.last().is_some_and(|last| last.place() >= held.place()) {
                return Err(Malformed("values of the TSC do not ascend"));
            }
            chunk.values.push(held);
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(exits: u64, keyframe: Option<u32>, value: u64) -> HeldValue {
        HeldValue { exits, keyframe, value }
    }

    proptest! {
        #[test]
        fn a_chunk_survives(
            first: u64,
            steps in proptest::collection::vec((0u64..9, proptest::option::of(any::<u32>()), any::<u64>()), 0..40),
        ) {
            let mut exits = 0;
            let mut values: Vec<HeldValue> = Vec::new();
            for (step, keyframe, value) in steps {
                exits += step;
                let next = held(exits, keyframe, value);
                if values.last().is_none_or(|last| last.place() < next.place()) {
                    values.push(next);
                }
            }
            let chunk = HeldTsc { first, values };
            prop_assert_eq!(HeldTsc::decode(exits, &chunk.encode()), Ok(chunk));
        }

        #[test]
        fn strangers_bytes_do_no_harm(exits: u64, bytes: Vec<u8>) {
            let _ = HeldTsc::decode(exits, &bytes);
        }
    }

    #[test]
    fn what_does_not_ascend_or_stands_elsewhere_is_refused() {
        let refused = |exits, values: &[HeldValue]| {
            HeldTsc::decode(exits, &HeldTsc { first: 7, values: values.to_vec() }.encode()).unwrap_err().0
        };
        assert!(refused(3, &[held(4, None, 1)]).contains("another chunk"));
        assert!(refused(3, &[held(2, None, 1), held(2, None, 2)]).contains("ascend"));
        assert!(refused(3, &[held(2, Some(5), 1), held(2, Some(4), 2)]).contains("ascend"));
    }
}
