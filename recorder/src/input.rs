//! What is typed at the guest's console.

use crate::console::ConsoleWatch;
use crate::platform::{Platform, Time};
use regex::bytes::Regex;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, TryRecvError};

/// Console input: from a file, all there from the start, or live.
#[derive(Debug, Default)]
pub struct ConsoleInput {
    pending: VecDeque<u8>,
    live: Option<Receiver<Vec<u8>>>,
    /// What the guest is to print before.
    prompt: Option<ConsoleWatch>,
}

impl ConsoleInput {
    /// Bytes that are all there from the start. The guest gets them as fast as its serial port takes them, at places that
    /// the exits decide: two recordings under the virtual clock get them at the same ones.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { pending: bytes.into(), ..Self::default() }
    }

    /// Bytes as they come; whoever sends them wakes the guest with [`crate::StopHandle::wake`].
    pub fn live(receiver: Receiver<Vec<u8>>) -> Self {
        Self { live: Some(receiver), ..Self::default() }
    }

    /// The same, once a line on a console, as far as it is printed, matches.
    #[must_use]
    pub fn after(self, prompt: Regex) -> Self {
        Self { prompt: Some(ConsoleWatch::new(prompt)), ..self }
    }

    /// The guest has printed this.
    pub(crate) fn printed(&mut self, channel: u8, bytes: &[u8]) {
        self.prompt.take_if(|prompt| prompt.push(channel, bytes));
    }

    /// Whether more may come to a guest that prints nothing any more.
    pub(crate) fn may_come(&self) -> bool {
        self.prompt.is_none() && (!self.pending.is_empty() || self.live.is_some())
    }

    /// What was not typed, and why, in words.
    pub(crate) fn untyped(&self) -> Option<String> {
        let why = match &self.prompt {
            Some(prompt) => format!("no line on a console matched `{}`", prompt.pattern()),
            None => "the guest took no more".into(),
        };
        let bytes = self.pending.len();
        (bytes > 0).then(|| format!("{bytes} bytes of the input were not typed: {why}"))
    }

    /// Offers what is there to the platform. True if it took something.
    pub(crate) fn offer(&mut self, platform: &mut (impl Platform + ?Sized), now: Time) -> bool {
        if let Some(live) = &self.live {
            match live.try_recv() {
                Ok(bytes) => self.pending.extend(bytes),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.live = None,
            }
        }
        if self.pending.is_empty() || self.prompt.is_some() {
            return false;
        }
        let taken = platform.console_input(now, self.pending.make_contiguous());
        self.pending.drain(..taken.min(self.pending.len()));
        taken > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pc::{Pc, PcConfig};

    fn typed_at(pc: &mut Pc, input: &mut ConsoleInput) -> Option<u8> {
        input.offer(pc, Time(0));
        let read = |pc: &mut Pc, port| {
            let mut data = [0];
            pc.port_read(Time(0), port, &mut data);
            data[0]
        };
        (read(pc, 0x3fd) & 1 != 0).then(|| read(pc, 0x3f8))
    }

    #[test]
    fn nothing_is_typed_before_the_prompt_is_there() {
        let mut pc = Pc::new(PcConfig::with_ram(1 << 20));
        let mut input = ConsoleInput::from_bytes(b"ab".to_vec()).after(Regex::new("> $").unwrap());
        assert_eq!(typed_at(&mut pc, &mut input), None);
        // Who waits for it waits for ever.
        assert!(!input.may_come() && input.untyped().unwrap().contains("no line on a console matched `> $`"));
        input.printed(0, b"\x1b[0mShell");
        assert_eq!(typed_at(&mut pc, &mut input), None);
        input.printed(0, b"> ");
        assert!(input.may_come());
        assert_eq!(input.untyped().unwrap(), "2 bytes of the input were not typed: the guest took no more");
        assert_eq!([(); 3].map(|()| typed_at(&mut pc, &mut input)), [Some(b'a'), Some(b'b'), None]);
        assert_eq!((input.may_come(), input.untyped()), (false, None));
    }
}
