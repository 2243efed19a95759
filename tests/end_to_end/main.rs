//! What a user does with Trapline, from the guest to the last byte of its replay, on a real /dev/kvm.
//!
//! `TRAPLINE_MATRIX` says how much: `quick` (one replay under one clock), `normal` (two under both; the default), `full`
//! (twenty). Without a usable /dev/kvm every test fails, unless `TRAPLINE_SKIP_KVM=1` says that this is meant.
//! `TRAPLINE_BIN` and `TRAPLINE_GUESTS` name the program and the folder of SeaBIOS, where they are not those of this checkout.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod between_engines;
mod checker;
mod devices;
mod diff;
mod disk_boots;
mod elsewhere;
mod faults;
mod held_tsc;
mod kernels;
mod learn;
mod matrix;
mod multiboot;
mod network;
mod paravirtual;
mod positions;
mod seabios;
mod seek;
mod stacks;
mod support;
mod symbols;
mod uefi;
mod unclosed;
mod virtio;
