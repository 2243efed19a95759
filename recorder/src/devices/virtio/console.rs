//! The console device (Virtual I/O Device 1.2, 5.3) with one port: what the guest prints, and what is typed.

use super::request::{Broken, Request};
use super::{Device, Done};
use crate::transfer::Transfers;
use std::collections::VecDeque;
use virtio_queue::Queue;

const QUEUE: u16 = 64;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// Typed bytes that wait here; what does not fit is offered again.
const ROOM: usize = 4096;

/// The device.
#[derive(Default)]
pub struct Console {
    output: Vec<u8>,
    typed: VecDeque<u8>,
    /// The driver may have given a buffer for typed bytes.
    can_receive: bool,
    /// The guest has printed something: somebody is there to read. Linux throws away what comes while its driver is still
    /// starting.
    is_used: bool,
}

impl Console {
    /// Serves a queue for as long as there is something for it to do. True: it was served as often as it may be at a time.
    fn serve(
        &mut self,
        which: usize,
        queue: &mut Queue,
        memory: &mut Transfers<'_>,
        done: &mut Done,
    ) -> Result<bool, Broken> {
        for _ in 0..QUEUE {
            if which == RECEIVE && !self.has_news() {
                return Ok(false);
            }
            let Some(request) = Request::next(queue, memory)? else {
                self.can_receive &= which != RECEIVE;
                return Ok(false);
            };
            let bytes = if which == RECEIVE {
                self.receive(&request, memory)?
            } else {
                self.transmit(&request, memory)?
            };
            request.complete(queue, memory, bytes)?;
            done.has_used = true;
        }
        Ok(true)
    }

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

    fn transmit(&mut self, request: &Request, memory: &Transfers<'_>) -> Result<u32, Broken> {
        self.output.extend(request.read(memory)?);
        self.is_used = true;
        Ok(0)
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

    fn has_news(&self) -> bool {
        self.can_receive && self.is_used && !self.typed.is_empty()
    }

    fn work(
        &mut self,
        notified: u32,
        queues: &mut [Queue],
        memory: &mut Transfers<'_>,
    ) -> Result<Done, Broken> {
        let mut done = Done::default();
        self.can_receive |= notified & (1 << RECEIVE) != 0;
        // What is printed first: typed bytes may wait for it.
        for (which, queue) in queues.iter_mut().enumerate().rev() {
            let is_due = if which == TRANSMIT { notified & (1 << TRANSMIT) != 0 } else { self.has_news() };
            if is_due && self.serve(which, queue, memory, &mut done)? {
                done.unfinished |= 1 << which;
            }
        }
        Ok(done)
    }

    fn reset(&mut self) {
        (self.can_receive, self.is_used) = (false, false);
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
