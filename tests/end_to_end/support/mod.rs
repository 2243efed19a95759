//! What the tests share.

pub mod compare;
pub mod host;
pub mod images;
pub mod live;
pub mod mutated;
pub mod plain;
pub mod recorded;
pub mod replayed;
pub mod stacked;
