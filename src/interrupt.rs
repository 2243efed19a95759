//! Ctrl-C, and who tells the process to end.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Has this done at each SIGINT and SIGTERM, by a thread of its own. A hangup does what it does: with `nohup`, nothing.
pub fn on_interrupt(mut act: impl FnMut() + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch Ctrl-C")?;
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || signals.forever().for_each(|_| act())).context("cannot catch Ctrl-C")?;
    Ok(())
}
