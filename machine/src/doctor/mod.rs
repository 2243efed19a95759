//! What this host's KVM can do, measured with small built-in guests.
//!
//! Nothing here knows an engine by name: every fact is found by running a guest that shows it.

mod guest;
mod stop;
mod tables;
mod watchdog;
mod window;

pub use window::window_is_prompt;
