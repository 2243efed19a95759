//! Somebody who looks at the guest of a replay.

use trapline_machine::{Machine, MachineError};

/// Sees the guest at every exit of a replay, standing still and as it was in the recording. It may take its time, for nothing in
/// a replay depends on time; it can change nothing. A replay without one is compiled without it.
pub trait Observer {
    /// The exit with this number, at this site of the trace: compared, and not yet answered.
    fn exit(&mut self, index: u64, site: u32, machine: &Machine) -> Result<(), MachineError>;
}

/// Nobody looks.
impl Observer for () {
    #[inline]
    fn exit(&mut self, _: u64, _: u32, _: &Machine) -> Result<(), MachineError> {
        Ok(())
    }
}
