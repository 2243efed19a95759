//! Tables of small traces, from the file to what a person reads.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod comparison;
mod costs;
mod damage;
mod diff;
mod export;
mod firmware;
mod flame_graphs;
mod groups;
mod histograms;
mod html;
mod json_schema;
mod many_sites;
mod odd;
mod output;
mod prices;
mod profiles;
mod schema;
mod several_sources;
mod stacks;
mod suggestions;
mod symbols;
mod text;
mod traces;
