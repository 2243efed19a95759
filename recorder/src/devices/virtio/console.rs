//! The console device (Virtual I/O Device 1.2, 5.3) with one port: what the guest prints, and what is typed.

use super::Device;
use super::request::{Broken, Request};
use crate::transfer::Transfers;
use std::collections::VecDeque;

const QUEUE: u16 = 64;
const RECEIVE: usize = 0;
/// Typed bytes that wait here; what does not fit is offered again.
const ROOM: usize = 4096;

/// The device.
#[derive(Default)]
pub struct Console {
    output: Vec<u8>,
    typed: VecDeque<u8>,
    /// The guest has printed something: somebody is there to read. Linux throws away what comes while its driver is still
    /// starting.
    is_used: bool,
}

impl Console {
    fn receive(&mut self, request: &Request, memory: &mut Transfers<'_>) -> Result<u32, Broken> {
        let mut given = 0;
        for buffer in &request.writable {
            let length = buffer.length.min(self.typed.len());
            let bytes: Vec<u8> = self.typed.drain(..length).collect();
            memory.write(buffer.gpa, &bytes)?;
            given += bytes.len() as u32;
        }
        Ok(given)
    }
}

impl Device for Console {
    fn id(&self) -> u32 {
        3
    }

    fn name(&self) -> String {
        "virtio-console".into()
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE, QUEUE]
    }

    fn wants(&self, queue: usize) -> bool {
        queue != RECEIVE || self.is_used && !self.typed.is_empty()
    }

    fn serve(&mut self, queue: usize, request: &Request, memory: &mut Transfers<'_>) -> Result<u32, Broken> {
        if queue == RECEIVE {
            return self.receive(request, memory);
        }
        self.output.extend(request.read(memory)?);
        self.is_used = true;
        Ok(0)
    }

    fn reset(&mut self) {
        self.is_used = false;
    }

    fn type_in(&mut self, bytes: &[u8]) -> Option<usize> {
        let taken = bytes.len().min(ROOM - self.typed.len());
        self.typed.extend(&bytes[..taken]);
        Some(taken)
    }

    fn output(&mut self) -> Option<&mut Vec<u8>> {
        Some(&mut self.output)
    }
}
