//! `trapline doctor`

use anyhow::Result;

/// Runs the verb.
pub fn run(_json: bool) -> Result<u8> {
    anyhow::bail!("not there yet")
}
