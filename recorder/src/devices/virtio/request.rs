//! What a driver asks of a device: a chain of buffers, first those that the device reads, then those that it writes
//! (Virtual I/O Device 1.2, 2.7.4).

use crate::transfer::{NotRam, Transfers};
use trapline_formats::Gpa;
use virtio_queue::{Queue, QueueOwnedT, QueueT};

/// The most bytes that one request may move: more is no honest driver's.
const LONGEST: usize = 16 << 20;

/// A piece of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buffer {
    pub(super) gpa: Gpa,
    pub(super) length: usize,
}

/// A request, taken from a queue.
#[derive(Debug)]
pub(super) struct Request {
    head: u16,
    pub(super) readable: Vec<Buffer>,
    pub(super) writable: Vec<Buffer>,
}

/// A queue or a request is not as the specification has it: the device needs a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl From<NotRam> for Broken {
    fn from(_: NotRam) -> Self {
        Self
    }
}

impl Request {
    /// Takes the next request, if there is one.
    pub(super) fn next(queue: &mut Queue, memory: &Transfers<'_>) -> Result<Option<Self>, Broken> {
        let ring = used_ring(queue);
        if !queue.is_valid(memory.memory()) || !memory.is_ram(ring.gpa, ring.length) {
            return Err(Broken);
        }
        let Some(chain) = queue.iter(memory.memory()).map_err(|_| Broken)?.next() else { return Ok(None) };
        let mut request = Self { head: chain.head_index(), readable: Vec::new(), writable: Vec::new() };
        let mut bytes = 0usize;
        for descriptor in chain {
            let buffer = Buffer { gpa: Gpa(descriptor.addr().0), length: descriptor.len() as usize };
            bytes += buffer.length;
            if bytes > LONGEST || !memory.is_ram(buffer.gpa, buffer.length) {
                return Err(Broken);
            }
            match (descriptor.is_write_only(), request.writable.is_empty()) {
                (true, _) => request.writable.push(buffer),
                (false, true) => request.readable.push(buffer),
                (false, false) => return Err(Broken),
            }
        }
        if request.readable.is_empty() && request.writable.is_empty() {
            Err(Broken)
        } else {
            Ok(Some(request))
        }
    }

    /// What the device reads, all of it.
    pub(super) fn read(&self, memory: &Transfers<'_>) -> Result<Vec<u8>, Broken> {
        let mut bytes = vec![0; self.readable.iter().map(|b| b.length).sum()];
        let mut rest = bytes.as_mut_slice();
        for buffer in &self.readable {
            let (piece, behind) = rest.split_at_mut(buffer.length);
            memory.read(buffer.gpa, piece)?;
            rest = behind;
        }
        Ok(bytes)
    }

    /// Gives it back to the driver, with this many bytes written.
    pub(super) fn complete(
        &self,
        queue: &mut Queue,
        memory: &mut Transfers<'_>,
        bytes: u32,
    ) -> Result<(), Broken> {
        let slot = u64::from(queue.next_used() % queue.size());
        queue.add_used(memory.memory(), self.head, bytes).map_err(|_| Broken)?;
        let ring = queue.used_ring();
        memory.written(Gpa(ring + USED_HEADER + slot * USED_ELEMENT), USED_ELEMENT as usize)?;
        memory.written(Gpa(ring + USED_INDEX), 2)?;
        Ok(())
    }
}

/// The used ring (2.7.8): flags, index, elements, and a word that this device does not use.
const USED_INDEX: u64 = 2;
const USED_HEADER: u64 = 4;
const USED_ELEMENT: u64 = 8;

fn used_ring(queue: &Queue) -> Buffer {
    let length = USED_HEADER + u64::from(queue.size()) * USED_ELEMENT;
    Buffer { gpa: Gpa(queue.used_ring()), length: length as usize }
}
