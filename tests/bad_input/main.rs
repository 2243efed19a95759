//! Bad input, bad luck, bad guests: each gives a clear message and the right exit status, and nothing is lost.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod guests;
mod images;
mod output;
mod program;
mod traces;
