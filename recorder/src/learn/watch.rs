//! A run that looks for one thing: whether an instruction that was made to exit is executed.

use crate::error::RecorderError;
use crate::handler::RecordHandler;
use crate::platform::Platform;
use crate::rewrite::Port;
use trapline_formats::{CpuMode, End, ExitKind};
use trapline_machine::{Control, Exit, Flow, Handler, Machine, SiteTable};

/// What a run came to.
#[derive(Debug)]
pub enum Watched {
    /// The instruction exited, in this mode.
    Executed(CpuMode),
    /// It did not.
    Ended(End),
}

/// A recording handler, and the port that an instruction was made to exit at. It stands beside the handler, so that a recording
/// pays nothing for it.
pub struct Watch<'a, P: Platform + ?Sized> {
    handler: RecordHandler<'a, P>,
    port: Option<Port>,
    sites: SiteTable,
    executed: Option<CpuMode>,
}

impl<'a, P: Platform + ?Sized> Watch<'a, P> {
    pub(crate) fn new(handler: RecordHandler<'a, P>, port: Option<Port>) -> Self {
        Self { handler, port, sites: SiteTable::default(), executed: None }
    }

    /// What the run came to.
    pub(crate) fn finish(
        self,
        result: Result<(), RecorderError>,
        machine: &mut Machine,
    ) -> Result<Watched, RecorderError> {
        match self.executed {
            Some(mode) => result.map(|()| Watched::Executed(mode)),
            None => Ok(Watched::Ended(self.handler.finish(result, machine)?.0)),
        }
    }

    /// The mode of the instruction that was made to exit, if this is it: a guest may reach the same port by `OUT DX, AL`.
    fn executed(&mut self, machine: &mut Machine, exit: &mut Exit) -> Result<Option<CpuMode>, RecorderError> {
        let Some(port) = self.port.filter(|p| u64::from(p.0) == exit.address) else { return Ok(None) };
        if exit.kind() != ExitKind::PortWrite {
            return Ok(None);
        }
        let site = self.sites.number(machine, exit)? as usize;
        let instruction = &self.sites.sites()[site].instruction;
        Ok((instruction.bytes == port.instruction()).then_some(instruction.mode))
    }
}

impl<P: Platform + ?Sized> Handler for Watch<'_, P> {
    type Error = RecorderError;

    fn exit(&mut self, machine: &mut Machine, exit: &mut Exit) -> Result<Flow, RecorderError> {
        // Completing it may lead to the next exit, which tells no more.
        if self.executed.is_none() {
            self.executed = self.executed(machine, exit)?;
        }
        if self.executed.is_some() { Ok(Flow::Settle) } else { self.handler.exit(machine, exit) }
    }

    fn settled(&mut self, machine: &mut Machine) -> Result<Control, RecorderError> {
        if self.executed.is_some() { Ok(Control::Stop) } else { self.handler.settled(machine) }
    }

    fn kicked(&mut self, machine: &mut Machine) -> Result<Control, RecorderError> {
        self.handler.kicked(machine)
    }
}
