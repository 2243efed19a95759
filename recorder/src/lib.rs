//! Runs guests under KVM and logs every trapped-and-emulated exit with its inputs.
#![forbid(unsafe_code)]

pub mod devices;
pub mod pc;
pub mod platform;
