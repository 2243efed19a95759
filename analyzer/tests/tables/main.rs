//! Tables of small traces, from the file to what a person reads.
#![allow(clippy::unwrap_used)]

mod common;
mod costs;
mod damage;
mod export;
mod firmware;
mod groups;
mod output;
mod schema;
mod symbols;
mod text;
