//! Runs guests under KVM and logs every trapped-and-emulated exit with its inputs.
#![forbid(unsafe_code)]

pub mod platform;
