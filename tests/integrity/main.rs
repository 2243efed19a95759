//! Damage to traces, as chance makes it and as a stranger does: noticed or harmless, within bounds of time and memory, and never a
//! wrong replay that is called faithful.
//!
//! `TRAPLINE_MATRIX=full` does all of it: 100,000 corruptions of each sort.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod blocks;
mod bombs;
mod bounds;
mod random_damage;
mod single_bits;
mod strangers;
#[path = "../end_to_end/support/mod.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod support;
