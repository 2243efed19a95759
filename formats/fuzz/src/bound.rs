//! What decoding may take of memory: a decoder that believes a length in its input takes gigabytes at once.

use cap::Cap;
use std::alloc::System;
use std::panic;
use std::sync::Once;

/// A mebibyte.
pub const MIB: usize = 1 << 20;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Does something that must not have more than so many bytes at a time. What takes more ends the program, which is a finding.
pub fn within<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    static TELLING: Once = Once::new();
    TELLING.call_once(tell_panics_without_limit);
    let limit = MEMORY.allocated() + bytes;
    MEMORY.set_limit(limit).expect("more than there is now");
    let result = work();
    lift();
    result
}

/// To tell where a panic came from takes memory of its own.
fn tell_panics_without_limit() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        lift();
        told(info);
    }));
}

fn lift() {
    MEMORY.set_limit(usize::MAX).expect("no limit");
}
