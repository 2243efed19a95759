//! Bad input, bad luck, bad guests: each gives a clear message and the right exit status, and nothing is lost.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod crash;
mod devices;
mod diff;
mod divergence;
mod guests;
mod hostile;
mod images;
#[path = "../end_to_end/support/images.rs"]
mod images_of_others;
mod kernels;
mod learned;
mod output;
#[path = "../end_to_end/support/plain.rs"]
#[expect(dead_code, reason = "the other tests compare streams, too")]
mod plain;
mod prices;
mod program;
mod traces;
