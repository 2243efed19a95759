//! What the benchmarks share. Each of them uses a part of it.
#![allow(dead_code)]

pub mod bare;
pub mod runs;
pub mod statistics;
