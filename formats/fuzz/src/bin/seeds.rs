//! Writes the inputs that the targets begin with: `seeds FOLDER`.
//!
//! Linked as a target is, because what it is compiled from is; libFuzzer never comes to its turn.
#![no_main]
#![allow(unreachable_code, reason = "what the macro has behind the end of the program")]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        let folder = std::env::args_os().nth(1).expect("usage: seeds FOLDER");
        trapline_formats_fuzz::write_seeds(folder.as_ref());
        std::process::exit(0)
    },
    |_bytes: &[u8]| {}
);
